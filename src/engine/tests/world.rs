//! An engine with proxies, and what a change does to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    time::Duration,
};

use envoy_types::pb::envoy::config::core::v3::Node;
use futures::executor::block_on;
use tokio::sync::watch;

use super::objects::mesh;
use crate::{
    api::{Kind, Object},
    engine::{self, Engine, Lease, Observer, Reach, Report, graph::Stats},
    model::{MeshConfig, ObjectRef, Proxy},
    reconcilers::intake::{Changes, MeshSource, Reconcilers},
    snapshot::{ResourceType, Snapshot},
    xds::node,
};

/// For a mesh of 10,000 services on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The names of all proxies of [`World::with_proxies`].
pub(super) const ALL: [&str; 6] = ["a", "a too", "b", "narrow", "whole", "gateway"];

/// A proxy that is attached.
struct Attached {
    lease: Lease,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    seen: Arc<Snapshot>,
}

/// What the engine told of a round.
struct Told {
    stats: Stats,
    concerned: usize,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    /// The proxies that were woken, with the resources that differ for them: `<type> <name>`.
    pub(super) moved: BTreeMap<&'static str, BTreeSet<String>>,
    /// What it cost; `nodes` is how many there are.
    pub(super) cost: Stats,
    /// How many more nodes there are.
    pub(super) grown: i64,
}

/// An engine with its thread, and what feeds it.
pub(super) struct World {
    engine: Engine,
    reconcilers: Reconcilers,
    told: mpsc::Receiver<Told>,
    last: Stats,
    attached: BTreeMap<&'static str, Attached>,
}

/// A sidecar of a namespace that takes virtual hosts one by one.
pub(super) fn sidecar(name: &str, namespace: &str) -> Proxy {
    let id = format!("sidecar~10.9.0.1~{name}.{namespace}~{namespace}.svc.cluster.local");
    let node = Node { id, ..Node::default() };
    Proxy { discovers_hosts: true, ..node::parse(Some(&node)).expect("a node id") }
}

fn router() -> Proxy {
    let id = "router~10.9.0.2~gateway.istio-system~istio-system.svc.cluster.local".to_owned();
    let node = Node { id, ..Node::default() };
    let mut proxy = node::parse(Some(&node)).expect("a node id");
    proxy.labels.insert("istio".to_owned(), "ingressgateway".to_owned());
    proxy
}

/// An engine on its thread, and what feeds it.
pub(super) fn start(observer: Observer) -> (Engine, Reconcilers) {
    let (engine, _) = Engine::start(observer).expect("a thread");
    let source = MeshSource { namespace: "istio-system".into(), name: "istio".into() };
    (engine, Reconcilers::new(MeshConfig::default(), source))
}

