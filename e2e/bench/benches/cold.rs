//! Cold translation, on one thread: from the model to everything that one proxy is sent, encoded. What the graph does
//! for it is measured too; reading objects is not.
//!
//! `cargo bench -p mizzen-bench --bench cold`; the goals are in `load --table`, which reads what this leaves.

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mizzen::{
    api,
    cli::offline,
    engine::Offline,
    model::{
        MeshConfig, Proxy,
        secret::{KeyPair, PrivateKey},
    },
    reconcilers::intake::{MeshSource, Reconcilers},
    snapshot::{ResourceType, Snapshot, canonical_bytes},
    translate::secrets::tls_certificate_secret,
};
use serde_json::{Value, json};

fn service(name: &str, index: u32, port_name: &str) -> Value {
    let [_, _, a, b] = (index + 1).to_be_bytes();
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": {
        "clusterIP": format!("172.16.{a}.{b}"), "selector": {"app": name},
        "ports": [{"name": port_name, "port": 80, "targetPort": 8080, "protocol": "TCP"}],
    }})
}

fn gateway(name: &str, servers: &Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": name, "namespace": "default"},
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
fn one_gateway(size: u32) -> Vec<Value> {
    let servers = json!([{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]);
    let rules = (0..size).flat_map(|i| [service(&format!("svc-{i}"), i, "http"), virtual_service(i, "gateway")]);
    std::iter::once(gateway("gateway", &servers)).chain(rules).collect()
}

/// The same with a Gateway for each, which has a filter chain of its own.
fn many_gateways(size: u32) -> Vec<Value> {
    let of = |i: u32| {
        let name = format!("gateway-{i}");
        let tls = json!({"mode": "SIMPLE", "serverCertificate": "/etc/cert.pem", "privateKey": "/etc/key.pem"});
        let servers = json!([{"port": {"number": 443, "name": format!("https-{i}"), "protocol": "HTTPS"}, "tls": tls,
            "hosts": [format!("host-{i}.example.com")]}]);
        [gateway(&name, &servers), service(&format!("svc-{i}"), i, "http"), virtual_service(i, &name)]
    };
    (0..size).flat_map(of).collect()
}

/// An engine that has been told of objects and has not done anything about them.
fn told(objects: &[Value]) -> Offline {
    let source = MeshSource { namespace: "istio-system".into(), name: "istio".into() };
    let reconcilers = Reconcilers::new(MeshConfig::default(), source);
    let mut offline = Offline::default();
    reconcilers.initial().apply(offline.db());
    for object in objects {
        let (object, unknown) = api::decode(object.clone()).expect("a good object");
        assert!(unknown.is_empty(), "{unknown:?}");
        reconcilers.apply(&object).apply(offline.db());
    }
    offline
}

fn translated(offline: &mut Offline, proxy: &Arc<Proxy>) -> Snapshot {
    let (snapshot, problems) = offline.snapshot(proxy.clone());
    assert!(problems.is_empty(), "{problems:?}");
    snapshot
}

fn snapshots(c: &mut Criterion) {
    let services = |port: &'static str| move |n: u32| (0..n).map(|i| service(&format!("svc-{i}"), i, port)).collect();
    type Make = Box<dyn Fn(u32) -> Vec<Value>>;
    let cases: [(&str, &str, u32, ResourceType, Make); 5] = [
        ("1000 VirtualServices on one Gateway", "router", 1_000, ResourceType::Cluster, Box::new(one_gateway)),
        ("1000 Gateways with 1000 VirtualServices", "router", 1_000, ResourceType::Cluster, Box::new(many_gateways)),
        ("100 HTTP services", "sidecar", 100, ResourceType::Endpoint, Box::new(services("http"))),
        ("100 services of sniffed protocol", "sidecar", 100, ResourceType::Endpoint, Box::new(services("any"))),
        ("100 TCP services", "sidecar", 100, ResourceType::Endpoint, Box::new(services("tcp"))),
    ];
    let mut group = c.benchmark_group("cold");
    group.sample_size(20);
    for (name, kind, size, counted, make) in cases {
        let (objects, proxy) = (make(size), Arc::new(offline::proxy(kind).expect("a proxy")));
        let resources = translated(&mut told(&objects), &proxy).views[counted].resources().len();
        assert!(resources >= size as usize, "{name}: {resources} resources");
        group.bench_function(name, |b| {
            b.iter_batched_ref(|| told(&objects), |engine| translated(engine, &proxy), BatchSize::PerIteration);
        });
    }
}

fn secrets(c: &mut Criterion) {
    // As long as a certificate of a usual size.
    let pair = KeyPair { chain: [b'c'; 2_000].into(), key: PrivateKey::new(&[b'k'; 1_700]), ocsp_staple: None };
    let names: Vec<String> = (0..1_000).map(|i| format!("kubernetes://credential-{i}")).collect();
    c.benchmark_group("cold").bench_function("1000 TLS secrets", |b| {
        b.iter(|| names.iter().for_each(|name| _ = black_box(canonical_bytes(&tls_certificate_secret(name, &pair)))));
    });
}

criterion_group!(benches, snapshots, secrets);
criterion_main!(benches);
