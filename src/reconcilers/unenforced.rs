//! What AuthorizationPolicies and RequestAuthentications have in common while they are not enforced.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Problems, age, namespace, target::For};
use crate::model::{Code, UnenforcedPolicy, policy::PolicyTarget};

/// What a user is told of such an object.
const DENIED: &str = "not enforced yet: the workloads that it selects deny all inbound traffic, unless mizzen runs \
                      with --allow-unenforced-policy";

/// The policy of an object, which is told to be unenforced.
pub(super) fn policy(meta: &ObjectMeta, whom: &For<'_>, problems: &mut Problems) -> UnenforcedPolicy {
    problems.add(Code::PolicyNotEnforced, "", DENIED);
    let &For { selector, target, targets } = whom;
    let targets = target.into_iter().chain(targets);
    UnenforcedPolicy {
        object: problems.object().clone(),
        age: age(meta),
        namespace: namespace(meta),
        selector: selector.map(|s| s.match_labels.clone()).unwrap_or_default(),
        targets: targets.map(|t| PolicyTarget { kind: t.kind.clone(), name: t.name.clone() }).collect(),
    }
}
