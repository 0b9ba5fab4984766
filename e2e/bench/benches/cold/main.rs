//! Cold translation, on one thread: everything that one proxy is sent, encoded.
//!
//! - Group `cold` is pure, like the reference's generators that its goals are about: from a model that is converted
//!   and indexed already to clusters, listeners and route configurations. Assignments are no part of it.
//! - Group `cold graph` is what the engine does for the same: it builds its indexes, records what was read for what,
//!   makes what other proxies share, and assignments. Reading and converting objects is in neither.
//!
//! Both make the same resources, byte for byte, or nothing is measured.
//!
//! `cargo bench -p mizzen-bench --bench cold`; the goals are in `load --table`, which reads what this leaves.

mod gateway;
mod model;
mod objects;
mod sidecar;

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use envoy_types::pb::envoy::config::{listener::v3::Listener, route::v3::RouteConfiguration};
use mizzen::{
    cli::offline,
    engine::Offline,
    model::{
        MeshConfig, Proxy,
        secret::{KeyPair, PrivateKey},
    },
    reconcilers::intake::{MeshSource, Reconcilers},
    snapshot::{Resource, ResourceType, Snapshot, canonical_bytes},
    translate::secrets::tls_certificate_secret,
};
use prost::Message;
use serde_json::Value;

use self::model::{Made, Model};

/// Objects, and a proxy that they are translated for.
struct Case {
    name: &'static str,
    proxy: Proxy,
    objects: Vec<Value>,
    /// The translation, without the graph.
    pure: fn(&Model) -> Made,
    expected: Counts,
}

/// How many of each are made.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    clusters: usize,
    listeners: usize,
    /// Filter chains of all listeners, default ones included.
    chains: usize,
    configurations: usize,
    /// Virtual hosts of all route configurations.
    hosts: usize,
}

impl Counts {
    const fn new([clusters, listeners, chains, configurations, hosts]: [usize; 5]) -> Self {
        Self { clusters, listeners, chains, configurations, hosts }
    }

    fn of(made: &Made) -> Self {
        let chains = |r: &Resource| {
            let listener = Listener::decode(r.body_bytes()).expect("a listener");
            listener.filter_chains.len() + usize::from(listener.default_filter_chain.is_some())
        };
        let hosts = |r: &Resource| {
            RouteConfiguration::decode(r.body_bytes()).expect("a route configuration").virtual_hosts.len()
        };
        let (listeners, routes) = (&made[ResourceType::Listener], &made[ResourceType::Route]);
        Self {
            clusters: made[ResourceType::Cluster].len(),
            listeners: listeners.len(),
            chains: listeners.iter().map(chains).sum(),
            configurations: routes.len(),
            hosts: routes.iter().map(hosts).sum(),
        }
    }
}

fn cases() -> [Case; 5] {
    let router = |name, objects, expected| {
        let proxy = offline::proxy("router").expect("a proxy");
        Case { name, proxy, objects, pure: gateway::everything, expected: Counts::new(expected) }
    };
    let sidecar = |name, port, expected| {
        let (proxy, objects) = (offline::proxy("sidecar").expect("a proxy"), objects::services(100, port));
        Case { name, proxy, objects, pure: sidecar::everything, expected: Counts::new(expected) }
    };
    // Besides what services and rules have, a gateway has one cluster; a sidecar has three, the virtual listeners with
    // eight chains, and in the routes of a port a virtual host for all other hosts. Listeners of HTTP and of sniffed
    // ports have a second chain, for other bytes.
    [
        router("1000 VirtualServices on one Gateway", objects::one_gateway(1_000), [1_001, 1, 1, 1, 1_000]),
        router(
            "1000 Gateways with 1000 VirtualServices",
            objects::many_gateways(1_000),
            [1_001, 1, 1_000, 1_000, 1_000],
        ),
        sidecar("100 HTTP services", "http", [103, 3, 10, 1, 101]),
        sidecar("100 services of sniffed protocol", "any", [103, 102, 208, 100, 100]),
        sidecar("100 TCP services", "tcp", [103, 102, 108, 0, 0]),
    ]
}

/// An engine that has been told of objects and has not done anything about them.
fn told(objects: &[Value]) -> Offline {
    let source = MeshSource { namespace: "istio-system".into(), name: "istio".into() };
    let reconcilers = Reconcilers::new(MeshConfig::default(), source);
    let mut offline = Offline::default();
    reconcilers.initial().apply(offline.db());
    for object in objects {
        reconcilers.apply(&objects::decoded(object)).apply(offline.db());
    }
    offline
}

fn translated(offline: &mut Offline, proxy: &Arc<Proxy>) -> Snapshot {
    let (snapshot, problems) = offline.snapshot(proxy.clone());
    assert!(problems.is_empty(), "{problems:?}");
    snapshot
}

/// Stops unless a translation made what it should: all that the engine makes, and nothing else.
fn check(case: &Case, made: &Made) {
    assert_eq!(Counts::of(made), case.expected, "{}", case.name);
    let snapshot = translated(&mut told(&case.objects), &Arc::new(case.proxy.clone()));
    for t in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route] {
        let ours: BTreeMap<_, _> = made[t].iter().map(|r| (r.name.clone(), r)).collect();
        let theirs = snapshot.views[t].resources();
        assert!(ours.keys().eq(theirs.keys()), "{}: other {t:?}s than the engine's", case.name);
        for (name, resource) in &theirs {
            assert_eq!(*ours[name], **resource, "{}: {t:?} {name} is not the engine's", case.name);
        }
    }
}

fn pure(c: &mut Criterion) {
    let mut group = c.benchmark_group("cold");
    group.sample_size(20);
    for case in cases() {
        let model = Model::of(&case.objects, case.proxy.clone());
        check(&case, &(case.pure)(&model));
        group.bench_function(case.name, |b| {
            b.iter_batched(|| (), |()| (case.pure)(&model), BatchSize::PerIteration);
        });
    }
}

fn graph(c: &mut Criterion) {
    let mut group = c.benchmark_group("cold graph");
    group.sample_size(20);
    for Case { name, proxy, objects, .. } in cases() {
        let proxy = Arc::new(proxy);
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

criterion_group!(benches, pure, graph, secrets);
criterion_main!(benches);
