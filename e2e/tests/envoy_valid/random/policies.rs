//! Random policies: who may call whom, by which tokens, and how connections are encrypted.

use serde_json::json;

use super::shape::{HEADERS, Json, both, either, fields, labels, list, map, mostly, object, pick, some};

/// Ways of mutual TLS, which inbound listeners follow.
pub(super) fn peer_authentication() -> Json {
    let mode = || fields(vec![("mode", 1.0, pick(&["STRICT", "PERMISSIVE", "DISABLE", "UNSET"]))]);
    let spec = fields(vec![
        ("mtls", 0.8, mode()),
        ("selector", 0.7, selector()),
        ("portLevelMtls", 0.4, map(&["80", "9000", "65535", "1"], mode())),
    ]);
    object("security.istio.io/v1", "PeerAuthentication", spec)
}

fn selector() -> Json {
    fields(vec![("matchLabels", 1.0, either(vec![(3, pick(&[json!({"app": "web"})])), (1, labels())]))])
}

pub(super) fn authorization_policy() -> Json {
    let refusing = fields(vec![("action", 1.0, pick(&["DENY", "AUDIT"])), ("rules", 1.0, list(rule(), 1, 2))]);
    let allowing = fields(vec![("action", 0.5, pick(&["ALLOW"])), ("rules", 0.8, list(rule(), 0, 2))]);
    let asking = fields(vec![
        ("action", 1.0, pick(&["CUSTOM"])),
        ("provider", 1.0, pick(&[json!({"name": "ext"})])),
        (
            "rules",
            1.0,
            list(fields(vec![("to", 1.0, list(fields(vec![("operation", 1.0, operation())]), 1, 1))]), 1, 1),
        ),
    ]);
    let spec =
        both(fields(vec![("selector", 0.6, selector())]), either(vec![(3, refusing), (4, allowing), (1, asking)]));
    object("security.istio.io/v1", "AuthorizationPolicy", spec)
}

fn rule() -> Json {
    fields(vec![
        ("from", 0.6, list(fields(vec![("source", 1.0, source())]), 1, 2)),
        ("to", 0.6, list(fields(vec![("operation", 1.0, operation())]), 1, 2)),
        ("when", 0.4, list(condition(), 1, 2)),
    ])
}

fn source() -> Json {
    let blocks = ["10.0.0.0/8", "1.2.3.4", "2001:db8::/32", "::1"];
    let by = |field: &'static str, not: &'static str, pool: &[&'static str]| {
        fields(vec![(field, 1.0, some(pool, 1, 3)), (not, 0.3, some(pool, 1, 1))])
    };
    either(vec![
        (2, by("principals", "notPrincipals", &["td/ns/a/sa/b", "*", "cluster.local/*", "*/sa/b", "a.b+c"])),
        (2, by("namespaces", "notNamespaces", &["shop", "*", "a-*", "*-b"])),
        (1, by("serviceAccounts", "notServiceAccounts", &["shop/web", "web"])),
        (1, by("requestPrincipals", "notRequestPrincipals", &["issuer/subject", "*", "i/*", "*/s"])),
        (2, by("ipBlocks", "notIpBlocks", &blocks)),
        (1, by("remoteIpBlocks", "notRemoteIpBlocks", &blocks)),
    ])
}

fn operation() -> Json {
    let by = |field: &'static str, not: &'static str, pool: &[&'static str]| {
        fields(vec![(field, 1.0, some(pool, 1, 3)), (not, 0.3, some(pool, 1, 1))])
    };
    let paths = ["/", "/a", "/a/*", "*.html", "*", "/{*}/b", "/a/{**}", "/é", "/a.b?c", "/x{1}"];
    either(vec![
        (3, by("paths", "notPaths", &paths)),
        (2, by("hosts", "notHosts", &["a.example.com", "*.example.com", "a.*", "*", "[::1]:80"])),
        (2, by("methods", "notMethods", &["GET", "POST", "*", "P*"])),
        (1, by("ports", "notPorts", &["80", "65535", "1"])),
    ])
}

/// A condition on something else.
fn condition() -> Json {
    let on = |key: Json, pool: &[&'static str]| {
        let values = fields(vec![("values", 1.0, some(pool, 1, 2)), ("notValues", 0.3, some(pool, 1, 1))]);
        both(fields(vec![("key", 1.0, key)]), values)
    };
    let headers: Vec<String> = HEADERS.iter().map(|name| format!("request.headers[{name}]")).collect();
    let claims = ["request.auth.claims[iss]", "request.auth.claims[a][b]", "request.auth.claims[a.b]"];
    let texts = ["a", "*", "a*", "*b", "a b", "é", "[x]", "%"];
    either(vec![
        (2, on(pick(&headers), &texts)),
        (1, on(pick(&claims), &texts)),
        (1, on(pick(&["source.ip", "remote.ip", "destination.ip"]), &["10.0.0.0/8", "::1"])),
        (1, on(pick(&["source.namespace", "source.principal", "source.serviceAccount"]), &["shop/a", "shop/b"])),
        (1, on(pick(&["request.auth.principal", "request.auth.audiences", "request.auth.presenter"]), &texts)),
        (1, on(pick(&["destination.port"]), &["80", "65535"])),
        (1, on(pick(&["connection.sni"]), &["a.example.com", "*.example.com"])),
        (1, on(pick(&["experimental.envoy.filters.a.b[c]", "experimental.envoy.filters.a.b[c][d]"]), &["a", "[b]"])),
    ])
}

pub(super) fn request_authentication() -> Json {
    let spec = fields(vec![("selector", 0.6, selector()), ("jwtRules", 0.9, list(jwt_rule(), 1, 2))]);
    object("security.istio.io/v1", "RequestAuthentication", spec)
}

fn jwt_rule() -> Json {
    let key = json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a"}]}).to_string();
    let keys = either(vec![
        (2, fields(vec![("jwks", 1.0, pick(&[key]))])),
        (
            1,
            fields(vec![(
                "jwksUri",
                1.0,
                mostly(&["https://a.example/keys", "http://web.shop:80/keys"], &["ftp://a"]),
            )]),
        ),
    ]);
    let header = fields(vec![
        ("name", 1.0, mostly(&["x-token", "Authorization"], &[""])),
        ("prefix", 0.5, pick(&["Bearer ", "t"])),
    ]);
    let copied = fields(vec![("header", 1.0, pick(&["x-claim", "x_b"])), ("claim", 1.0, pick(&["iss", "a.b"]))]);
    let rest = fields(vec![
        ("issuer", 1.0, mostly(&["https://a.example", "me", "a@b"], &[""])),
        ("audiences", 0.4, some(&["a", "https://b"], 1, 2)),
        ("fromHeaders", 0.3, list(header, 1, 2)),
        ("fromParams", 0.3, some(&["token", "t"], 1, 2)),
        ("fromCookies", 0.2, some(&["token"], 1, 1)),
        ("outputPayloadToHeader", 0.2, pick(&["x-payload"])),
        ("outputClaimToHeaders", 0.2, list(copied, 1, 2)),
        ("forwardOriginalToken", 0.3, pick(&[true, false])),
        ("timeout", 0.2, pick(&["1s", "5s"])),
    ]);
    both(rest, keys)
}
