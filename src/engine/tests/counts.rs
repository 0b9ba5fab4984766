//! What a change costs, whom it wakes and what moves: the same in a mesh of any size.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    objects::{address, all_of, annotated, cluster, governance, host, mesh, object, rule, service, slice, workload},
    world::{ALL, Effect, World},
};
use crate::{api::Object, engine::graph::Stats, model::ObjectRef};

/// A change, and what it must move: proxies with `<type> <name>`.
struct Case {
    name: &'static str,
    change: fn(&mut World) -> Effect,
    moves: Vec<(&'static [&'static str], Vec<String>)>,
    /// How many queries run, and how many entries of parts are touched, at the most.
    most: (u64, u64),
}

/// All proxies but the one whose Sidecar object imports two namespaces.
const ALL_BUT_NARROW: &[&str] = &["a", "a too", "b", "whole", "gateway"];
/// Those that take virtual hosts one by one, and import everything.
const DISCOVERING: &[&str] = &["a", "a too", "b"];

/// What a service is for those who see it.
fn of_service(n: usize) -> Vec<String> {
    vec![format!("cds {}", cluster(n)), format!("eds {}", cluster(n))]
}

fn virtual_host(n: usize) -> String {
    format!("vhds 80/{}:80", host(n))
}

fn put(value: Value) -> impl FnOnce(&mut World) -> Effect {
    move |world| world.apply_all(&[object(value)])
}

fn remove(world: &mut World, kind: &'static str, name: &str, namespace: &str) -> Effect {
    world.delete_all(&[ObjectRef::new(kind, namespace, name)])
}

