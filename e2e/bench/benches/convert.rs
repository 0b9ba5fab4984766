//! From objects as they are written to the model, and all the way to what a gateway is sent.
//!
//! `cargo bench -p mizzen-bench --bench convert`

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mizzen::{
    api::{self, Object},
    cli::offline,
    reconcilers::{ConvertContext, endpoint_slice, service, virtual_service},
    sources::files,
};
use serde_json::{Value, json};

const SIZES: [u32; 3] = [100, 1_000, 10_000];

/// Members of each service.
const ENDPOINTS: u32 = 5;

/// A Service, its EndpointSlice, and a VirtualService that leads to it.
fn objects(index: u32) -> [Value; 3] {
    let [_, a, b, c] = (index + 1).to_be_bytes();
    let name = format!("svc-{index}");
    let metadata = json!({"name": name, "namespace": "ns"});
    let endpoint =
        |n: u32| json!({"addresses": [format!("10.{}.{b}.{c}", u32::from(a) + n)], "conditions": {"ready": true}});
    let host = format!("{name}.ns.svc.cluster.local");
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "clusterIP": format!("172.16.{b}.{c}"), "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        }}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {
            "name": name, "namespace": "ns", "labels": {"kubernetes.io/service-name": name},
        }, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
        }),
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": {
            "hosts": [format!("{name}.example.com")], "gateways": ["gateway"], "http": [
                {"match": [{"uri": {"prefix": "/v2/"}}], "rewrite": {"uri": "/"}, "route": [{"destination": {"host": host}}]},
                {"route": [{"destination": {"host": host}}], "timeout": "5s", "retries": {"attempts": 3}},
            ],
        }}),
    ]
}

fn decode(value: Value) -> Object {
    api::decode(value).expect("a good object").0
}

fn conversion(c: &mut Criterion) {
    let context = ConvertContext { domain_suffix: "cluster.local" };
    let convert = |object: &Object| match object {
        Object::Service(object) => drop(black_box(service::convert(object, &context))),
        Object::EndpointSlice(object) => drop(black_box(endpoint_slice::convert(object))),
        Object::VirtualService(object) => drop(black_box(virtual_service::convert(object, &context))),
        other => drop(black_box(other.kind())),
    };
    for (nth, kind) in ["Service", "EndpointSlice", "VirtualService"].into_iter().enumerate() {
        let mut group = c.benchmark_group(format!("decode and convert, {kind}"));
        group.sample_size(20);
        for size in SIZES {
            let values: Vec<Value> = (0..size).map(|index| objects(index)[nth].clone()).collect();
            group.throughput(Throughput::Elements(size.into()));
            group.bench_with_input(BenchmarkId::from_parameter(size), &values, |b, values| {
                let all = |values: Vec<Value>| values.into_iter().map(decode).for_each(|object| convert(&object));
                b.iter_batched(|| values.clone(), all, BatchSize::PerIteration);
            });
        }
    }
}

fn whole(c: &mut Criterion) {
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gateway, namespace: ns}\n\
                   spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}\n";
    let mut group = c.benchmark_group("objects to all that a gateway is sent");
    group.sample_size(10);
    for size in SIZES {
        let mut files: Vec<(Arc<str>, Vec<u8>)> = vec![("gateway.yaml".into(), gateway.into())];
        for index in 0..size {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects(index)});
            files.push((format!("{index}.json").into(), list.to_string().into_bytes()));
        }
        let proxy = offline::proxy("router").expect("a proxy");
        group.throughput(Throughput::Elements(size.into()));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let translate = |files| black_box(offline::translate(files::read_once(files), proxy.clone()));
            b.iter_batched(|| files.clone(), translate, BatchSize::PerIteration);
        });
    }
}

criterion_group!(benches, conversion, whole);
criterion_main!(benches);
