//! DestinationRules of hosts that no service has, subsets without members, and rules of which another one hides a part.

use std::{collections::BTreeMap, sync::Arc};

use super::{Found, World, gateways::shown};
use crate::model::{Code, DestinationRule, Host, Namespace, host::is_subset, service::Registry};

pub(super) fn check(world: &World, found: &mut Found) {
    for rule in &world.destination_rules {
        check_host(world, rule, found);
        check_subsets(world, rule, found);
    }
    check_conflicts(world, found);
}

fn check_host(world: &World, rule: &DestinationRule, found: &mut Found) {
    let known = if rule.host.starts_with('*') {
        world.services.iter().any(|s| is_subset(&s.host, &rule.host))
    } else {
        // Part of a wildcard service, too.
        !world.services_of(&rule.host).is_empty()
            || world.services.iter().any(|s| s.host.starts_with('*') && is_subset(&rule.host, &s.host))
    };
    if !known {
        let reason = format!("no service has host {:?}: the rule has no effect", rule.host);
        found.add(Code::RuleHostUnknown, &rule.object, "spec.host", reason);
    }
}

fn check_subsets(world: &World, rule: &DestinationRule, found: &mut Found) {
    for service in world.services_of(&rule.host).iter().filter(|s| s.registry == Registry::Kubernetes) {
        let Some(selector) = &service.selector else { continue };
        if !world.knows_workloads(Some(&service.namespace)) || !world.has_selected(Some(&service.namespace), selector) {
            continue;
        }
        for (n, subset) in rule.subsets.iter().enumerate().filter(|(_, s)| !s.labels.is_empty()) {
            let mut labels = selector.clone();
            labels.extend(subset.labels.clone());
            let fits = selector.iter().all(|(key, value)| subset.labels.get(key).is_none_or(|own| own == value));
            if !fits || !world.has_selected(Some(&service.namespace), &labels) {
                let reason = format!(
                    "no Pod of {} has the labels {}: requests for subset {} are answered with 503",
                    service.object,
                    shown(&subset.labels),
                    subset.name
                );
                found.add(Code::SubsetSelectsNothing, &rule.object, format!("spec.subsets[{n}].labels"), reason);
            }
        }
    }
}

/// Of several rules for a host in a namespace the oldest policy counts, and the oldest subset of a name.
fn check_conflicts(world: &World, found: &mut Found) {
    let mut same: BTreeMap<(&Namespace, &Host), Vec<&Arc<DestinationRule>>> = BTreeMap::new();
    for rule in world.destination_rules.iter().filter(|r| r.workload_selector.is_none()) {
        same.entry((&rule.namespace, &rule.host)).or_default().push(rule);
    }
    for rules in same.values_mut().filter(|rules| rules.len() > 1) {
        rules.sort_by(|a, b| a.age.cmp(&b.age));
        for (at, rule) in rules.iter().enumerate() {
            // Those that different namespaces see stand alone.
            let older: Vec<_> = rules[..at].iter().filter(|other| other.visibility == rule.visibility).collect();
            check_conflict(rule, &older, found);
        }
    }
}

fn check_conflict(rule: &DestinationRule, older: &[&&Arc<DestinationRule>], found: &mut Found) {
    if let Some(other) = older.iter().find(|other| other.policy.is_some() && rule.policy.is_some()) {
        let reason = format!("the policy of the older {} counts for {:?}", other.object, rule.host);
        found.add(Code::RuleConflict, &rule.object, "spec.trafficPolicy", reason);
    }
    for (n, subset) in rule.subsets.iter().enumerate() {
        if let Some(other) = older.iter().find(|other| other.subsets.iter().any(|s| s.name == subset.name)) {
            let reason = format!("the subset {} of the older {} counts", subset.name, other.object);
            found.add(Code::RuleConflict, &rule.object, format!("spec.subsets[{n}].name"), reason);
        }
    }
}
