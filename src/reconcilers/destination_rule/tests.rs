use std::time::Duration;

use super::*;
use crate::model::code::without_code;
use crate::model::destination_rule::{ClientTlsMode, HashKey, HashRing, LbAlgorithm, ProxyProtocol};

fn converted(spec: &str) -> (Option<DestinationRule>, Vec<String>) {
    let yaml = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: dr, namespace: shop}}\nspec: {spec}"
    );
    let object = serde_yaml_ng::from_str(&yaml).expect("a DestinationRule");
    let (made, problems) = convert(&object, &ConvertContext { domain_suffix: "cluster.local" });
    (made, problems.iter().map(|p| without_code(p).replace("DestinationRule shop/dr: ", "")).collect())
}

fn clean(spec: &str) -> DestinationRule {
    let (made, problems) = converted(spec);
    assert_eq!(problems, Vec::<String>::new());
    made.expect("a rule")
}

#[test]
fn every_block_is_read() {
    let made = clean(
        "{host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1, connectTimeout: 30ms, tcpKeepalive: {time: 7200s}}, \
         http: {http1MaxPendingRequests: 2, h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 9s, timeout: 1s}}}, \
         outlierDetection: {consecutive5xxErrors: 7, interval: 5m, minHealthPercent: 20}, \
         loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}, maglev: {tableSize: 65537}}, \
         localityLbSetting: {distribute: [{from: a/*, to: {'*': 20, 'a/b/*': 80}}]}}, tls: {mode: SIMPLE, sni: x}, \
         portLevelSettings: [{port: {number: 81}, tls: {mode: DISABLE}}], proxyProtocol: {version: V2}, retryBudget: {percent: 12.5}}, \
         subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}]}",
    );
    assert_eq!((&*made.host, made.visibility.clone()), ("web.shop.svc.cluster.local", None));
    let policy = made.policy.expect("a policy");
    let pool = policy.blocks.connection_pool.as_ref().expect("a pool");
    assert_eq!((pool.max_connections, pool.connect_timeout), (1, Some(Duration::from_millis(30))));
    assert_eq!(pool.http2_keepalive.and_then(|k| k.timeout), Some(Duration::from_secs(1)));
    let outlier = policy.blocks.outlier_detection.as_ref().expect("detection");
    assert_eq!((outlier.consecutive_5xx, outlier.interval), (Some(7), Some(Duration::from_secs(300))));
    let balancer = policy.blocks.load_balancer.as_ref().expect("a balancer");
    let LbAlgorithm::ConsistentHash { key: Some(HashKey::Cookie { ttl, .. }), ring } = &balancer.algorithm else {
        panic!("{:?}", balancer.algorithm)
    };
    assert_eq!((*ttl, *ring), (Some(Duration::ZERO), HashRing::Maglev { table_size: Some(65537) }));
    let locality = balancer.locality.as_ref().expect("locality");
    assert_eq!(locality.distribute[0].to, [(Arc::from("a/b/*"), 80), (Arc::from("*"), 20)]);
    assert_eq!(policy.blocks.tls.as_ref().map(|t| t.mode), Some(ClientTlsMode::Simple));
    assert_eq!(policy.ports[0].0, 81);
    assert_eq!(policy.proxy_protocol, Some(ProxyProtocol::V2));
    assert_eq!(policy.retry_budget.and_then(|b| b.percent).map(|p| p.to_f64()), Some(12.5));
    assert!(policy.tunnel.is_none() && made.subsets[0].policy.is_some());
    let tunnel = clean("{host: a, trafficPolicy: {tunnel: {targetHost: t, targetPort: 443}}}")
        .policy
        .expect("a policy")
        .tunnel
        .clone();
    assert_eq!(tunnel.map(|t| t.target_port), Some(443));
}

#[test]
fn selectors_make_rules_private() {
    let made = clean("{host: '*', workloadSelector: {matchLabels: {a: b}}}");
    assert!(made.is_private() && made.workload_selector.is_some());
    assert_eq!(&*made.host, "*");
    let (made, problems) = converted("{host: a.b, exportTo: ['*'], workloadSelector: {matchLabels: {a: b}}}");
    assert!(made.expect("a rule").is_private());
    assert_eq!(problems, ["spec.exportTo: beside workloadSelector the rule holds in its own namespace only"]);
    assert!(clean("{host: a.b, exportTo: ['.']}").is_private());
    assert!(!clean("{host: a.b, exportTo: ['.', x]}").is_private());
}

