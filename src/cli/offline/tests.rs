//! What a change costs the engine and moves on the wire: the same in a mesh of any size.

use std::{collections::BTreeSet, sync::Arc};

use super::{Offline, proxy};
use crate::{
    engine::graph::Stats,
    model::{MeshConfig, ObjectRef, Proxy},
    reconcilers::intake::{MeshSource, Reconcilers},
    snapshot::{ResourceType, Snapshot},
    sources::{Delivery, files},
};

/// Sidecars of two namespaces in a mesh of some services.
struct World {
    reconcilers: Reconcilers,
    offline: Offline,
    proxies: Vec<Arc<Proxy>>,
}

fn service(n: usize) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}, namespace: ns{}}}\nspec:\n  clusterIP: 10.{}.{}.1\n  \
         ports: [{{name: http, port: 80}}, {{name: http-more, port: 8080}}]\n",
        n % 10,
        n / 250,
        n % 250,
    )
}

fn rule(n: usize, timeout: usize) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{n}, namespace: ns{}}}\n\
         spec: {{hosts: [s{n}], http: [{{timeout: {timeout}s, match: [{{port: 80}}], \
         route: [{{destination: {{host: s{n}}}}}]}}, {{match: [{{port: 8080}}], route: [{{destination: {{host: s{n}}}}}]}}]}}\n",
        n % 10,
    )
}

impl World {
    fn of(services: usize, discovers_hosts: bool) -> Self {
        let source = MeshSource { namespace: "istio-system".into(), name: "istio".into() };
        let reconcilers = Reconcilers::new(MeshConfig::default(), source);
        let mut offline = Offline::default();
        reconcilers.initial().apply(offline.db());
        let sidecar = |n: usize| {
            let made = proxy(&format!("sidecar~10.9.0.{n}~app-{n}.ns{n}~ns{n}.svc.cluster.local"));
            Arc::new(Proxy { discovers_hosts, ..made.expect("a node id") })
        };
        let mut world = Self { reconcilers, offline, proxies: (1..3).map(sidecar).collect() };
        world.deliver((0..services).map(|n| service(n) + &rule(n, 1)).collect());
        for proxy in world.proxies.clone() {
            world.offline.follow(proxy);
        }
        world
    }

    fn deliver(&mut self, text: String) {
        for delivery in files::read_once(vec![("in.yaml".into(), text.into_bytes())]) {
            match delivery {
                Delivery::Reset { live, .. } => {
                    live.iter().for_each(|object| self.reconcilers.apply(object).apply(self.offline.db()));
                }
                other => panic!("{other:?}"),
            }
        }
        self.offline.db().settle();
    }

    fn snapshots(&mut self) -> Vec<Snapshot> {
        self.proxies.iter().map(|proxy| self.offline.snapshot(proxy.clone()).0).collect()
    }

    /// What a change moves for each proxy, as `<type> <name>`, and what it costs.
    fn change(&mut self, text: String) -> (Vec<BTreeSet<String>>, Stats) {
        let before = self.snapshots();
        let stats = self.offline.db().stats();
        self.deliver(text);
        let cost = difference(stats, self.offline.db().stats());
        let after = self.snapshots();
        let moved = before.iter().zip(&after).map(|(before, after)| {
            let of_type = |t: ResourceType| {
                let names = after.views[t].changed_since(&before.views[t]);
                names.into_iter().map(move |n| format!("{} {n}", t.short_name())).collect::<Vec<_>>()
            };
            ResourceType::ALL.into_iter().flat_map(of_type).collect()
        });
        (moved.collect(), cost)
    }
}

/// The work between two readings; how many nodes there are is none.
fn difference(before: Stats, after: Stats) -> Stats {
    Stats {
        queries_run: after.queries_run - before.queries_run,
        cut_off: after.cut_off - before.cut_off,
        nodes_marked: after.nodes_marked - before.nodes_marked,
        elements_moved: after.elements_moved - before.elements_moved,
        parts_patched: after.parts_patched - before.parts_patched,
        nodes: 0,
    }
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn an_edited_rule_moves_its_virtual_host_at_the_same_cost_in_any_mesh() {
    let costs = [100, 1000].map(|services| {
        let (moved, cost) = World::of(services, true).change(rule(7, 2));
        assert_eq!(moved, vec![names(&["vhds 80/s7.ns7.svc.cluster.local:80"]); 2]);
        cost
    });
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn a_new_service_adds_a_virtual_host_to_each_configuration_at_the_same_cost_in_any_mesh() {
    let costs = [100, 1000].map(|services| {
        let (moved, cost) = World::of(services, true).change(service(5005));
        let host = "s5005.ns5.svc.cluster.local";
        let expected = [
            format!("cds outbound|80||{host}"),
            format!("cds outbound|8080||{host}"),
            format!("eds outbound|80||{host}"),
            format!("eds outbound|8080||{host}"),
            format!("vhds 80/{host}:80"),
            format!("vhds 8080/{host}:8080"),
        ];
        assert_eq!(moved, vec![BTreeSet::from(expected); 2]);
        cost
    });
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn whole_route_configurations_move_when_that_is_what_a_proxy_takes() {
    let (moved, _) = World::of(20, false).change(rule(7, 2));
    assert_eq!(moved, vec![names(&["rds 80"]); 2]);
}

#[test]
fn what_is_gone_is_freed() {
    let mut world = World::of(50, true);
    let before = world.offline.db().census();
    world.deliver(service(5005) + &rule(5005, 1));
    assert_ne!(world.offline.db().census(), before);
    let gone = ["Service", "VirtualService"].into_iter().zip(["s5005", "v5005"]);
    for (kind, name) in gone {
        let gone = world.reconcilers.delete(&ObjectRef::new(kind, "ns5", name));
        gone.apply(world.offline.db());
    }
    world.offline.db().settle();
    assert_eq!(world.offline.db().census(), before);
}
