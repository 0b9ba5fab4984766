//! Random ServiceEntries and WorkloadEntries.

use serde_json::json;

use super::shape::{Json, both, count, either, fields, host, labels, list, map, mostly, object, pick, port, some};

pub(super) fn service_entry() -> Json {
    let common = || {
        fields(vec![
            ("hosts", 1.0, list(host(), 1, 1)),
            ("location", 0.5, pick(&["MESH_EXTERNAL", "MESH_INTERNAL"])),
            ("exportTo", 0.1, pick(&[json!(["*"]), json!(["."])])),
            ("subjectAltNames", 0.1, some(&["spiffe://a/b", "a.b"], 1, 2)),
        ])
    };
    let addresses = some(&["10.5.0.1", "10.6.0.0/16", "2001:db8::5", "240.240.0.1"], 1, 2);
    let fixed = fields(vec![
        ("resolution", 1.0, pick(&["STATIC"])),
        ("addresses", 0.4, some(&["10.5.0.1", "2001:db8::5"], 1, 2)),
        ("ports", 1.0, ports()),
        ("endpoints", 0.9, list(endpoint(pick(&["10.7.0.1", "2001:db8::7", "10.7.0.2"])), 1, 3)),
    ]);
    let socket = fields(vec![
        ("resolution", 1.0, pick(&["STATIC"])),
        ("ports", 1.0, list(service_port(80), 1, 1)),
        ("endpoints", 1.0, list(fields(vec![("address", 1.0, mostly(&["unix:///a/b.sock"], &["unix://@a"]))]), 1, 1)),
    ]);
    let by_name = fields(vec![
        ("resolution", 1.0, pick(&["DNS", "DNS_ROUND_ROBIN"])),
        ("ports", 1.0, ports()),
        ("endpoints", 0.5, list(endpoint(mostly(&["a.invalid", "10.7.0.1"], &["*.a", "a_b.invalid"])), 1, 1)),
    ]);
    let unresolved =
        fields(vec![("resolution", 1.0, pick(&["NONE"])), ("addresses", 0.6, addresses), ("ports", 1.0, ports())]);
    let selected = fields(vec![
        ("resolution", 1.0, pick(&["STATIC"])),
        ("ports", 1.0, ports()),
        ("workloadSelector", 1.0, fields(vec![("labels", 1.0, labels())])),
    ]);
    let how = either(vec![(4, fixed), (1, socket), (3, by_name), (2, unresolved), (1, selected)]);
    object("networking.istio.io/v1", "ServiceEntry", both(common(), how))
}

fn ports() -> Json {
    either(vec![
        (2, list(service_port(80), 1, 1)),
        (1, list(service_port(443), 1, 1)),
        (
            1,
            proptest::strategy::Strategy::boxed(proptest::strategy::Strategy::prop_map(
                (service_port(80), service_port(9000)),
                |(a, b)| json!([a, b]),
            )),
        ),
    ])
}

fn service_port(number: u64) -> Json {
    let named = |name: String, protocols: &[&'static str]| {
        fields(vec![
            ("number", 1.0, either(vec![(8, pick(&[number])), (1, port())])),
            ("name", 1.0, pick(&[name])),
            ("protocol", 0.9, pick(protocols)),
            ("targetPort", 0.2, port()),
        ])
    };
    named(
        format!("port-{number}"),
        &["HTTP", "HTTPS", "TCP", "TLS", "GRPC", "HTTP2", "MONGO", "http", "GRPC-WEB", "UDP"],
    )
}

fn endpoint(address: Json) -> Json {
    fields(vec![
        ("address", 1.0, address),
        ("ports", 0.3, map(&["port-80"], port())),
        ("labels", 0.3, labels()),
        ("locality", 0.4, mostly(&["r", "r/z", "r/z/s", ""], &["r/*", "/", "a//b"])),
        ("weight", 0.4, count()),
        ("network", 0.2, pick(&["n"])),
        ("serviceAccount", 0.2, pick(&["sa"])),
    ])
}

pub(super) fn workload_entry() -> Json {
    let spec = endpoint(mostly(&["10.7.0.1", "2001:db8::7", "a.invalid"], &["unix:///a", ""]));
    let spec = both(spec, fields(vec![("labels", 1.0, labels()), ("ports", 0.3, map(&["http", "tcp"], port()))]));
    object("networking.istio.io/v1", "WorkloadEntry", spec)
}

pub(super) fn sidecar() -> Json {
    let egress = fields(vec![
        (
            "hosts",
            1.0,
            some(&["./*", "*/*", "scenery/*", "*/*.example.com", "~/*", "*/web.shop.svc.cluster.local"], 1, 2),
        ),
        ("bind", 0.2, mostly(&["127.0.0.1", "0.0.0.0"], &["::", "unix:///tmp/a.sock"])),
        ("port", 0.5, listener_port(&[80, 9000, 3306])),
        ("captureMode", 0.3, pick(&["DEFAULT", "IPTABLES", "NONE"])),
    ]);
    let ingress = fields(vec![
        ("port", 1.0, listener_port(&[80, 8080, 7000, 65535])),
        ("bind", 0.2, mostly(&["127.0.0.1", "0.0.0.0"], &["::1"])),
        ("captureMode", 0.3, pick(&["DEFAULT", "IPTABLES", "NONE"])),
        (
            "defaultEndpoint",
            0.9,
            mostly(&["127.0.0.1:8080", "0.0.0.0:80", "unix:///tmp/a.sock", "[::1]:80"], &["10.1.2.3:80"]),
        ),
        ("connectionPool", 0.3, super::destination_rule::connection_pool()),
    ]);
    let spec = fields(vec![
        ("egress", 0.8, list(egress, 1, 1)),
        ("ingress", 0.6, list(ingress, 1, 1)),
        ("outboundTrafficPolicy", 0.4, fields(vec![("mode", 1.0, pick(&["ALLOW_ANY", "REGISTRY_ONLY"]))])),
        ("inboundConnectionPool", 0.3, super::destination_rule::connection_pool()),
        ("workloadSelector", 0.3, fields(vec![("labels", 1.0, labels())])),
    ]);
    object("networking.istio.io/v1", "Sidecar", spec)
}

fn listener_port(numbers: &[u64]) -> Json {
    fields(vec![
        ("number", 1.0, pick(numbers)),
        ("name", 1.0, pick(&["a"])),
        ("protocol", 1.0, pick(&["HTTP", "TCP", "HTTPS", "TLS", "GRPC", "HTTP2", "MONGO", "MYSQL"])),
    ])
}
