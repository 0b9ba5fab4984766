//! RequestAuthentications (translation §8.4). They are not enforced yet, and never silently ignored: the workloads that one
//! selects deny all inbound (design §2, truth 5).

use super::{
    Problems,
    unenforced::{self, For},
};
use crate::{
    api,
    model::{Problem, UnenforcedPolicy},
};

/// The policy of an object; `None` when it names no tokens, which refuses nothing.
#[must_use]
pub fn convert(policy: &api::RequestAuthentication) -> (Option<UnenforcedPolicy>, Vec<Problem>) {
    let mut problems = Problems::of("RequestAuthentication", &policy.metadata);
    let spec = &policy.spec;
    if spec.jwt_rules.is_empty() {
        return (None, Vec::new());
    }
    let whom = For { selector: spec.selector.as_ref(), target: spec.target_ref.as_ref(), targets: &spec.target_refs };
    let made = unenforced::policy(&policy.metadata, &whom, &mut problems);
    (Some(made), problems.into_vec())
}
