//! Objects of about a megabyte, each of a kind and of one thing that there is much of: what takes more than its share of
//! time shows there.

use serde_json::{Value, json};

/// About the size of each, in bytes.
pub const LARGE: usize = 1024 * 1024;

/// The objects, by what there is much of.
#[must_use]
pub fn large_objects() -> Vec<(&'static str, Value)> {
    let host = |n: usize| format!("h{n}.example.com");
    let route = json!([{"destination": {"host": "a"}}]);
    let service = |spec: Value| object("VirtualService", &spec);
    let rule = |matches: Value| service(json!({"hosts": ["a"], "http": [{"match": matches, "route": route}]}));
    vec![
        ("hosts", service(json!({"hosts": many(host), "http": [{"route": route}]}))),
        (
            "hosts within wildcards",
            service(json!({"hosts": many(|n| {
            if n % 2 == 0 { format!("*.d{n}.com") } else { format!("x.d{}.com", n - 1) }
        }), "http": [{"route": route}]})),
        ),
        (
            "gateways",
            service(json!({"hosts": ["a"], "gateways": many(|n| format!("ns/g{n}")), "http": [{"route": route}]})),
        ),
        (
            "rules",
            service(json!({"hosts": ["a"], "http": many(|n| {
                json!({"match": [{"uri": {"prefix": format!("/{n}/")}}], "route": route})
            })})),
        ),
        (
            "conditions on longer and longer paths",
            rule(many(|n| json!({"uri": {"prefix": format!("/{}", "a/".repeat(n % 300))}}))),
        ),
        ("conditions on headers", rule(many(|n| json!({"headers": {format!("x-{n}"): {"exact": "a"}}})))),
        ("headers of one condition", rule(json!([{"headers": map(|n| (format!("x-{n}"), json!({"prefix": "a"})))}]))),
        ("expressions", rule(many(|n| json!({"uri": {"regex": format!("/(a|b)+/[^/]{{1,20}}/{n}")}})))),
        ("classes", rule(many(|_| json!({"uri": {"regex": r"\pL\p{Greek}".repeat(80)}})))),
        ("repetitions", rule(many(|n| json!({"uri": {"regex": format!("(a{{1,9}}b{{1,9}}){{1,10}}{n}")}})))),
        (
            "conditions of retries",
            service(json!({"hosts": ["a"], "http": [
                {"retries": {"attempts": 1, "retryOn": "x,".repeat(LARGE / 2)}, "route": route},
            ]})),
        ),
        (
            "destinations",
            service(json!({"hosts": ["a"], "http": [
                {"route": many(|n| json!({"destination": {"host": host(n)}, "weight": 1}))},
            ]})),
        ),
        (
            "headers to set",
            service(json!({"hosts": ["a"], "http": [{"route": route, "headers": {"request": {
                "set": map(|n| (format!("x-{n}"), json!("%REQ(a)%"))),
            }}}]})),
        ),
        (
            "server names",
            service(json!({"hosts": many(host).as_array().map(|all| all[..all.len() / 2].to_vec()), "tls": [
                {"match": [{"sniHosts": many(host).as_array().map(|all| all[all.len() / 2..].to_vec())}], "route": route},
            ]})),
        ),
        ("wrong hosts", service(json!({"hosts": many(|n| format!("a b {n}")), "http": [{"route": route}]}))),
        (
            "unknown fields",
            service(
                json!({"hosts": ["a"], "http": [{"route": route}], "x": 1, "y": map(|n| (n.to_string(), json!(1)))}),
            ),
        ),
        (
            "exported to",
            service(json!({"hosts": ["a"], "exportTo": many(|n| format!("n{n}")), "http": [{"route": route}]})),
        ),
        (
            "servers",
            object(
                "Gateway",
                &json!({"servers": many(|n| json!({
                    "name": format!("s{n}"), "port": {"number": 80, "name": format!("p{n}"), "protocol": "HTTP"}, "hosts": [host(n)],
                }))}),
            ),
        ),
        (
            "hosts of a server",
            object(
                "Gateway",
                &json!({"servers": [
                    {"port": {"number": 80, "name": "p", "protocol": "HTTP"}, "hosts": many(host)},
                ]}),
            ),
        ),
        (
            "ciphers",
            object(
                "Gateway",
                &json!({"servers": [{"port": {"number": 443, "name": "p", "protocol": "HTTPS"},
                    "hosts": ["*"], "tls": {"mode": "SIMPLE", "credentialName": "a", "cipherSuites": many(|_| "AES128-SHA")}},
                ]}),
            ),
        ),
        (
            "subsets",
            object(
                "DestinationRule",
                &json!({"host": "a", "subsets": many(|n| json!({
                    "name": format!("s{n}"), "labels": {"v": format!("{n}")}, "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}},
                }))}),
            ),
        ),
        (
            "ports",
            object(
                "DestinationRule",
                &json!({"host": "a", "trafficPolicy": {"portLevelSettings": many(|n| json!({
                    "port": {"number": n % 65_535 + 1}, "tls": {"mode": "DISABLE"},
                }))}}),
            ),
        ),
        (
            "localities",
            object(
                "DestinationRule",
                &json!({"host": "a", "trafficPolicy": {"loadBalancer": {
                    "localityLbSetting": {"distribute": many(|n| json!({"from": format!("a/b{n}/*"), "to": {"a": 100}}))},
                }}}),
            ),
        ),
        (
            "selected labels",
            object(
                "DestinationRule",
                &json!({"host": "a", "workloadSelector": {
                    "matchLabels": map(|n| (format!("l{n}"), json!("a"))),
                }}),
            ),
        ),
        (
            "hosts of a ServiceEntry",
            object(
                "ServiceEntry",
                &json!({"hosts": many(host), "resolution": "DNS",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}),
            ),
        ),
        (
            "hosts, addresses and endpoints of a ServiceEntry",
            object(
                "ServiceEntry",
                &json!({"hosts": third(host), "addresses": third(address), "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": third(|n| json!({"address": address(n)}))}),
            ),
        ),
        (
            "endpoints",
            object(
                "ServiceEntry",
                &json!({"hosts": ["a.com"], "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": many(|n| json!({"address": address(n)}))}),
            ),
        ),
        ("hosts of a Sidecar", object("Sidecar", &json!({"egress": [{"hosts": many(|n| format!("ns{n}/*"))}]}))),
        (
            "patches",
            object(
                "EnvoyFilter",
                &json!({"configPatches": many(|n| json!({
                    "applyTo": "CLUSTER", "patch": {"operation": "MERGE", "value": {"name": format!("c{n}")}},
                }))}),
            ),
        ),
        ("labels of an object", labelled()),
    ]
    .into_iter()
    .chain(policies())
    .chain(patches())
    .chain(others())
    .collect()
}

