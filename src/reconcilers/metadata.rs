//! Annotations of configuration (contract §10), whatever its kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Problems, annotation};
use crate::{
    api::{Kind, Object, authorization_policy::Action},
    model::{Code, Problem},
};

const DRY_RUN: &str = "istio.io/dry-run";
/// Booleans as Go reads them.
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE: [&str; 6] = ["0", "f", "F", "FALSE", "false", "False"];

/// Written by the control plane only; the first one asks the webhook to refuse, as its own probe does.
const RESERVED: [&str; 3] =
    ["internal.istio.io/webhook-always-reject", "internal.istio.io/parents", "internal.istio.io/parent-namespace"];

/// What is wrong with the annotations of an object of Istio's. Nothing follows from such an annotation.
#[must_use]
pub fn check(object: &Object) -> Vec<Problem> {
    let kind = object.kind();
    if !kind.is_custom() {
        return Vec::new();
    }
    let mut problems = Problems::of(kind.kind(), object.meta());
    for (key, value) in object.meta().annotations.iter().flatten() {
        let field = || format!("metadata.annotations[{key}]");
        if RESERVED.contains(&key.as_str()) {
            problems.add(Code::ReservedAnnotation, field(), "only the control plane itself sets this annotation");
        }
        if key == DRY_RUN
            && let Some(reason) = wrong_dry_run(kind, object, value)
        {
            problems.add(Code::DryRunInvalid, field(), reason);
        }
    }
    problems.into_vec()
}

/// A dry run is of what refuses requests: authorization by ALLOW or DENY.
fn wrong_dry_run(kind: Kind, object: &Object, value: &str) -> Option<String> {
    let Object::AuthorizationPolicy(policy) = object else {
        return Some(format!("a {kind} has no dry run: only AuthorizationPolicies have"));
    };
    if !TRUE.contains(&value) && !FALSE.contains(&value) {
        return Some(format!("{value:?} is not a boolean: use \"true\" or \"false\""));
    }
    match policy.spec.action {
        Action::Allow | Action::Deny => None,
        Action::Audit => Some("action AUDIT has no dry run: only ALLOW and DENY have".to_owned()),
        Action::Custom => Some("action CUSTOM has no dry run: only ALLOW and DENY have".to_owned()),
    }
}

/// Whether a policy is to be tried only; what is no boolean is enforced.
pub(super) fn is_dry_run(meta: &ObjectMeta) -> bool {
    annotation(meta, DRY_RUN).is_some_and(|value| TRUE.contains(&value))
}
