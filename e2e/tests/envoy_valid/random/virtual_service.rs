//! Random VirtualServices.

use serde_json::json;

use super::shape::{
    HEADERS, Json, always, boolean, both, count, duration, either, fields, header_value, host, labels, list, map,
    mostly, object, path, percent, pick, port, regex, some, string_match, target, text,
};

pub(super) fn virtual_service() -> Json {
    let spec = |hosts, gateways: Json| {
        both(
            fields(vec![("hosts", 1.0, hosts), ("gateways", 1.0, gateways)]),
            fields(vec![
                ("http", 1.0, list(http_rule(), 1, 2)),
                ("tcp", 0.1, list(tcp_rule(), 1, 2)),
                ("exportTo", 0.1, pick(&[json!(["*"]), json!(["."]), json!([".", "other"])])),
            ]),
        )
    };
    let gateways = some(&["mesh", "edge", "shop/rim", "other/gw"], 1, 3);
    let spec = either(vec![
        (5, spec(list(host(), 1, 1), gateways)),
        (1, tls()),
        (1, spec(always(json!(["*"])), always(json!(["edge"])))),
    ]);
    object("networking.istio.io/v1", "VirtualService", spec)
}

/// Hosts, and rules about server names among them.
fn tls() -> Json {
    fields(vec![
        ("hosts", 1.0, always(json!(["a.example.com", "*.x.test", "web"]))),
        ("gateways", 1.0, some(&["mesh", "edge"], 1, 2)),
        ("tls", 1.0, list(tls_rule(), 1, 2)),
    ])
}

fn http_rule() -> Json {
    let matches = ("match", 0.5, list(http_match(), 1, 3));
    let common = || {
        fields(vec![
            ("name", 0.3, pick(&["a", "A rule", "a/b"])),
            ("headers", 0.3, headers()),
            ("corsPolicy", 0.2, cors()),
        ])
    };
    let route = fields(vec![
        matches.clone(),
        ("route", 1.0, either(vec![(3, list(http_destination(), 1, 1)), (1, weighted())])),
        ("rewrite", 0.3, rewrite()),
        ("timeout", 0.3, duration()),
        ("retries", 0.3, retries()),
        ("fault", 0.2, fault()),
        ("mirror", 0.2, destination()),
        ("mirrors", 0.1, list(fields(vec![("destination", 1.0, destination()), ("percentage", 0.7, percent())]), 1, 2)),
    ]);
    let redirect = fields(vec![matches.clone(), ("redirect", 1.0, redirect())]);
    let direct = fields(vec![matches, ("directResponse", 1.0, direct_response())]);
    either(vec![(5, both(route, common())), (1, both(redirect, common())), (1, both(direct, common()))])
}

fn http_match() -> Json {
    fields(vec![
        ("name", 0.1, text()),
        ("uri", 0.6, string_match(&path())),
        ("ignoreUriCase", 0.2, boolean()),
        ("scheme", 0.1, string_match(&pick(&["http", "https"]))),
        ("method", 0.2, string_match(&mostly(&["GET", "M-SEARCH"], &["get", "a b"]))),
        ("authority", 0.2, string_match(&pick(&["a.example.com", "A", "a:80"]))),
        ("headers", 0.3, map(&HEADERS, either(vec![(3, string_match(&text())), (1, always(json!({})))]))),
        ("withoutHeaders", 0.2, map(&HEADERS, either(vec![(3, string_match(&text())), (1, always(json!({})))]))),
        ("queryParams", 0.2, map(&["q", "a[]", "a b"], string_match(&text()))),
        ("port", 0.2, port()),
        ("sourceLabels", 0.1, labels()),
        ("sourceNamespace", 0.1, pick(&["shop", "other"])),
        ("gateways", 0.1, some(&["mesh", "edge"], 1, 2)),
        ("statPrefix", 0.1, mostly(&["a", "a.b"], &["a b"])),
    ])
}

fn destination() -> Json {
    fields(vec![
        ("host", 1.0, target()),
        ("subset", 0.3, pick(&["v1", "v2"])),
        ("port", 0.6, fields(vec![("number", 1.0, pick(&[80, 7000, 8080]))])),
    ])
}

fn http_destination() -> Json {
    fields(vec![("destination", 1.0, destination()), ("headers", 0.3, headers()), ("weight", 0.1, pick(&[100, 0, 1]))])
}

fn weighted() -> Json {
    let one = fields(vec![
        ("destination", 1.0, destination()),
        ("headers", 0.3, headers()),
        ("weight", 1.0, mostly(&[1, 50, 100, 1_000_000], &[i32::MAX, 0])),
    ]);
    list(one, 2, 3)
}

fn headers() -> Json {
    let operations = || {
        fields(vec![
            ("set", 0.5, map(&HEADERS, header_value())),
            ("add", 0.5, map(&HEADERS, header_value())),
            ("remove", 0.3, some(&HEADERS, 1, 2)),
        ])
    };
    fields(vec![("request", 0.6, operations()), ("response", 0.6, operations())])
}