/// Of groups other than `networking.istio.io`.
fn of_group(group: &str, kind: &str, spec: &Value) -> Value {
    let mut object = object(kind, spec);
    object["apiVersion"] = group.into();
    object
}

fn policies() -> Vec<(&'static str, Value)> {
    let policy = |rules: Value| {
        of_group("security.istio.io/v1", "AuthorizationPolicy", &json!({"action": "DENY", "rules": rules}))
    };
    let tokens = |rules: Value| of_group("security.istio.io/v1", "RequestAuthentication", &json!({"jwtRules": rules}));
    let keys = |key: Value| json!({"keys": many(|_| key.clone())}).to_string();
    vec![
        ("rules of a policy", policy(many(|n| json!({"to": [{"operation": {"paths": [format!("/{n}")]}}]})))),
        ("sources", policy(json!([{"from": many(|n| json!({"source": {"serviceAccounts": [format!("a/b{n}")]}}))}]))),
        ("wrong addresses", policy(json!([{"from": [{"source": {"ipBlocks": many(|n| format!("10.0.0.{n}/40"))}}]}]))),
        ("templates", policy(json!([{"to": [{"operation": {"paths": many(|_| "/{*}/a".repeat(50))}}]}]))),
        ("a long template", policy(json!([{"to": [{"operation": {"paths": ["/{*}".repeat(LARGE / 4)]}}]}]))),
        (
            "conditions of a policy",
            policy(json!([{"when": many(|n| json!({"key": format!("request.headers[x-{n}]"), "values": ["a"]}))}])),
        ),
        (
            "kinds of tokens",
            tokens(many(|n| json!({"issuer": format!("i{n}"), "jwksUri": format!("https://i{n}/keys")}))),
        ),
        ("keys", tokens(json!([{"issuer": "i", "jwks": keys(json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}))}]))),
        ("private keys", tokens(json!([{"issuer": "i", "jwks": keys(json!({"kty": "oct", "k": "AQAB"}))}]))),
        ("brackets in place of keys", tokens(json!([{"issuer": "i", "jwks": "[".repeat(LARGE)}]))),
        (
            "modes of ports",
            of_group(
                "security.istio.io/v1",
                "PeerAuthentication",
                &json!({
                    "selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": map(|n| ((n + 1).to_string(), json!({}))),
                }),
            ),
        ),
    ]
}

fn patches() -> Vec<(&'static str, Value)> {
    let filter = |patches: Value| object("EnvoyFilter", &json!({"configPatches": patches}));
    let merge = |value: Value| json!({"applyTo": "CLUSTER", "patch": {"operation": "MERGE", "value": value}});
    let metadata = |key: String, value: Value| merge(json!({"typed_extension_protocol_options": {key: value}}));
    vec![
        ("unknown fields of patches", filter(many(|n| merge(json!({format!("connect_timeou{n}"): 1}))))),
        ("unknown fields of a patch", filter(json!([merge(map(|n| (format!("connect_timeou{n}"), json!(1))))]))),
        (
            "unknown types in patches",
            filter(many(|n| {
                metadata("a".to_owned(), json!({"@type": format!("type.googleapis.com/envoy.config.x{n}")}))
            })),
        ),
        (
            "unknown fields behind a long name",
            filter(json!([metadata(
                "x".repeat(LARGE / 2),
                json!({
                    "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "metadata": {},
                    "x": 1, "circuit_breakers": {"thresholds": many(|_| json!({"x": 1}))},
                })
            )])),
        ),
        (
            "expressions for versions",
            filter(many(|n| {
                json!({
                    "applyTo": "CLUSTER", "match": {"proxy": {"proxyVersion": format!("(a|b)+{{1,9}}{n}")}},
                    "patch": {"operation": "MERGE", "value": {"connect_timeout": "1s"}},
                })
            })),
        ),
        ("a patch nested deeply", filter(json!([merge(nested(60))]))),
        (
            "metadata of a patch",
            filter(json!([merge(
                json!({"metadata": {"filter_metadata": {"a": map(|n| (format!("k{n}"), json!(n)))}}})
            )])),
        ),
    ]
}