impl World {
    /// An engine with a mesh of some services and nobody to serve.
    pub(super) fn of(services: usize) -> Self {
        let (tell, told) = mpsc::channel();
        let observer = Box::new(move |report: &Report<'_>| {
            // The test may have ended.
            let _ = tell.send(Told { stats: report.stats, concerned: report.concerned });
        });
        let (engine, reconcilers) = start(observer);
        let mut world = Self { engine, reconcilers, told, last: Stats::default(), attached: BTreeMap::new() };
        world.change(|reconcilers| vec![reconcilers.initial()]);
        world.apply_all(&mesh(services));
        world
    }

    /// The same with a proxy of each of these classes: two sidecars that are alike, one of another namespace, one with a
    /// Sidecar object that imports two namespaces, one that takes whole route configurations, and a gateway.
    pub(super) fn with_proxies(services: usize) -> Self {
        let mut world = Self::of(services);
        world.attach("a", sidecar("a", "ns1"));
        world.attach("a too", sidecar("a-too", "ns1"));
        world.attach("b", sidecar("b", "ns2"));
        world.attach("narrow", sidecar("narrow", "ns3"));
        world.attach("whole", Proxy { discovers_hosts: false, ..sidecar("whole", "ns2") });
        world.attach("gateway", router());
        world
    }

    pub(super) fn attach(&mut self, name: &'static str, proxy: Proxy) {
        let engine::Attached { snapshots, lease } =
            block_on(self.engine.attach(Arc::new(proxy))).expect("the engine runs");
        let seen = Arc::clone(&snapshots.borrow());
        self.attached.insert(name, Attached { lease, snapshots, seen });
        self.round();
    }

    pub(super) fn detach(&mut self, name: &'static str) {
        let gone = self.attached.remove(name).expect("it is attached");
        drop(gone.lease);
        self.round();
    }

    /// What a proxy has.
    pub(super) fn snapshot(&self, name: &str) -> Arc<Snapshot> {
        Arc::clone(&self.attached[name].snapshots.borrow())
    }

    /// Waits for the end of a round. Each call of the engine makes one, as the next call waits for it.
    fn round(&mut self) -> Told {
        let told = self.told.recv_timeout(PATIENCE).expect("the engine tells of a round");
        self.last = told.stats;
        told
    }

    /// Applies changes in one round.
    pub(super) fn change(&mut self, make: impl FnOnce(&Reconcilers) -> Vec<Changes>) -> Effect {
        let before = self.last;
        let changes = make(&self.reconcilers);
        self.engine.change(move |db| changes.into_iter().for_each(|c| c.apply(db)));
        let told = self.round();
        let moved: BTreeMap<_, _> = self.attached.iter_mut().filter_map(|(name, a)| Some((*name, a.news()?))).collect();
        assert_eq!(told.concerned, moved.len(), "the engine tells how many proxies are concerned");
        let grown = told.stats.nodes as i64 - before.nodes as i64;
        Effect { moved, cost: difference(before, told.stats), grown }
    }

    /// Objects are new or changed.
    pub(super) fn apply_all(&mut self, objects: &[Object]) -> Effect {
        self.change(|reconcilers| objects.iter().map(|object| reconcilers.apply(object)).collect())
    }

    /// Objects are gone.
    pub(super) fn delete_all(&mut self, gone: &[ObjectRef]) -> Effect {
        self.change(|reconcilers| gone.iter().map(|object| reconcilers.delete(object)).collect())
    }

    /// The full list of each kind comes again.
    pub(super) fn relist(&mut self, objects: &[Object]) -> Effect {
        let live = |kind| objects.iter().filter(|o| o.kind() == kind).cloned().collect::<Vec<_>>();
        self.change(|reconcilers| Kind::ALL.iter().map(|kind| reconcilers.reset(*kind, &live(*kind), &[])).collect())
    }

    /// What is known of an object, and the proxies that have something made of it. Costs no query.
    pub(super) fn reach(&mut self, object: &ObjectRef) -> (Reach, BTreeSet<&'static str>) {
        let before = self.last;
        let found = block_on(self.engine.reach(vec![object.clone()])).expect("the engine runs");
        self.round();
        assert_eq!(self.last.queries_run, before.queries_run, "nothing is made anew for a question");
        let reach = found.into_iter().next().expect("an answer for each object");
        let has = |a: &&Attached| reach.classes.iter().any(|(class, _)| *class == a.class());
        let names = self.attached.iter().filter(|(_, a)| has(a)).map(|(name, _)| *name).collect();
        (reach, names)
    }

    /// How many nodes of each kind there are.
    pub(super) fn census(&mut self) -> BTreeMap<&'static str, usize> {
        let counts = block_on(self.engine.ask(|db| db.census())).expect("the engine runs");
        self.round();
        counts
    }
}

impl Attached {
    fn class(&self) -> u64 {
        self.snapshots.borrow().class
    }

    /// What moved, if it was woken.
    fn news(&mut self) -> Option<BTreeSet<String>> {
        if !self.snapshots.has_changed().expect("the engine runs") {
            return None;
        }
        let now = Arc::clone(&self.snapshots.borrow_and_update());
        let of_type = |t: ResourceType| {
            let names = now.views[t].changed_since(&self.seen.views[t]);
            names.into_iter().map(move |n| format!("{} {n}", t.short_name())).collect::<Vec<_>>()
        };
        let moved = ResourceType::ALL.into_iter().flat_map(of_type).collect();
        self.seen = now;
        Some(moved)
    }
}

/// The work between two readings; how many nodes there are is none.
fn difference(before: Stats, after: Stats) -> Stats {
    Stats {
        queries_run: after.queries_run - before.queries_run,
        cut_off: after.cut_off - before.cut_off,
        values_read: after.values_read - before.values_read,
        nodes_marked: after.nodes_marked - before.nodes_marked,
        elements_moved: after.elements_moved - before.elements_moved,
        edges_moved: after.edges_moved - before.edges_moved,
        parts_patched: after.parts_patched - before.parts_patched,
        nodes: 0,
    }
}
