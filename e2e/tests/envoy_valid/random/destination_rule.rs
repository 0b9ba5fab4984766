//! Random DestinationRules.

use serde_json::json;

use super::shape::{
    HEADERS, Json, always, boolean, both, count, duration, either, fields, host, labels, list, mostly, object, pick,
    port, some,
};

pub(super) fn destination_rule() -> Json {
    let subset = fields(vec![
        ("name", 1.0, mostly(&["v1", "v2", "a-b"], &["V1", "a.b"])),
        ("labels", 0.8, labels()),
        ("trafficPolicy", 0.3, policy(false)),
    ]);
    let spec = fields(vec![
        ("host", 1.0, host()),
        ("trafficPolicy", 0.9, policy(true)),
        ("subsets", 0.4, list(subset, 1, 2)),
        ("exportTo", 0.1, pick(&[json!(["*"]), json!(["."])])),
        ("workloadSelector", 0.1, fields(vec![("matchLabels", 1.0, labels())])),
    ]);
    object("networking.istio.io/v1", "DestinationRule", spec)
}

fn policy(ports: bool) -> Json {
    let settings = || {
        fields(vec![
            ("connectionPool", 0.5, connection_pool()),
            ("loadBalancer", 0.5, load_balancer()),
            ("outlierDetection", 0.4, outlier_detection()),
            ("tls", 0.4, tls()),
        ])
    };
    let tunnel = fields(vec![
        ("protocol", 0.7, pick(&["CONNECT", "POST"])),
        ("targetHost", 1.0, mostly(&["a.b", "10.1.2.3"], &["*.a", ""])),
        ("targetPort", 1.0, port()),
    ]);
    let port = both(settings(), fields(vec![("port", 1.0, fields(vec![("number", 1.0, pick(&[80, 443, 9000]))]))]));
    let often = if ports { 0.2 } else { 0.0 };
    both(
        settings(),
        fields(vec![
            ("portLevelSettings", often, list(port, 1, 1)),
            ("tunnel", 0.05, tunnel),
            (
                "retryBudget",
                0.1,
                fields(vec![("percent", 0.7, percent_value()), ("minRetryConcurrency", 0.7, count())]),
            ),
        ]),
    )
}

fn percent_value() -> Json {
    mostly(&[1.0, 20.0, 100.0, 0.5], &[0.0, 100.1])
}

pub(super) fn connection_pool() -> Json {
    let keepalive = fields(vec![("probes", 0.6, count()), ("time", 0.6, duration()), ("interval", 0.6, duration())]);
    let tcp = fields(vec![
        ("maxConnections", 0.5, count()),
        ("connectTimeout", 0.5, duration()),
        ("tcpKeepalive", 0.4, keepalive),
        ("maxConnectionDuration", 0.4, duration()),
        ("idleTimeout", 0.4, duration()),
    ]);
    let http = fields(vec![
        ("http1MaxPendingRequests", 0.4, count()),
        ("http2MaxRequests", 0.4, count()),
        ("maxRequestsPerConnection", 0.4, count()),
        ("maxRetries", 0.4, count()),
        ("idleTimeout", 0.4, duration()),
        ("h2UpgradePolicy", 0.4, pick(&["DEFAULT", "UPGRADE", "DO_NOT_UPGRADE"])),
        ("useClientProtocol", 0.3, boolean()),
        ("maxConcurrentStreams", 0.3, count()),
    ]);
    fields(vec![("tcp", 0.6, tcp), ("http", 0.6, http)])
}

