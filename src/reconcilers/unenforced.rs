//! What AuthorizationPolicies and RequestAuthentications have in common while they are not enforced.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    Problems, age, namespace,
    selector::{check_labels, check_target},
};
use crate::{
    api::common::{MatchLabels, PolicyTargetReference},
    model::{UnenforcedPolicy, policy::PolicyTarget},
};

/// What a user is told of such an object.
const DENIED: &str = "not enforced yet: the workloads that it selects deny all inbound traffic, unless mizzen runs \
                      with --allow-unenforced-policy";

/// The policy of an object, which is told to be unenforced.
pub(super) fn policy(
    meta: &ObjectMeta,
    selector: Option<&MatchLabels>,
    targets: &[PolicyTargetReference],
    problems: &mut Problems,
) -> UnenforcedPolicy {
    problems.add("", DENIED);
    let selects = selector.is_some_and(|s| !s.match_labels.is_empty());
    check_target(&[("selector", selects), ("targetRefs", !targets.is_empty())], problems);
    if let Some(selector) = selector {
        check_labels("spec.selector.matchLabels", &selector.match_labels, problems);
    }
    UnenforcedPolicy {
        object: problems.object().clone(),
        age: age(meta),
        namespace: namespace(meta),
        selector: selector.map(|s| s.match_labels.clone()).unwrap_or_default(),
        targets: targets.iter().map(|t| PolicyTarget { kind: t.kind.clone(), name: t.name.clone() }).collect(),
    }
}
