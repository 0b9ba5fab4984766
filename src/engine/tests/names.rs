//! Tables of names: for agents that ask, each made once for all who see the same.

use std::{collections::BTreeSet, sync::Arc};

use prost::Message;
use serde_json::json;

use super::{
    objects::{address, host, object, service, slice},
    world::{Effect, World, sidecar},
};
use crate::{
    model::{ObjectRef, Proxy},
    pb::nds::NameTable,
    snapshot::{Resource, ResourceType},
};

const ASKING: [&str; 3] = ["a", "b", "narrow"];

/// Sidecars of three namespaces whose agents ask, one of them with a Sidecar object that imports two namespaces, and one
/// whose agent does not.
fn world(services: usize) -> World {
    let mut world = World::of(services);
    let asking = |name, namespace| Proxy { dns_capture: true, ..sidecar(name, namespace) };
    world.attach("a", asking("a", "ns1"));
    world.attach("b", asking("b", "ns2"));
    world.attach("narrow", asking("narrow", "ns3"));
    world.attach("silent", sidecar("silent", "ns2"));
    world
}

fn resource(world: &World, proxy: &str) -> Option<Arc<Resource>> {
    world.snapshot(proxy).views[ResourceType::NameTable].resources().into_values().next()
}

fn table(world: &World, proxy: &str) -> NameTable {
    NameTable::decode(resource(world, proxy).expect("a table").body_bytes()).expect("it can be read")
}

/// Whose tables moved.
fn moved(effect: &Effect) -> BTreeSet<&'static str> {
    let has_names = |what: &BTreeSet<String>| what.iter().any(|name| name.starts_with("nds "));
    effect.moved.iter().filter(|(_, what)| has_names(what)).map(|(proxy, _)| *proxy).collect()
}

#[test]
fn who_sees_the_same_has_the_same_table() {
    let world = world(100);
    let [a, b, narrow] = ASKING.map(|proxy| resource(&world, proxy).expect("a table"));
    assert!(Arc::ptr_eq(&a, &b), "it is made once for the whole mesh");
    assert_ne!(a.version, narrow.version);
    assert_eq!((table(&world, "a").table.len(), table(&world, "narrow").table.len()), (100, 20));
    assert_eq!(resource(&world, "silent"), None);
    let one = table(&world, "a").table.remove(&host(73)).expect("a service");
    assert_eq!((one.ips, &*one.registry), (vec![address(10, 73)], "Kubernetes"));
    assert_eq!((&*one.shortname, &*one.namespace), ("s73", "ns3"));
}

#[test]
fn a_new_service_makes_each_table_anew_that_has_it_whatever_the_size_of_the_mesh() {
    let mut worlds = [100, 1_000].map(world);
    let [of_few, of_many] = worlds.each_mut().map(|world| world.apply_all(&[object(service(60_072))]));
    assert_eq!(moved(&of_few), BTreeSet::from(["a", "b"]));
    assert_eq!(of_few, of_many);
    let [imported, _] = worlds.each_mut().map(|world| world.apply_all(&[object(service(60_071))]));
    assert_eq!(moved(&imported), BTreeSet::from(ASKING));
    for world in &mut worlds {
        let gone = world.delete_all(&[ObjectRef::new("Service", "ns2", "s60072")]);
        assert_eq!(moved(&gone), BTreeSet::from(["a", "b"]));
        assert!(!table(world, "a").table.contains_key(&host(60_072)));
    }
}

#[test]
fn what_changes_no_address_moves_no_table() {
    let mut world = world(100);
    let effect = world.apply_all(&[object(slice(71, &[address(174, 71)]))]);
    assert_eq!((moved(&effect), effect.moved.len()), (BTreeSet::new(), 4), "an endpoint is EDS");
    let mut labelled = service(72);
    labelled["metadata"]["labels"] = json!({"example.com/team": "x"});
    assert_eq!(moved(&world.apply_all(&[object(labelled)])), BTreeSet::new());
}

#[test]
fn members_of_headless_services_have_names() {
    let mut world = world(10);
    let mut headless = service(81);
    headless["spec"]["clusterIP"] = "None".into();
    let mut members = slice(81, &[address(172, 1), address(172, 2), address(172, 3)]);
    members["endpoints"][0]["hostname"] = "db-0".into();
    members["endpoints"][1]["conditions"] = json!({"ready": false});
    let effect = world.apply_all(&[object(headless), object(members.clone())]);
    assert_eq!(moved(&effect), BTreeSet::from(ASKING));
    let ips = |world: &World, name: &str| table(world, "a").table.get(name).map(|info| info.ips.clone());
    let member = format!("db-0.{}", host(81));
    assert_eq!(ips(&world, &host(81)), Some(vec![address(172, 1), address(172, 3)]));
    assert_eq!(ips(&world, &member), Some(vec![address(172, 1)]));
    members["endpoints"][0]["conditions"] = json!({"ready": false});
    world.apply_all(&[object(members)]);
    assert_eq!((ips(&world, &host(81)), ips(&world, &member)), (Some(vec![address(172, 3)]), None));
}

#[test]
fn a_namespace_that_sees_another_service_has_a_table_of_its_own() {
    let mut world = world(10);
    let mut entry = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "out", "namespace": "ns1"},
        "spec": {"hosts": ["*.example.com"], "addresses": ["240.0.0.1"], "resolution": "STATIC", "exportTo": ["."],
            "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]},
    });
    let effect = world.apply_all(&[object(entry.clone())]);
    assert_eq!(moved(&effect), BTreeSet::from(["a"]));
    assert_eq!(table(&world, "a").table["*.example.com"].registry, "External");
    entry["spec"]["exportTo"] = json!(["*"]);
    let effect = world.apply_all(&[object(entry)]);
    assert_eq!(moved(&effect), BTreeSet::from(["b", "narrow"]), "what a has is what it had");
}
