//! The objects of the cases, as users write them.

use mizzen::api::{self, Object};
use serde_json::{Value, json};

fn service(name: &str, index: u32, port_name: &str) -> Value {
    let [_, _, a, b] = (index + 1).to_be_bytes();
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": {
        "clusterIP": format!("172.16.{a}.{b}"), "selector": {"app": name},
        "ports": [{"name": port_name, "port": 80, "targetPort": 8080, "protocol": "TCP"}],
    }})
}

fn gateway(name: &str, servers: &Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": servers}})
}

fn virtual_service(index: u32, gateway: &str) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
    "metadata": {"name": format!("vs-{index}"), "namespace": "default"}, "spec": {
        "hosts": [format!("host-{index}.example.com")], "gateways": [gateway],
        "http": [{"route": [{"destination": {"host": format!("svc-{index}.default.svc.cluster.local")}}]}],
    }})
}

/// Services behind VirtualServices, all on one Gateway.
pub(super) fn one_gateway(size: u32) -> Vec<Value> {
    let servers = json!([{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]);
    let rules = (0..size).flat_map(|i| [service(&format!("svc-{i}"), i, "http"), virtual_service(i, "gateway")]);
    std::iter::once(gateway("gateway", &servers)).chain(rules).collect()
}

/// The same with a Gateway for each, which has a filter chain of its own.
pub(super) fn many_gateways(size: u32) -> Vec<Value> {
    let of = |i: u32| {
        let name = format!("gateway-{i}");
        let tls = json!({"mode": "SIMPLE", "serverCertificate": "/etc/cert.pem", "privateKey": "/etc/key.pem"});
        let servers = json!([{"port": {"number": 443, "name": format!("https-{i}"), "protocol": "HTTPS"}, "tls": tls,
            "hosts": [format!("host-{i}.example.com")]}]);
        [gateway(&name, &servers), service(&format!("svc-{i}"), i, "http"), virtual_service(i, &name)]
    };
    (0..size).flat_map(of).collect()
}

/// Services whose port has a name that says what it speaks.
pub(super) fn services(size: u32, port_name: &str) -> Vec<Value> {
    (0..size).map(|i| service(&format!("svc-{i}"), i, port_name)).collect()
}

/// An object as a source delivers it.
pub(super) fn decoded(object: &Value) -> Object {
    let (object, unknown) = api::decode(object.clone()).expect("a good object");
    assert!(unknown.is_empty(), "{unknown:?}");
    object
}
