//! Entry points for bytes that anybody may have written: objects of users, requests of proxies. None may panic,
//! whatever the bytes are. cargo-fuzz runs them (`just fuzz`), and `tests/fuzz_replay.rs` replays their corpora.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use envoy_types::pb::envoy::config::{core::v3::Node, route::v3::RouteConfiguration};
use mizzen::{
    api::Kind,
    engine::Offline,
    model::{MeshConfig, Proxy},
    reconcilers::intake::{MeshSource, Reconcilers},
    snapshot::{Encoder, PartMap, PartState, Refs, ResourceType, Snapshot, TypeMap, View},
    sources::{Delivery, files::read_once},
    validate,
    xds::{Machine, Permission, Protocol, Request, Settings, node},
};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;

/// More answers than this to one request are an endless talk.
const MAX_ANSWERS: usize = 200;

/// A judgement of what a fuzzer writes takes microseconds; a machine that is busy may add to them.
const LONGEST_JUDGEMENT: Duration = Duration::from_secs(5);

/// A file of objects, all the way to what a gateway and a sidecar would be sent; then the objects go away again.
///
/// # Panics
/// When the code under test has a bug: it panics, or makes a route configuration that Envoy must refuse.
pub fn crd_yaml(bytes: &[u8]) {
    let source = MeshSource { namespace: "istio-system".into(), name: "istio".into() };
    let reconcilers = Reconcilers::new(MeshConfig::default(), source);
    let mut offline = Offline::default();
    reconcilers.initial().apply(offline.db());
    let mut kinds = Vec::new();
    for delivery in read_once(vec![("fuzz.yaml".into(), bytes.to_vec())]) {
        match delivery {
            Delivery::Apply(object) => reconcilers.apply(&object).apply(offline.db()),
            Delivery::Delete(object) => reconcilers.delete(&object).apply(offline.db()),
            Delivery::Reset { kind, live, kept } => {
                reconcilers.reset(kind, &live, &kept).apply(offline.db());
                kinds.push(kind);
            }
            Delivery::Problem(problem) => assert!(!problem.to_string().is_empty(), "a problem says nothing"),
            Delivery::Unreadable { .. } | Delivery::ProblemGone(_) => {}
        }
    }
    look(&mut offline);
    for kind in kinds {
        reconcilers.reset(kind, &[], &[]).apply(offline.db());
    }
    look(&mut offline);
}

/// Documents of YAML, each judged by itself.
///
/// # Panics
/// When the code under test has a bug: it panics, says nothing of what is wrong, or takes too long.
pub fn validate(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let Ok(object) = Value::deserialize(document) else { return };
        let start = Instant::now();
        let findings = validate::validate(&object, &validate::Context::default());
        assert!(start.elapsed() < LONGEST_JUDGEMENT, "it takes {:?}", start.elapsed());
        for finding in findings {
            assert!(!finding.message.is_empty(), "{} says nothing", finding.code);
            assert!(finding.to_string().ends_with(&format!("[{}]", finding.code)));
        }
    }
}

/// The kinds of the objects of a file that can be read.
#[must_use]
pub fn kinds(bytes: &[u8]) -> BTreeSet<Kind> {
    let deliveries = read_once(vec![("fuzz.yaml".into(), bytes.to_vec())]);
    let kind = |delivery| match delivery {
        Delivery::Reset { kind, live, .. } if !live.is_empty() => Some(kind),
        _ => None,
    };
    deliveries.into_iter().filter_map(kind).collect()
}

/// What proxies would be sent.
fn look(offline: &mut Offline) {
    let ids = [
        "router~10.0.0.1~gateway.istio-system~istio-system.svc.cluster.local",
        "router~10.0.0.2~gateway.default~default.svc.cluster.local",
        "sidecar~10.0.0.3~workload.default~default.svc.cluster.local",
    ];
    for id in ids {
        let (snapshot, problems) = offline.snapshot(Arc::new(proxy(id)));
        problems.iter().for_each(|p| assert!(!p.to_string().is_empty(), "a problem says nothing"));
        for resource in snapshot.views[ResourceType::Route].resources().into_values() {
            let made = RouteConfiguration::decode(resource.body_bytes()).expect("routes can be read back");
            let mut seen = BTreeSet::new();
            for domain in made.virtual_hosts.iter().flat_map(|host| &host.domains) {
                assert!(seen.insert(domain.to_ascii_lowercase()), "{}: {domain:?} stands twice", made.name);
            }
        }
    }
}

