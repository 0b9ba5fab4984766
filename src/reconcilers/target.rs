//! Whom a policy is for: workloads by their labels, or objects that it attaches to.

use super::{Problems, rules::check_selector_says_something, selector::check_labels};
use crate::{
    api::common::{MatchLabels, PolicyTargetReference, WorkloadSelector},
    model::Code,
};

/// As many objects as a policy attaches to.
const MAX_TARGETS: usize = 16;

/// What a policy attaches to, by group and kind.
const KINDS: [(&str, &str); 5] = [
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

/// Whom a policy is for, as it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct For<'a> {
    pub(super) selector: Option<&'a MatchLabels>,
    pub(super) target: Option<&'a PolicyTargetReference>,
    pub(super) targets: &'a [PolicyTargetReference],
}

impl For<'_> {
    /// Reports what is wrong with it.
    pub(super) fn check(&self, problems: &mut Problems) {
        let &For { selector, target, targets } = self;
        let set =
            [("selector", selector.is_some()), ("targetRef", target.is_some()), ("targetRefs", !targets.is_empty())];
        let set: Vec<&str> = set.into_iter().filter_map(|(field, set)| set.then_some(field)).collect();
        if set.len() > 1 {
            problems.add(Code::FieldsExclusive, "spec", format!("only one of {} can be set", set.join(", ")));
        }
        if let Some(selector) = selector {
            check_selector_says_something("spec.selector", &selector.match_labels, problems);
            check_labels("spec.selector.matchLabels", &selector.match_labels, problems);
        }
        if let Some(target) = target {
            problems.add(Code::FieldDeprecated, "spec.targetRef", "use targetRefs, which lists several");
            check_target("spec.targetRef", target, problems);
        }
        if targets.len() > MAX_TARGETS {
            let reason = format!("has {} entries: use at most {MAX_TARGETS}", targets.len());
            problems.add(Code::ListInvalid, "spec.targetRefs", reason);
        }
        for (i, target) in targets.iter().enumerate() {
            check_target(&format!("spec.targetRefs[{i}]"), target, problems);
        }
    }
}

fn check_target(field: &str, target: &PolicyTargetReference, problems: &mut Problems) {
    let PolicyTargetReference { group, kind, name, namespace } = target;
    if name.is_empty() {
        problems.add(Code::FieldMissing, format!("{field}.name"), "is empty: name the object");
    }
    if !namespace.is_empty() {
        let reason = format!("{namespace:?}: a policy attaches to objects of its own namespace");
        problems.add(Code::TargetNamespaceForeign, format!("{field}.namespace"), reason);
    }
    if !KINDS.contains(&(group.as_str(), kind.as_str())) {
        let reason = match KINDS.iter().find(|(_, known)| known == kind) {
            Some(("", _)) => format!("{kind} is of the core group, not {group:?}: leave group out"),
            Some((known, _)) => format!("{kind} is of group {known:?}, not {group:?}"),
            None => {
                format!("{kind:?} is not a kind that policies attach to: Service, ServiceEntry, Gateway, GatewayClass")
            }
        };
        problems.add(Code::TargetKindInvalid, format!("{field}.kind"), reason);
    }
}

/// Reports what is wrong with the other form of a selector.
pub(super) fn check_workload_selector(selector: Option<&WorkloadSelector>, problems: &mut Problems) {
    if let Some(selector) = selector {
        check_selector_says_something("spec.workloadSelector", &selector.labels, problems);
        check_labels("spec.workloadSelector.labels", &selector.labels, problems);
    }
}
