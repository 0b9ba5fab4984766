//! The objects of a mesh of any size: what number `n` is depends on its digits only, so that a mesh of 100 services is
//! like one of 10,000.
//!
//! Service `s<n>` is in namespace `ns<last digit>`; the digit before says what it is, see [`Traits`].

use serde_json::{Value, json};

use crate::api::{self, Object};

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traits {
    /// Port 80 is of a protocol that is found out.
    Sniffed,
    /// Port 9000 is TCP.
    Tcp,
    /// A VirtualService binds it to the gateway: so few in any mesh, as what is bound is one route configuration, put
    /// together anew when one of them changes.
    OnGateway,
    /// A DestinationRule is about it.
    Governed,
    /// A VirtualService routes its requests in the mesh.
    Routed,
    /// None of these: port 80 is HTTP.
    Plain,
}

/// What service `n` is.
pub(super) fn traits(n: usize) -> Traits {
    match n / 10 % 10 {
        0 => Traits::Sniffed,
        1 => Traits::Tcp,
        2 if n < 100 => Traits::OnGateway,
        3 => Traits::Governed,
        4..=6 => Traits::Routed,
        _ => Traits::Plain,
    }
}

/// An object as it is read.
pub(super) fn object(value: Value) -> Object {
    api::decode(value).expect("a good object").0
}

/// The host of service `n`.
pub(super) fn host(n: usize) -> String {
    format!("s{n}.ns{}.svc.cluster.local", n % 10)
}

/// The cluster of service `n`, which its assignment has the name of too.
pub(super) fn cluster(n: usize) -> String {
    format!("outbound|{}||{}", if traits(n) == Traits::Tcp { 9000 } else { 80 }, host(n))
}

fn metadata(name: &str, n: usize) -> Value {
    json!({"name": name, "namespace": format!("ns{}", n % 10)})
}

/// Service `n`.
pub(super) fn service(n: usize) -> Value {
    let port = match traits(n) {
        Traits::Sniffed => json!({"port": 80}),
        Traits::Tcp => json!({"name": "tcp", "port": 9000}),
        _ => json!({"name": "http", "port": 80}),
    };
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(&format!("s{n}"), n),
        "spec": {"clusterIP": address(10, n), "selector": {"app": format!("s{n}")}, "ports": [port]},
    })
}

/// An address of number `n` in a network.
pub(super) fn address(network: u8, n: usize) -> String {
    format!("{network}.{}.{}.1", n / 250, n % 250)
}

/// The slice of service `n` with these addresses.
pub(super) fn slice(n: usize, addresses: &[String]) -> Value {
    let mut metadata = metadata(&format!("s{n}-0"), n);
    metadata["labels"] = json!({"kubernetes.io/service-name": format!("s{n}")});
    let name = match traits(n) {
        Traits::Sniffed => "",
        Traits::Tcp => "tcp",
        _ => "http",
    };
    let endpoints: Vec<_> =
        addresses.iter().map(|a| json!({"addresses": [a], "conditions": {"ready": true}})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
        "ports": [{"name": name, "port": 8080}], "endpoints": endpoints,
    })
}

/// A WorkloadEntry that service `n` selects, with one of its addresses.
pub(super) fn workload(n: usize, address: u8) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": metadata(&format!("w{n}"), n),
        "spec": {"address": format!("175.0.0.{address}"), "labels": {"app": format!("s{n}")}},
    })
}

/// The VirtualService about service `n`, on the gateway or in the mesh.
pub(super) fn rule(n: usize, seconds: usize) -> Value {
    let route = json!([{"timeout": format!("{seconds}s"), "route": [{"destination": {"host": host(n)}}]}]);
    let spec = match traits(n) {
        Traits::OnGateway => {
            json!({"hosts": [format!("s{n}.example.com")], "gateways": ["istio-system/gateway"], "http": route})
        }
        _ => json!({"hosts": [host(n)], "http": route}),
    };
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata(&format!("v{n}"), n),
        "spec": spec,
    })
}

/// The DestinationRule about service `n`.
pub(super) fn governance(n: usize, connections: usize) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata(&format!("d{n}"), n),
        "spec": {"host": host(n), "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": connections}}}},
    })
}

/// The Gateway and the Sidecar object of the mesh.
fn fixed() -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "gateway", "namespace": "istio-system"},
            "spec": {"selector": {"istio": "ingressgateway"},
                "servers": [{"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]},
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
            "metadata": {"name": "narrow", "namespace": "ns3"},
            "spec": {"egress": [{"hosts": ["./*", "ns1/*"]}]},
        }),
    ]
}

/// All objects of service `n`.
pub(super) fn all_of(n: usize) -> Vec<Value> {
    let mut all = vec![service(n), slice(n, &[address(172, n), address(173, n)])];
    match traits(n) {
        Traits::OnGateway | Traits::Routed => all.push(rule(n, 1)),
        Traits::Governed => all.push(governance(n, 100)),
        _ => {}
    }
    all
}

/// All objects of a mesh.
pub(super) fn mesh(services: usize) -> Vec<Object> {
    fixed().into_iter().chain((0..services).flat_map(all_of)).map(object).collect()
}

/// The same object with an annotation, which nothing looks at.
pub(super) fn annotated(mut value: Value) -> Value {
    value["metadata"]["annotations"] = json!({"example.com/note": "x"});
    value["metadata"]["resourceVersion"] = "7".into();
    value
}
