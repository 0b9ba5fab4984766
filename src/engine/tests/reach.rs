//! Whom an object concerns.

use serde_json::{Value, json};

use super::{
    objects::{annotated, governance, object, rule},
    world::World,
};
use crate::model::ObjectRef;

const OF_MESH: [&str; 4] = ["a", "a too", "b", "whole"];

#[test]
fn an_object_concerns_those_who_have_something_made_of_it() {
    let mut world = World::with_proxies(100);
    let gateway = ObjectRef::new("Gateway", "istio-system", "gateway");
    let (on_gateway, of_mesh) =
        (ObjectRef::new("VirtualService", "ns2", "v22"), ObjectRef::new("VirtualService", "ns2", "v52"));
    let rule_of = ObjectRef::new("DestinationRule", "ns2", "d32");
    for (object, concerned) in [
        (&gateway, vec!["gateway"]),
        (&on_gateway, vec!["gateway"]),
        (&of_mesh, OF_MESH.to_vec()),
        (&rule_of, ["gateway"].into_iter().chain(OF_MESH).collect()),
        (&ObjectRef::new("VirtualService", "ns2", "absent"), vec![]),
    ] {
        let (reach, mut found) = world.reach(object);
        for name in concerned {
            assert!(found.remove(name), "{object} concerns {name}: {reach:?}");
        }
        assert!(found.is_empty(), "{object} does not concern {found:?}");
        assert_eq!(reach.changed.is_some(), &*object.name != "absent");
    }
    world.detach("gateway");
    assert!(world.reach(&on_gateway).1.is_empty());
}

/// The DestinationRule of service `s32`, with more of its `spec`.
fn rule_with(more: &[(&str, Value)]) -> crate::api::Object {
    let mut rule = governance(32, 7);
    more.iter().for_each(|(field, value)| rule["spec"][field] = value.clone());
    object(rule)
}

#[test]
fn a_rule_concerns_those_who_follow_it() {
    let mut world = World::with_proxies(100);
    let of_namespace = ObjectRef::new("DestinationRule", "ns2", "d32");
    let own = ["b", "whole"];
    world.apply_all(&[rule_with(&[("exportTo", json!(["."]))])]);
    assert_eq!(world.reach(&of_namespace).1, own.into());
    world.apply_all(&[rule_with(&[("exportTo", json!(["ns1"]))])]);
    assert_eq!(world.reach(&of_namespace).1, ["a", "a too"].into());
    // Nobody has the label.
    world.apply_all(&[rule_with(&[("workloadSelector", json!({"matchLabels": {"app": "other"}}))])]);
    assert_eq!(world.reach(&of_namespace).1, [].into());
    // Of one that clients of a namespace have replaced for themselves, what they share with all others is made too.
    let mut others = governance(32, 8);
    others["metadata"] = json!({"name": "theirs", "namespace": "ns1"});
    others["spec"]["exportTo"] = json!(["."]);
    world.apply_all(&[rule_with(&[]), object(others)]);
    let theirs = ObjectRef::new("DestinationRule", "ns1", "theirs");
    assert_eq!(world.reach(&theirs).1, ["a", "a too"].into());
    assert_eq!(world.reach(&of_namespace).1, OF_MESH.into_iter().chain(["gateway"]).collect());
}

#[test]
fn only_what_an_object_says_counts_as_a_change_of_it() {
    let mut world = World::with_proxies(100);
    let of_mesh = ObjectRef::new("VirtualService", "ns2", "v52");
    let before = world.reach(&of_mesh).0;
    world.apply_all(&[object(annotated(rule(52, 1)))]);
    assert_eq!(world.reach(&of_mesh).0, before);
    world.apply_all(&[object(rule(52, 9))]);
    let after = world.reach(&of_mesh).0;
    assert!(after.changed > before.changed, "{after:?}");
    assert!(after.classes.iter().all(|(_, generation)| Some(*generation) >= after.changed), "{after:?}");
    let effect = world.apply_all(&[object(governance(32, 7))]);
    assert_eq!(effect.cost.edges_moved, 0, "values change, and what they are made of stays");
}

#[test]
fn what_is_wrong_with_an_object_is_known() {
    let mut world = World::with_proxies(100);
    let mut bad = governance(32, 7);
    bad["spec"]["trafficPolicy"]["outlierDetection"] = json!({"consecutiveErrors": 5});
    world.apply_all(&[object(bad)]);
    let (reach, _) = world.reach(&ObjectRef::new("DestinationRule", "ns2", "d32"));
    let [problem] = &reach.problems[..] else { panic!("{reach:?}") };
    assert!(problem.field.ends_with("consecutiveErrors"), "{problem}");
}