fn cases() -> Vec<Case> {
    let eds = |n| vec![format!("eds {}", cluster(n))];
    let with = |mut all: Vec<String>, more: &[String]| {
        all.extend_from_slice(more);
        all
    };
    vec![
        Case {
            name: "an endpoint, of a service that all see",
            change: |world| put(slice(71, &[address(174, 71)]))(world),
            moves: vec![(&ALL, eds(71))],
            most: (17, 2),
        },
        Case {
            name: "an endpoint, of a service that one does not import",
            change: |world| put(slice(72, &[address(174, 72)]))(world),
            moves: vec![(ALL_BUT_NARROW, eds(72))],
            most: (15, 1),
        },
        Case {
            name: "a VirtualService of the mesh",
            change: |world| put(rule(52, 2))(world),
            moves: vec![(DISCOVERING, vec![virtual_host(52)]), (&["whole"], vec!["rds 80".to_owned()])],
            most: (20, 6),
        },
        Case {
            name: "a VirtualService of the mesh that all import",
            change: |world| put(rule(51, 2))(world),
            moves: vec![
                (&["a", "a too", "b", "narrow"], vec![virtual_host(51)]),
                (&["whole"], vec!["rds 80".to_owned()]),
            ],
            most: (28, 6),
        },
        Case {
            name: "a VirtualService of the gateway",
            change: |world| put(rule(22, 2))(world),
            moves: vec![(&["gateway"], vec!["rds http.8080".to_owned()])],
            most: (10, 0),
        },
        Case {
            name: "a new service",
            change: |world| put(service(60_072))(world),
            moves: vec![
                (DISCOVERING, with(of_service(60_072), &[virtual_host(60_072)])),
                (&["whole"], with(of_service(60_072), &["rds 80".to_owned()])),
                (&["gateway"], of_service(60_072)),
            ],
            most: (37, 8),
        },
        Case {
            name: "a service is gone",
            change: |world| remove(world, "Service", "s60072", "ns2"),
            moves: vec![
                (DISCOVERING, with(of_service(60_072), &[virtual_host(60_072)])),
                (&["whole"], with(of_service(60_072), &["rds 80".to_owned()])),
                (&["gateway"], of_service(60_072)),
            ],
            most: (23, 8),
        },
        Case {
            name: "a new service in an imported namespace",
            change: |world| put(service(60_071))(world),
            moves: vec![
                (&["a", "a too", "b", "narrow"], with(of_service(60_071), &[virtual_host(60_071)])),
                (&["whole"], with(of_service(60_071), &["rds 80".to_owned()])),
                (&["gateway"], of_service(60_071)),
            ],
            most: (48, 10),
        },
        Case {
            name: "a new service whose protocol is found out",
            change: |world| put(service(60_002))(world),
            moves: vec![
                (DISCOVERING, with(of_service(60_002), &sniffed(60_002, virtual_host(60_002)))),
                (&["whole"], with(of_service(60_002), &sniffed(60_002, "rds 80".to_owned()))),
                (&["gateway"], of_service(60_002)),
            ],
            most: (49, 15),
        },
        Case {
            name: "a new TCP service",
            change: |world| put(service(60_012))(world),
            moves: vec![
                (
                    &["a", "a too", "b", "whole"],
                    with(of_service(60_012), &[format!("lds {}_9000", address(10, 60_012))]),
                ),
                (&["gateway"], of_service(60_012)),
            ],
            most: (34, 3),
        },
        Case {
            name: "a new DestinationRule",
            change: |world| put(governance(82, 5))(world),
            moves: vec![(ALL_BUT_NARROW, vec![format!("cds {}", cluster(82))])],
            most: (25, 1),
        },
        Case {
            name: "a DestinationRule",
            change: |world| put(governance(32, 5))(world),
            moves: vec![(ALL_BUT_NARROW, vec![format!("cds {}", cluster(32))])],
            most: (25, 1),
        },
        Case {
            name: "a DestinationRule is gone",
            change: |world| remove(world, "DestinationRule", "d82", "ns2"),
            moves: vec![(ALL_BUT_NARROW, vec![format!("cds {}", cluster(82))])],
            most: (22, 1),
        },
        Case {
            name: "a WorkloadEntry that a service selects",
            change: |world| put(workload(42, 1))(world),
            moves: vec![(ALL_BUT_NARROW, eds(42))],
            most: (17, 2),
        },
        Case {
            name: "another address of a WorkloadEntry that a service selects",
            change: |world| put(workload(42, 2))(world),
            moves: vec![(ALL_BUT_NARROW, eds(42))],
            most: (15, 1),
        },
        Case {
            name: "a VirtualService is gone",
            change: |world| remove(world, "VirtualService", "v62", "ns2"),
            moves: vec![(DISCOVERING, vec![virtual_host(62)]), (&["whole"], vec!["rds 80".to_owned()])],
            most: (15, 6),
        },
    ]
}

/// The listener and the route configuration of a service whose protocol is found out, and more.
fn sniffed(n: usize, more: String) -> Vec<String> {
    vec![format!("lds {}_80", address(10, n)), format!("rds {}:80", host(n)), more]
}

/// Changes that move nothing: they cost what is at the object itself.
fn idle_cases() -> Vec<Case> {
    let idle = |name, queries, change| Case { name, change, moves: Vec::new(), most: (queries, 0) };
    vec![
        idle("a label of a service", 23, |world| {
            let mut value = service(73);
            value["metadata"]["labels"] = json!({"example.com/team": "x"});
            put(value)(world)
        }),
        idle("another selector of a service", 22, |world| {
            let mut value = service(72);
            value["spec"]["selector"] = json!({"app": "x", "version": "2"});
            put(value)(world)
        }),
        idle("a default of a VirtualService is written out", 12, |world| {
            let mut value = rule(42, 1);
            value["spec"]["exportTo"] = json!(["*"]);
            put(value)(world)
        }),
        idle("a default of a DestinationRule is written out", 4, |world| {
            let mut value = governance(33, 100);
            value["spec"]["exportTo"] = json!(["*"]);
            put(value)(world)
        }),
        idle("the node of an endpoint, which nobody knows", 7, |world| {
            let mut value = slice(92, &[address(172, 92), address(173, 92)]);
            value["endpoints"][0]["nodeName"] = "unknown".into();
            put(value)(world)
        }),
    ]
}

