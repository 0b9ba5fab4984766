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
            "endpoints",
            object(
                "ServiceEntry",
                &json!({"hosts": ["a.com"], "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": many(|n| json!({"address": format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255)}))}),
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

/// As many elements as make up the size.
fn many<T: Into<Value>>(element: impl Fn(usize) -> T) -> Value {
    let (mut list, mut size) = (Vec::new(), 0);
    while size < LARGE {
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