fn rewrite() -> Json {
    let regex_rewrite = fields(vec![
        ("match", 1.0, regex()),
        ("rewrite", 1.0, mostly(&["/a", "\\0", "/\\\\", ""], &["\\1", "\\x", "/a b"])),
    ]);
    either(vec![
        (3, fields(vec![("uri", 0.8, path()), ("authority", 0.4, mostly(&["a.b", "a:80"], &["a b", "é"]))])),
        (1, fields(vec![("uriRegexRewrite", 1.0, regex_rewrite)])),
    ])
}

fn redirect() -> Json {
    fields(vec![
        ("uri", 0.6, mostly(&["/a", "%PREFIX()%", "/a%20b", "a"], &["/a b", "/é", "%PREFIX()%/x"])),
        ("authority", 0.4, mostly(&["a.b", "a:80"], &["a b"])),
        ("scheme", 0.4, mostly(&["http", "https"], &["ftp", "HTTPS"])),
        ("redirectCode", 0.4, mostly(&[301, 302, 303, 307, 308], &[300, 200])),
    ])
}

fn direct_response() -> Json {
    let large = "a".repeat(100_000);
    let body = either(vec![
        (3, fields(vec![("string", 1.0, mostly(&["", "a", "100%", "%NO%", "é\u{0}"], &[&*large.leak()]))])),
        (1, fields(vec![("bytes", 1.0, pick(&["", "YQ==", "/w=="]))])),
    ]);
    fields(vec![("status", 1.0, mostly(&[200, 204, 404, 503, 599], &[100, 600, 199])), ("body", 0.6, body)])
}

fn retries() -> Json {
    fields(vec![
        ("attempts", 1.0, mostly(&[1, 2, 10, 0], &[-1, i32::MAX])),
        ("perTryTimeout", 0.4, duration()),
        (
            "retryOn",
            0.5,
            mostly(&["5xx", "gateway-error,connect-failure", "503", "cancelled, 5xx,409", ""], &["nope", "600", ","]),
        ),
        ("retryRemoteLocalities", 0.3, boolean()),
        ("retryIgnorePreviousHosts", 0.3, boolean()),
        ("backoff", 0.3, duration()),
    ])
}

fn fault() -> Json {
    let abort = either(vec![
        (
            3,
            fields(vec![("httpStatus", 1.0, mostly(&[200, 400, 503], &[199, 600, 0])), ("percentage", 0.9, percent())]),
        ),
        (
            1,
            fields(vec![
                ("grpcStatus", 1.0, mostly(&["UNAVAILABLE", "OK"], &["NOPE"])),
                ("percentage", 0.9, percent()),
            ]),
        ),
    ]);
    let delay = fields(vec![("fixedDelay", 1.0, duration()), ("percentage", 0.9, percent())]);
    fields(vec![("abort", 0.6, abort), ("delay", 0.6, delay)])
}

fn cors() -> Json {
    fields(vec![
        ("allowOrigins", 0.8, list(string_match(&mostly(&["https://a.b", "*", "null"], &["é"])), 1, 2)),
        ("allowMethods", 0.5, some(&["GET", "POST", "*"], 1, 2)),
        ("allowHeaders", 0.5, some(&HEADERS, 1, 2)),
        ("exposeHeaders", 0.5, some(&HEADERS, 1, 2)),
        ("maxAge", 0.5, duration()),
        ("allowCredentials", 0.5, boolean()),
        ("unmatchedPreflights", 0.3, pick(&["FORWARD", "IGNORE", "UNSPECIFIED"])),
    ])
}

fn tcp_destination() -> Json {
    let to = fields(vec![
        ("host", 1.0, target()),
        ("subset", 0.2, pick(&["v1"])),
        ("port", 0.8, fields(vec![("number", 1.0, pick(&[443, 9000]))])),
    ]);
    let one = |weight: Json| fields(vec![("destination", 1.0, to.clone()), ("weight", 1.0, weight)]);
    either(vec![(3, list(one(pick(&[100])), 1, 1)), (1, list(one(mostly(&[1, 50, 100], &[0, i32::MAX])), 2, 3))])
}

fn tls_rule() -> Json {
    let matches = fields(vec![
        (
            "sniHosts",
            1.0,
            mostly(
                &[json!(["a.example.com"]), json!(["b.x.test"]), json!(["web"])],
                &[json!(["*"]), json!(["A.Example.com", "a.example.com"])],
            ),
        ),
        ("destinationSubnets", 0.2, some(&["10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "0.0.0.0/0"], 1, 2)),
        ("port", 0.5, pick(&[443, 9000])),
        ("sourceLabels", 0.1, labels()),
    ]);
    fields(vec![("match", 1.0, list(matches, 1, 2)), ("route", 1.0, tcp_destination())])
}

fn tcp_rule() -> Json {
    let matches = fields(vec![
        ("destinationSubnets", 0.4, some(&["10.0.0.0/8", "10.1.2.3/32", "::/0"], 1, 2)),
        ("port", 0.7, count()),
        ("sourceNamespace", 0.1, pick(&["shop"])),
    ]);
    fields(vec![("match", 0.6, list(matches, 1, 2)), ("route", 1.0, tcp_destination())])
}
