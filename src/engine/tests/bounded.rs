//! What there is takes few nodes, and what is gone is freed.

use serde_json::json;

use super::{
    objects::{Traits, address, all_of, mesh, object, service, slice, traits},
    world::{World, sidecar},
};
use crate::reconcilers::intake::object_ref;

#[test]
fn namespaces_services_and_proxies_leave_nothing_behind() {
    let mut world = World::with_proxies(100);
    let before = world.census();
    for storm in 0..3 {
        // Services of new namespaces, with all that may be about them, and proxies of these namespaces.
        let numbers = (0..100).map(|n| 60_000 + storm * 1_000 + n);
        let objects: Vec<_> = numbers
            .flat_map(all_of)
            .map(|mut value| {
                value["metadata"]["namespace"] = format!("storm{storm}").into();
                object(value)
            })
            .collect();
        world.apply_all(&objects);
        world.attach("storm", sidecar("storm", &format!("storm{storm}")));
        world.attach("storm too", sidecar("storm-too", "elsewhere"));
        assert_ne!(world.census(), before);
        objects.iter().for_each(|gone| drop(world.delete_all(&[object_ref(gone)])));
        world.detach("storm");
        world.detach("storm too");
        assert_eq!(world.census(), before, "storm {storm}");
    }
}

#[test]
fn an_empty_mesh_is_as_it_was() {
    let mut world = World::of(0);
    let before = world.census();
    let mut full = mesh(100);
    world.apply_all(&full);
    world.attach("a", sidecar("a", "ns1"));
    world.attach("b", sidecar("b", "ns3"));
    world.detach("a");
    world.detach("b");
    // In another order than they came.
    full.reverse();
    full.iter().for_each(|gone| drop(world.delete_all(&[object_ref(gone)])));
    // `World::of(0)` has the two objects of every mesh, which are among those.
    let mut after = world.census();
    for (kind, count) in before {
        let now = after.remove(kind).unwrap_or_default();
        assert!(now <= count, "{kind}: {now} of {count}");
    }
    assert!(after.is_empty(), "{after:?}");
}

/// Nodes are what the engine's memory is made of, 350 bytes each or so.
#[test]
fn a_service_takes_few_nodes() {
    const EACH: i64 = 42;
    const IMPORTED: i64 = 9;
    let plain = (0..).filter(|n| traits(*n) == Traits::Plain);
    let services: Vec<_> =
        plain.take(200).flat_map(|n| [service(n), slice(n, &[address(20, n)])]).map(object).collect();
    let mut world = World::of(0);
    world.apply_all(&services[..200]);
    let grown = world.apply_all(&services[200..]).grown;
    assert!(grown <= 100 * EACH, "{grown} for 100 services");
    let imports = object(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "all", "namespace": "ns1"},
        "spec": {"egress": [{"hosts": ["*/*"]}]},
    }));
    let grown = world.apply_all(&[imports]).grown;
    assert!(grown <= 200 * IMPORTED, "{grown} for 200 imported services");
}
