//! Whom a policy is for: workloads by their labels, or objects that it attaches to.

use super::{
    Problems,
    rules::check_selector_says_something,
    selector::{check_labels, check_target},
};
use crate::{
    api::common::{MatchLabels, PolicyTargetReference, WorkloadSelector},
    model::Code,
};

/// As many objects as a policy attaches to.
const MAX_TARGETS: usize = 16;

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

/// Reports what is wrong with the other form of a selector.
pub(super) fn check_workload_selector(selector: Option<&WorkloadSelector>, problems: &mut Problems) {
    if let Some(selector) = selector {
        check_selector_says_something("spec.workloadSelector", &selector.labels, problems);
        check_labels("spec.workloadSelector.labels", &selector.labels, problems);
    }
}