fn load_balancer() -> Json {
    let cookie = fields(vec![
        ("name", 1.0, mostly(&["c", "a-b"], &["a b", "é", "a;b"])),
        ("ttl", 0.7, duration()),
        ("path", 0.5, mostly(&["/", "/a"], &["a b", ";"])),
    ]);
    let key = either(vec![
        (2, fields(vec![("httpHeaderName", 1.0, pick(&HEADERS))])),
        (2, fields(vec![("httpCookie", 1.0, cookie)])),
        (1, fields(vec![("useSourceIp", 1.0, boolean())])),
        (1, fields(vec![("httpQueryParameterName", 1.0, mostly(&["q", "a b"], &[""]))])),
    ]);
    let ring = fields(vec![("minimumRingSize", 0.8, mostly(&[0, 1, 1024, 8_388_608], &[8_388_609, 100_000_000]))]);
    let table = fields(vec![("tableSize", 0.8, mostly(&[2, 65537, 5_000_011], &[4, 1, 5_000_023]))]);
    let algorithm = either(vec![
        (2, always(json!({}))),
        (1, fields(vec![("ringHash", 1.0, ring)])),
        (1, fields(vec![("maglev", 1.0, table)])),
    ]);
    let hash = both(key, algorithm);
    let how = either(vec![
        (
            3,
            fields(vec![(
                "simple",
                0.9,
                pick(&["LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "PASSTHROUGH", "LEAST_CONN", "UNSPECIFIED"]),
            )]),
        ),
        (2, fields(vec![("consistentHash", 1.0, hash)])),
    ]);
    let warmup = fields(vec![
        ("duration", 1.0, duration()),
        ("minimumPercent", 0.5, mostly(&[1.0, 10.0, 100.0], &[0.0, 101.0])),
        ("aggression", 0.5, mostly(&[1.0, 2.5, 1000.0], &[0.5, 0.0])),
    ]);
    both(how, fields(vec![("warmup", 0.2, warmup), ("localityLbSetting", 0.3, locality())]))
}

fn locality() -> Json {
    let distribute = fields(vec![
        ("from", 1.0, pick(&["*", "r/*", "r/z/*", "r/z/s"])),
        ("to", 1.0, pick(&[json!({"r/z/s": 100}), json!({"r/*": 80, "q/*": 20})])),
    ]);
    let failover = fields(vec![("from", 1.0, pick(&["r"])), ("to", 1.0, mostly(&["q", "p"], &["r"]))]);
    either(vec![
        (1, fields(vec![("enabled", 1.0, boolean())])),
        (1, fields(vec![("distribute", 1.0, list(distribute, 1, 1))])),
        (1, fields(vec![("failover", 1.0, list(failover, 1, 1))])),
        (1, fields(vec![("failoverPriority", 1.0, some(&["topology.kubernetes.io/region", "version", "app"], 1, 2))])),
    ])
}

fn outlier_detection() -> Json {
    fields(vec![
        ("consecutiveGatewayErrors", 0.4, pick(&[0, 1, 5, 100_000])),
        ("consecutive5xxErrors", 0.4, pick(&[0, 1, 5, 100_000])),
        ("splitExternalLocalOriginErrors", 0.3, boolean()),
        ("consecutiveLocalOriginFailures", 0.3, pick(&[0, 1, 5])),
        ("interval", 0.4, duration()),
        ("baseEjectionTime", 0.4, duration()),
        ("maxEjectionPercent", 0.4, mostly(&[0, 1, 50, 100], &[101, -1])),
        ("minHealthPercent", 0.4, mostly(&[0, 50, 100], &[101])),
    ])
}

fn tls() -> Json {
    let names = || {
        fields(vec![
            ("sni", 0.5, mostly(&["a.b", "A.b"], &["*.a", "a b", "é"])),
            ("subjectAltNames", 0.4, some(&["a.b", "spiffe://a/b", "*.c", "é"], 1, 2)),
            ("insecureSkipVerify", 0.2, boolean()),
        ])
    };
    let simple =
        fields(vec![("mode", 1.0, always("SIMPLE".into())), ("caCertificates", 0.4, pick(&["/etc/ca.pem", "system"]))]);
    let mutual = fields(vec![
        ("mode", 1.0, always("MUTUAL".into())),
        ("clientCertificate", 1.0, always("/etc/cert.pem".into())),
        ("privateKey", 1.0, always("/etc/key.pem".into())),
        ("caCertificates", 0.5, always("/etc/ca.pem".into())),
    ]);
    let credential = fields(vec![
        ("mode", 1.0, pick(&["SIMPLE", "MUTUAL"])),
        ("credentialName", 1.0, mostly(&["cred", "a.b"], &["kubernetes://a", "a/b"])),
    ]);
    either(vec![
        (1, fields(vec![("mode", 1.0, pick(&["DISABLE", "ISTIO_MUTUAL"]))])),
        (2, both(simple, names())),
        (1, both(mutual, names())),
        (1, both(credential, names())),
    ])
}
