//! What AuthorizationPolicies and RequestAuthentications have in common while they are not enforced.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    Problems, age, namespace,
    rules::check_selector_says_something,
    selector::{check_labels, check_target},
};
use crate::{
    api::common::{MatchLabels, PolicyTargetReference},
    model::{Code, UnenforcedPolicy, policy::PolicyTarget},
};

/// What a user is told of such an object.
const DENIED: &str = "not enforced yet: the workloads that it selects deny all inbound traffic, unless mizzen runs \
                      with --allow-unenforced-policy";

/// Whom a policy is for, as it is written.
pub(super) struct For<'a> {
    pub(super) selector: Option<&'a MatchLabels>,
    pub(super) target: Option<&'a PolicyTargetReference>,
    pub(super) targets: &'a [PolicyTargetReference],
}

/// The policy of an object, which is told to be unenforced.
pub(super) fn policy(meta: &ObjectMeta, whom: &For<'_>, problems: &mut Problems) -> UnenforcedPolicy {
    problems.add(Code::PolicyNotEnforced, "", DENIED);
    let &For { selector, target, targets } = whom;
    let set = [("selector", selector.is_some()), ("targetRef", target.is_some()), ("targetRefs", !targets.is_empty())];
    let set: Vec<&str> = set.into_iter().filter_map(|(field, set)| set.then_some(field)).collect();
    if set.len() > 1 {
        problems.add(Code::FieldsExclusive, "spec", format!("only one of {} can be set", set.join(", ")));
    }
    if let Some(selector) = selector {
        check_labels("spec.selector.matchLabels", &selector.match_labels, problems);
        check_selector_says_something("spec.selector", &selector.match_labels, problems);
    }
    target.iter().for_each(|target| check_target("spec.targetRef", target, problems));
    for (i, target) in targets.iter().enumerate() {
        check_target(&format!("spec.targetRefs[{i}]"), target, problems);
    }
    let targets = target.into_iter().chain(targets);
    UnenforcedPolicy {
        object: problems.object().clone(),
        age: age(meta),
        namespace: namespace(meta),
        selector: selector.map(|s| s.match_labels.clone()).unwrap_or_default(),
        targets: targets.map(|t| PolicyTarget { kind: t.kind.clone(), name: t.name.clone() }).collect(),
    }
}
