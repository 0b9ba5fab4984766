//! Selectors that select nothing, and objects of which only one counts.

use std::{collections::BTreeMap, sync::Arc};

use super::{Found, World, gateways::shown};
use crate::model::{Age, Code, Labels, Namespace, ObjectRef};

pub(super) fn check(world: &World, found: &mut Found) {
    for sidecar in &world.sidecars {
        check_one(world, &sidecar.object, sidecar.workload_selector.as_ref(), "spec.workloadSelector", found);
    }
    for peer in &world.peers {
        check_one(world, &peer.object, peer.selector.as_ref(), "spec.selector", found);
    }
    for policy in world.policies.iter().filter(|p| p.targets.is_empty()) {
        check_one(world, &policy.object, Some(&policy.selector), "spec.selector", found);
    }
    for filter in &world.filters {
        check_one(world, &filter.object, Some(&filter.workload), "spec.workloadSelector", found);
    }
    for rule in &world.destination_rules {
        check_one(world, &rule.object, rule.workload_selector.as_ref(), "spec.workloadSelector", found);
    }
    let sidecars = world.sidecars.iter().map(|s| (&s.object, &s.age, s.workload_selector.as_ref()));
    check_rivals(sidecars, "spec.workloadSelector", found);
    let peers = world.peers.iter().map(|p| (&p.object, &p.age, p.selector.as_ref()));
    check_rivals(peers, "spec.selector", found);
}

fn check_one(world: &World, object: &ObjectRef, selector: Option<&Labels>, field: &str, found: &mut Found) {
    let Some(selector) = selector.filter(|s| !s.is_empty()) else { return };
    // Those of the root namespace are for all namespaces.
    let namespace = Some(&object.namespace).filter(|n| **n != world.mesh.root_namespace);
    if world.knows_workloads(namespace) && !world.has_selected(namespace, selector) {
        let wherever = namespace.map_or_else(String::new, |n| format!(" of namespace {n}"));
        let reason = format!("no workload{wherever} has the labels {}: the object has no effect", shown(selector));
        found.add(Code::SelectorSelectsNothing, object, field, reason);
    }
}

type Selective<'a> = (&'a ObjectRef, &'a Age, Option<&'a Labels>);

/// Of objects for the same workloads the oldest counts.
fn check_rivals<'a>(all: impl Iterator<Item = Selective<'a>>, field: &str, found: &mut Found) {
    let mut same: BTreeMap<(&Arc<str>, Option<&Labels>), Vec<Selective<'_>>> = BTreeMap::new();
    for entry in all {
        let namespace: &Namespace = &entry.0.namespace;
        same.entry((namespace, entry.2)).or_default().push(entry);
    }
    for ((namespace, selector), mut rivals) in same {
        rivals.sort_by_key(|(_, age, _)| *age);
        let Some(((oldest, ..), others)) = rivals.split_first() else { continue };
        for (object, ..) in others {
            let whom = match selector {
                Some(selector) => format!("workloads with {}", shown(selector)),
                None => format!("namespace {namespace}"),
            };
            let reason = format!("the older {oldest} counts for {whom}: this one has no effect");
            found.add(Code::SelectorTaken, object, field, reason);
        }
    }
}