#[test]
fn what_envoy_would_refuse_is_reported_and_left_out() {
    let (made, problems) = converted(
        "{host: a.b, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s, idleTimeout: soon, maxConnections: -1}, \
         http: {http2KeepAlive: {interval: 1s}}}, outlierDetection: {maxEjectionPercent: 101, \
         outlierDetectionHttpErrorCodes: [99, 500]}, loadBalancer: {consistentHash: {maglev: {tableSize: 100}}, \
         zoneAwareLbSetting: {enabled: true}}, tls: {mode: MUTUAL, clientCertificate: /c}, tunnel: {targetHost: '', targetPort: 1}, \
         portLevelSettings: [{port: {number: 0}}]}, subsets: [{name: 'a|b'}, {name: v1}, {name: v1}]}",
    );
    let made = made.expect("a rule");
    assert_eq!((made.subsets.len(), made.policy.as_ref().map(|p| p.ports.len())), (1, Some(0)));
    let of = "spec.trafficPolicy";
    let expected = [
        format!("{of}.connectionPool.tcp.maxConnections: -1 is negative"),
        format!("{of}.connectionPool.tcp.connectTimeout: 0ns is less than 1ms"),
        format!("{of}.connectionPool.tcp.idleTimeout: \"soon\" is not a duration such as 500ms, 10s or 1h30m"),
        format!("{of}.connectionPool.http.http2KeepAlive.timeout: is required: without it the pings are left out"),
        format!("{of}.outlierDetection.outlierDetectionHttpErrorCodes: [99] are not HTTP statuses"),
        format!("{of}.outlierDetection.maxEjectionPercent: 101 is more than 100"),
        format!("{of}.loadBalancer.zoneAwareLbSetting: not honoured yet"),
        format!("{of}.loadBalancer.consistentHash.maglev.tableSize: 100 is not a prime below 5000011: 65537 is used"),
        format!(
            "{of}.loadBalancer.consistentHash.httpHeaderName: one of httpHeaderName, httpCookie, useSourceIp, \
             httpQueryParameterName is required: nothing is hashed"
        ),
        format!("{of}.tls.privateKey: mode MUTUAL needs it, or credentialName: no certificate is presented"),
        format!("{of}.portLevelSettings[0].port.number: 0 is not a port; it is left out"),
        format!("{of}.portLevelSettings[0]: says nothing of the port: set a field of it, or remove it"),
        format!("{of}.tunnel.targetHost: is required; there is no tunnel"),
        "spec.subsets[0].name: \"a|b\" is not a name of letters, digits, '-', '.', '_'; it is left out".to_owned(),
        "spec.subsets[2].name: \"v1\" is there twice: the first counts".to_owned(),
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_rule_about_nothing_is_no_rule() {
    assert!(matches!(converted("{host: 'a b.c'}"), (None, problems) if problems.len() == 1));
}

/// What is said of a policy, each field and reason as one line.
fn said(policy: &str) -> Vec<String> {
    let (_, problems) = converted(&format!("{{host: a.b, trafficPolicy: {policy}}}"));
    problems.into_iter().map(|p| p.trim_start_matches("spec.trafficPolicy.").to_owned()).collect()
}

#[test]
fn fields_of_tls_that_nothing_follows_from_are_told() {
    let fields = "clientCertificate: /c, privateKey: /k, caCertificates: /a, caCrl: /r";
    let all = ["clientCertificate", "privateKey", "caCertificates", "caCrl"];
    let gateways = "tls.credentialName: only gateways read it, as the rule has no workloadSelector; requests of sidecars \
                    are answered with 503";
    let (skip, names, credential) = ("insecureSkipVerify", "subjectAltNames", "credentialName");
    for (mode, more, unused, why) in [
        (
            "DISABLE",
            "credentialName: x, sni: a, subjectAltNames: [b], insecureSkipVerify: true",
            [&all[..], &[credential, skip, names, "sni"]].concat(),
            "with mode DISABLE",
        ),
        (
            "ISTIO_MUTUAL",
            "credentialName: x, insecureSkipVerify: true, sni: a",
            [&all[..], &[credential, skip]].concat(),
            "with mode ISTIO_MUTUAL",
        ),
        ("SIMPLE", "sni: a", all[..2].to_vec(), "with mode SIMPLE"),
        ("MUTUAL", "sni: a", Vec::new(), ""),
        ("MUTUAL", "credentialName: configmap://shop/b", all.to_vec(), "beside credentialName"),
        (
            "MUTUAL",
            "insecureSkipVerify: true, subjectAltNames: [a]",
            vec!["caCertificates", names, "caCrl"],
            "beside insecureSkipVerify",
        ),
    ] {
        let expected: Vec<String> = unused.iter().map(|field| format!("tls.{field}: has no effect {why}")).collect();
        assert_eq!(said(&format!("{{tls: {{mode: {mode}, {fields}, {more}}}}}")), expected, "{mode} {more}");
    }
    assert_eq!(said("{tls: {mode: SIMPLE, credentialName: x}}"), [gateways]);
    assert_eq!(
        said("{portLevelSettings: [{port: {number: 1}, tls: {mode: MUTUAL, credentialName: x}}]}"),
        [format!("portLevelSettings[0].{gateways}")]
    );
    let (_, problems) =
        converted("{host: a.b, subsets: [{name: v1, trafficPolicy: {tls: {mode: SIMPLE, credentialName: x}}}]}");
    assert_eq!(problems, [format!("spec.subsets[0].trafficPolicy.{gateways}")]);
    clean(
        "{host: a.b, workloadSelector: {matchLabels: {a: b}}, trafficPolicy: {tls: {mode: SIMPLE, credentialName: x}}}",
    );
}

#[test]
fn fields_of_load_balancers_that_nothing_follows_from_are_told() {
    let warmup = "warmup: {duration: 1s}, warmupDurationSecs: 1s";
    let unused = |why: &str| {
        let line =
            |field: &str| format!("loadBalancer.{field}: has no effect {why}: only with ROUND_ROBIN and LEAST_REQUEST");
        ["warmup", "warmupDurationSecs"].map(line).to_vec()
    };
    let hash = |field: &str, beside: &str| {
        format!("loadBalancer.consistentHash.{field}: cannot be set beside {beside}, which is used")
    };
    for (given, expected) in [
        (format!("simple: RANDOM, {warmup}"), unused("with RANDOM")),
        (format!("simple: PASSTHROUGH, {warmup}"), unused("with PASSTHROUGH")),
        (format!("consistentHash: {{useSourceIp: true}}, {warmup}"), unused("with consistentHash")),
        (warmup.to_owned(), vec!["loadBalancer.warmupDurationSecs: has no effect beside warmup".to_owned()]),
        (
            "simple: RANDOM, consistentHash: {useSourceIp: true}".to_owned(),
            vec!["loadBalancer.simple: cannot be set beside consistentHash, which is used".to_owned()],
        ),
        (
            "consistentHash: {httpHeaderName: a, httpCookie: {name: b}, useSourceIp: true, httpQueryParameterName: c}"
                .to_owned(),
            ["httpCookie", "useSourceIp", "httpQueryParameterName"].map(|f| hash(f, "httpHeaderName")).to_vec(),
        ),
        (
            "consistentHash: {useSourceIp: true, maglev: {tableSize: 7}, ringHash: {}}".to_owned(),
            vec![hash("ringHash", "maglev")],
        ),
        (
            "consistentHash: {useSourceIp: true, ringHash: {}, minimumRingSize: 5}".to_owned(),
            vec!["loadBalancer.consistentHash.minimumRingSize: cannot be set beside ringHash".to_owned()],
        ),
    ] {
        assert_eq!(said(&format!("{{loadBalancer: {{{given}}}}}")), expected, "{given}");
    }
}

#[test]
fn what_selects_workloads_is_checked() {
    let (_, problems) = converted(
        "{host: a.b, workloadSelector: {matchLabels: {app: '*'}}, trafficPolicy: {tunnel: {targetHost: t, targetPort: 1}, \
         portLevelSettings: [{port: {number: 1}, connectionPool: {tcp: {idleTimeout: 1s, maxConnectionDuration: 1s}}, \
         loadBalancer: {consistentHash: {useSourceIp: true}}}]}}",
    );
    assert_eq!(
        problems,
        [
            "spec.workloadSelector.matchLabels: \"app: *\" selects nothing: labels are compared as they are written",
            "spec.trafficPolicy.tunnel: not honoured yet beside workloadSelector",
            "spec.trafficPolicy.portLevelSettings[0].connectionPool.tcp.idleTimeout: not honoured yet for TCP beside \
             workloadSelector",
            "spec.trafficPolicy.portLevelSettings[0].connectionPool.tcp.maxConnectionDuration: not honoured yet for TCP \
             beside workloadSelector",
            "spec.trafficPolicy.portLevelSettings[0].loadBalancer.consistentHash.useSourceIp: not honoured yet for TCP \
             beside workloadSelector",
        ]
    );
}