/// Lists within lists, as JSON allows.
fn nested(depth: usize) -> Value {
    let inner = (0..depth).fold(json!("a"), |value, _| json!([value]));
    json!({"metadata": {"filter_metadata": {"a": {"b": many(|_| inner.clone())}}}})
}

fn others() -> Vec<(&'static str, Value)> {
    let telemetry = |spec: Value| of_group("telemetry.istio.io/v1", "Telemetry", &spec);
    let plugin = |spec: Value| of_group("extensions.istio.io/v1alpha1", "WasmPlugin", &spec);
    let tags =
        |key: String| telemetry(json!({"tracing": [{"customTags": {key: map(|n| (format!("x{n}"), json!(1)))}}]}));
    vec![
        ("a tag with a long name and many unknown fields", tags("x".repeat(LARGE / 2))),
        (
            "values of tags",
            telemetry(json!({"metrics": [{"overrides": [{"tagOverrides": map(|n| {
                (format!("t{n}"), json!({"value": format!("request.headers['x-{n}'] + 'a'")}))
            })}]}]})),
        ),
        (
            "filters of logs",
            telemetry(
                json!({"accessLogging": many(|n| json!({"filter": {"expression": format!("response.code > {n}")}}))}),
            ),
        ),
        (
            "a long filter of logs",
            telemetry(json!({"accessLogging": [{"filter": {"expression": "a.".repeat(LARGE / 2)}}]})),
        ),
        (
            "nested filters of logs",
            telemetry(json!({"accessLogging": many(|_| json!({"filter": {"expression": "(".repeat(2000)}}))})),
        ),
        (
            "variables of a module",
            plugin(
                json!({"url": "oci://a/b", "vmConfig": {"env": many(|n| json!({"name": format!("A{n}"), "value": "b"}))}}),
            ),
        ),
        (
            "ports of a module",
            plugin(json!({"url": "oci://a/b", "match": [{"ports": many(|n| json!({"number": n % 65_535 + 1}))}]})),
        ),
        (
            "outbound listeners",
            object(
                "Sidecar",
                &json!({"egress": many(|n| json!({"port": {"number": n % 65_535 + 1}, "hosts": [format!("./h{n}.com")]}))}),
            ),
        ),
        (
            "inbound listeners",
            object(
                "Sidecar",
                &json!({"ingress": many(|n| json!({"port": {"number": n % 65_535 + 1, "protocol": "HTTP"}}))}),
            ),
        ),
        (
            "ports of a ServiceEntry",
            object(
                "ServiceEntry",
                &json!({"hosts": ["a.com", "b.com"], "resolution": "STATIC",
                "ports": many(|n| json!({"number": n % 65_535 + 1, "name": format!("p{n}"), "protocol": "TCP"})),
                "endpoints": [{"address": "10.0.0.1"}]}),
            ),
        ),
    ]
}

fn labelled() -> Value {
    let mut object = object("VirtualService", &json!({"hosts": ["a"]}));
    object["metadata"]["annotations"] = map(|n| (format!("a{n}"), json!("x")));
    object
}

fn object(kind: &str, spec: &Value) -> Value {
    let metadata = json!({"name": "large", "namespace": "ns"});
    json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn address(n: usize) -> String {
    format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255)
}

/// As many elements as make up the size.
fn many<T: Into<Value>>(element: impl Fn(usize) -> T) -> Value {
    list(LARGE, element)
}

/// As many as make up a third of it.
fn third<T: Into<Value>>(element: impl Fn(usize) -> T) -> Value {
    list(LARGE / 3, element)
}

fn list<T: Into<Value>>(most: usize, element: impl Fn(usize) -> T) -> Value {
    let (mut list, mut size) = (Vec::new(), 0);
    while size < most {
        let value: Value = element(list.len()).into();
        size += value.to_string().len() + 1;
        list.push(value);
    }
    list.into()
}

fn map(entry: impl Fn(usize) -> (String, Value)) -> Value {
    let (mut map, mut size) = (serde_json::Map::new(), 0);
    while size < LARGE {
        let (key, value) = entry(map.len());
        size += key.len() + value.to_string().len() + 4;
        map.insert(key, value);
    }
    map.into()
}