/// Changes that do not reach the engine: nothing is computed.
fn free_cases() -> Vec<Case> {
    let change = |world: &mut World| {
        // Services of every kind, which no other case changes.
        let all = [4, 14, 24, 34, 44, 74].into_iter().flat_map(all_of);
        let annotated: Vec<_> = all.map(|value| object(annotated(value))).collect();
        assert_eq!(annotated.len(), 15);
        world.apply_all(&annotated)
    };
    vec![Case { name: "an annotation of each kind", change, moves: Vec::new(), most: (0, 0) }]
}

fn expected(case: &Case) -> BTreeMap<&'static str, BTreeSet<String>> {
    let each = case.moves.iter().flat_map(|(who, what)| who.iter().map(|w| (*w, what.iter().cloned().collect())));
    each.collect()
}

/// Runs cases one after the other in two meshes; tells of all that is wrong.
fn check(worlds: &mut [World; 2], cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let [small, large] = worlds.each_mut().map(|world| (case.change)(world));
        println!("{}: {:?}", case.name, small.cost);
        if small.moved != expected(case) {
            wrong.push(format!("{}: moved {:#?}", case.name, small.moved));
        }
        if small != large {
            let costs = [small.clone(), large].map(|e| format!("{:?}, {} more nodes", e.cost, e.grown));
            wrong.push(format!("{}, in the small mesh and in the large one: {costs:#?}", case.name));
        }
        if small.cost.queries_run > case.most.0 || small.cost.parts_patched > case.most.1 {
            wrong.push(format!("{}: {:?} instead of {:?}", case.name, small.cost, case.most));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_change_costs_the_same_in_any_mesh_and_moves_what_it_must() {
    check(&mut [100, 1_000].map(World::with_proxies), &cases());
}

#[test]
fn an_edit_without_effect_moves_nothing_and_wakes_nobody() {
    let mut worlds = [100, 300].map(World::with_proxies);
    check(&mut worlds, &idle_cases());
    check(&mut worlds, &free_cases());
}

#[test]
fn a_relist_of_what_is_there_costs_nothing() {
    let mut world = World::with_proxies(200);
    let relist = world.relist(&mesh(200));
    assert_eq!((relist.moved.len(), relist.cost, relist.grown), (0, Stats::default(), 0));
}

#[test]
fn a_change_costs_the_same_in_a_mesh_of_10_000_services() {
    let mut worlds = [100, 10_000].map(World::with_proxies);
    check(&mut worlds, &cases());
    check(&mut worlds, &idle_cases());
    check(&mut worlds, &free_cases());
}

/// A VirtualService of the gateway beside those of the mesh.
fn of_gateway(nth: usize, seconds: usize) -> Object {
    let mut value = rule(22, seconds);
    value["metadata"]["name"] = json!(format!("g{nth}"));
    value["spec"]["hosts"] = json!([format!("g{nth}.example.com")]);
    object(value)
}

/// What an edit of one of so many VirtualServices of a gateway costs.
fn edit_on_gateway(rules: usize) -> Effect {
    let mut world = World::with_proxies(100);
    world.apply_all(&(0..rules).map(|nth| of_gateway(nth, 1)).collect::<Vec<_>>());
    world.apply_all(&[of_gateway(rules / 2, 2)])
}

#[test]
fn a_virtual_service_of_a_gateway_costs_the_same_beside_10_000_others() {
    let [few, many] = [100, 10_000].map(edit_on_gateway);
    assert_eq!(few.moved, many.moved);
    let counts = |e: &Effect| (e.cost.queries_run, e.cost.nodes_marked, e.cost.edges_moved, e.grown);
    assert_eq!(counts(&few), counts(&many));
    // The pieces of the one route configuration are put together: each is looked at once.
    let more = many.cost.values_read - few.cost.values_read;
    assert!(more <= 9_900, "{more} values more are looked at: {:?} and {:?}", few.cost, many.cost);
}