fn proxy(id: &str) -> Proxy {
    let node = Node { id: id.to_owned(), ..Node::default() };
    let mut proxy = node::parse(Some(&node)).expect("a node id");
    proxy.labels.insert("istio".to_owned(), "ingressgateway".to_owned());
    proxy.labels.insert("app".to_owned(), "workload".to_owned());
    proxy
}

/// A stream of incremental ADS: steps of a byte that says what happens, a byte for the length, and that many bytes
/// of a `DeltaDiscoveryRequest`.
///
/// # Panics
/// When the code under test has a bug: it panics, or talks without end.
pub fn delta_request(bytes: &[u8]) {
    let gate = Box::new(|name: &str| if name.starts_with("b") { Permission::Denied } else { Permission::Granted });
    let mut machine = Machine::new(Protocol::Delta, snapshot(0), gate, Settings::default(), "n".to_owned());
    let mut now = Instant::now();
    let mut last: TypeMap<String> = TypeMap::default();
    let mut rest = bytes;
    while let [event, len, after @ ..] = rest {
        let (body, next) = after.split_at(usize::from(*len).min(after.len()));
        rest = next;
        if let Ok(mut request) = Request::decode(Protocol::Delta, body) {
            // Whatever it says of itself must be readable or refused.
            drop(node::parse(request.node.as_ref()));
            let t = ResourceType::from_type_url(request.type_url);
            let t = t.unwrap_or(ResourceType::ALL[usize::from(*event & 7) % ResourceType::ALL.len()]);
            if event & step::ANSWERS != 0 {
                request.nonce = &last[t];
            }
            machine.request(t, &request, now);
        }
        if event & step::CHANGES != 0 {
            machine.set_snapshot(&snapshot(event >> 3 & 7));
        }
        if event & step::WAITS != 0 {
            now += Duration::from_secs(4);
        }
        let mut answers = 0;
        while let Some(response) = machine.next_response(now) {
            last[response.resource_type] = response.nonce;
            answers += 1;
            assert!(answers < MAX_ANSWERS, "the machine talks without end");
        }
        drop(machine.take_judgements());
    }
    machine.end();
}

/// What else happens at a step. The lowest three bits are the type of a request that names none.
mod step {
    /// The snapshot becomes the one of bits 3 to 5.
    pub(super) const CHANGES: u8 = 1 << 5;
    /// The request answers the last response of its type.
    pub(super) const ANSWERS: u8 = 1 << 6;
    /// Four seconds pass.
    pub(super) const WAITS: u8 = 1 << 7;
}

/// One of eight snapshots, whose resources refer to each other.
fn snapshot(number: u8) -> Arc<Snapshot> {
    let mut maps: TypeMap<PartMap> = TypeMap::default();
    for t in ResourceType::ALL {
        for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
            if (number >> place) & 1 == 1 && t != ResourceType::Listener {
                continue;
            }
            let mut refs = Refs::default();
            match t {
                ResourceType::Cluster => refs.endpoints = Some(name.into()),
                ResourceType::Listener => refs.routes = [name.into()].into(),
                ResourceType::Route => refs.clusters = ["a".into(), name.into()].into(),
                _ => {}
            }
            let body = Bytes::from(format!("{name}{}", number & 3));
            maps[t].insert(name.into(), Some(Arc::new(Encoder::bytes(t, name.into(), body, refs))));
        }
    }
    let views = TypeMap::from_fn(|t| View::new(vec![PartState { id: t as u64, map: maps[t].clone() }]));
    Arc::new(Snapshot::new(u64::from(number), views))
}
