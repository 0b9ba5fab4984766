//! AuthorizationPolicies (translation §8). They are not enforced yet, and never silently ignored: the workloads that one
//! selects deny all inbound (design §2, truth 5).

use super::{Problems, annotation, unenforced};
use crate::{
    api::{self, authorization_policy::Action},
    model::{Problem, UnenforcedPolicy},
};

/// The policy of an object; `None` when it could not refuse anything.
#[must_use]
pub fn convert(policy: &api::AuthorizationPolicy) -> (Option<UnenforcedPolicy>, Vec<Problem>) {
    let mut problems = Problems::of("AuthorizationPolicy", &policy.metadata);
    let spec = &policy.spec;
    let dry_run = annotation(&policy.metadata, "istio.io/dry-run") == Some("true");
    if dry_run || spec.action == Action::Audit {
        problems.add("", "not honoured yet: it refuses nothing, but nothing is recorded either");
        return (None, problems.into_vec());
    }
    let targets: Vec<_> = spec.target_ref.iter().chain(&spec.target_refs).cloned().collect();
    let made = unenforced::policy(&policy.metadata, spec.selector.as_ref(), &targets, &mut problems);
    (Some(made), problems.into_vec())
}
