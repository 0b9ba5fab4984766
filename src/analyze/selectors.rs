//! Selectors that select nothing, and objects of which only one counts.

use std::collections::BTreeMap;

use super::{Found, World, gateways::shown};
use crate::model::{Attachment, Code, Labels, Namespace};

/// Kinds of which one object counts for a workload.
const SINGLE: [&str; 3] = ["PeerAuthentication", "Sidecar", "Telemetry"];

pub(super) fn check(world: &World, found: &mut Found) {
    for attachment in &world.attachments {
        check_one(world, attachment, found);
    }
    for kind in SINGLE {
        let all = world.attachments.iter().filter(|a| a.object.kind == kind && a.targets.is_empty());
        check_rivals(all, found);
    }
}

fn check_one(world: &World, attachment: &Attachment, found: &mut Found) {
    let Attachment { object, field, selector, .. } = attachment;
    let Some(selector) = selector.as_ref().filter(|s| !s.is_empty()) else { return };
    // Those of the root namespace are for all namespaces.
    let namespace = Some(&object.namespace).filter(|n| **n != world.mesh.root_namespace);
    if world.knows_workloads(namespace) && !world.has_selected(namespace, selector) {
        let wherever = namespace.map_or_else(String::new, |n| format!(" of namespace {n}"));
        let without =
            if object.kind == "ServiceEntry" { "its hosts have no endpoints" } else { "the object has no effect" };
        let reason = format!("no workload{wherever} has the labels {}: {without}", shown(selector));
        found.add(Code::SelectorSelectsNothing, object, *field, reason);
    }
}

/// Of objects for the same workloads the oldest counts.
fn check_rivals<'a>(all: impl Iterator<Item = &'a Attachment>, found: &mut Found) {
    let mut same: BTreeMap<(&Namespace, Option<&Labels>), Vec<&Attachment>> = BTreeMap::new();
    for attachment in all {
        // An empty one selects all.
        let selector = attachment.selector.as_ref().filter(|labels| !labels.is_empty());
        same.entry((&attachment.object.namespace, selector)).or_default().push(attachment);
    }
    for ((namespace, selector), mut rivals) in same {
        rivals.sort_by_key(|attachment| &attachment.age);
        let Some((oldest, others)) = rivals.split_first() else { continue };
        let whom = match selector {
            Some(selector) => format!("workloads with {}", shown(selector)),
            None => format!("namespace {namespace}"),
        };
        for other in others {
            let reason = format!("the older {} counts for {whom}: this one has no effect", oldest.object);
            found.add(Code::SelectorTaken, &other.object, other.field, reason);
        }
    }
}
