//! ServiceEntries of many hosts: what the hosts have in common is there once.

use std::{ops::Range, sync::Arc};

use serde_json::json;

use super::{objects::object, world::World};
use crate::{
    api::Object,
    engine::{Offline, inputs::ServiceKey, members::Members},
    model::{Endpoint, MeshConfig, ObjectRef, Service},
    reconcilers::intake::{MeshSource, Reconcilers},
    snapshot::ResourceType,
};

const HOSTS: usize = 20;

/// With as many addresses and endpoints as hosts.
fn entry(hosts: Range<usize>, note: &str) -> Object {
    let each = |text: fn(usize) -> String| (0..HOSTS).map(text).collect::<Vec<_>>();
    let endpoints: Vec<_> = (0..HOSTS).map(|n| json!({"address": format!("10.2.0.{n}")})).collect();
    object(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "e", "namespace": "ns", "labels": {"a": "b"}, "annotations": {"note": note}},
        "spec": {
            "hosts": hosts.map(|n| format!("h{n}.example")).collect::<Vec<_>>(),
            "addresses": each(|n| format!("10.1.0.{n}")),
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": endpoints,
            "subjectAltNames": each(|n| format!("san{n}")),
            "exportTo": each(|n| format!("ns{n}")),
        },
    }))
}

fn key(host: usize) -> ServiceKey {
    ServiceKey::new(format!("h{host}.example").into(), ObjectRef::new("ServiceEntry", "ns", "e"))
}

fn service(engine: &mut Offline, host: usize) -> Arc<Service> {
    engine.db().input_value(&key(host)).expect("a service")
}

fn members(engine: &mut Offline, host: usize) -> Arc<[Arc<Endpoint>]> {
    engine.db().watch(&Members(key(host))).1
}

/// Where the lists of a service are.
fn lists(service: &Service) -> [*const u8; 5] {
    [
        service.ports.as_ptr().cast(),
        service.vips.as_ptr().cast(),
        service.subject_alt_names.as_ptr().cast(),
        Arc::as_ptr(&service.labels).cast(),
        service.visibility.as_ref().map_or(std::ptr::null(), |visibility| Arc::as_ptr(visibility).cast()),
    ]
}

#[test]
fn the_hosts_of_an_entry_share_all_that_they_have_in_common() {
    let source = MeshSource { namespace: "istio-system".into(), name: "istio".into() };
    let (reconcilers, mut engine) = (Reconcilers::new(MeshConfig::default(), source), Offline::default());
    assert!(reconcilers.apply(&entry(0..HOSTS, "first")).take_effect(engine.db()));
    engine.db().settle();
    let first = service(&mut engine, 0);
    assert_eq!((first.vips.len(), first.subject_alt_names.len()), (HOSTS, HOSTS));
    let endpoints = members(&mut engine, 0);
    assert_eq!(endpoints.len(), HOSTS);
    for host in 1..HOSTS {
        assert_eq!(lists(&service(&mut engine, host)), lists(&first), "host {host}");
        assert!(Arc::ptr_eq(&members(&mut engine, host), &endpoints), "host {host}");
    }

    // Nothing differs when it is applied again; with one host less and one more, the others stay as they are.
    assert!(!reconcilers.apply(&entry(0..HOSTS, "second")).take_effect(engine.db()));
    assert!(reconcilers.apply(&entry(1..HOSTS + 1, "third")).take_effect(engine.db()));
    engine.db().settle();
    assert!(engine.db().input_value(&key(0)).is_none());
    for host in 1..=HOSTS {
        assert_eq!(lists(&service(&mut engine, host)), lists(&first), "host {host}");
        assert_eq!(members(&mut engine, host), endpoints, "host {host}");
    }
}

/// Hosts that have one address in common, on ports of which each is another listener or route.
fn sharing(hosts: usize) -> Object {
    object(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "e", "namespace": "ns"},
        "spec": {
            "hosts": (0..hosts).map(|n| format!("h{n}.example")).collect::<Vec<_>>(),
            "addresses": ["10.1.0.1"],
            "ports": [
                {"number": 80, "name": "http", "protocol": "HTTP"},
                {"number": 443, "name": "tls", "protocol": "TLS"},
                {"number": 9000, "name": "any"},
            ],
            "resolution": "DNS",
        },
    }))
}

#[test]
fn hosts_that_share_an_address_do_not_look_at_each_other() {
    let cost = |hosts: usize| {
        let mut world = World::with_proxies(0);
        let edges = world.apply_all(&[sharing(hosts)]).cost.edges_moved;
        let snapshot = world.snapshot("a");
        let made = snapshot.views[ResourceType::VirtualHost].resources();
        let rivals: usize = made.values().map(|resource| resource.refs.hosts.len()).sum();
        (edges, rivals)
    };
    let ((few, few_rivals), (many, many_rivals)) = (cost(50), cost(200));
    assert!(many < few * 5, "{few} edges of 50 hosts, {many} of 200");
    // On the ports of HTTP the first host has the address: it knows the others, who do not know each other.
    assert!((49..200).contains(&few_rivals) && many_rivals < few_rivals * 5, "{few_rivals}, {many_rivals}");
}
