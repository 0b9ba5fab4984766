//! AuthorizationPolicies (translation §8). They are not enforced yet, and never silently ignored: the workloads that one
//! selects deny all inbound (design §2, truth 5).

use super::{
    Problems, annotation,
    unenforced::{self, For},
};
use crate::{
    api::{self, authorization_policy::Action},
    model::{Code, Problem, UnenforcedPolicy},
};

/// The policy of an object; `None` when it could not refuse anything.
#[must_use]
pub fn convert(policy: &api::AuthorizationPolicy) -> (Option<UnenforcedPolicy>, Vec<Problem>) {
    let mut problems = Problems::of("AuthorizationPolicy", &policy.metadata);
    let spec = &policy.spec;
    let dry_run = annotation(&policy.metadata, "istio.io/dry-run") == Some("true");
    if dry_run || spec.action == Action::Audit {
        problems.add(
            Code::PolicyNotEnforced,
            "",
            "not honoured yet: it refuses nothing, but nothing is recorded either",
        );
        return (None, problems.into_vec());
    }
    let whom = For { selector: spec.selector.as_ref(), target: spec.target_ref.as_ref(), targets: &spec.target_refs };
    let made = unenforced::policy(&policy.metadata, &whom, &mut problems);
    (Some(made), problems.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_policy_is_for_is_said_once() {
        let yaml = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: ns}\n\
                    spec: {selector: {matchLabels: {app: 'a*'}}, targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: a}, \
                    targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: b}]}";
        let policy = serde_yaml_ng::from_str(yaml).expect("an AuthorizationPolicy");
        let (made, problems) = convert(&policy);
        assert_eq!(made.expect("a policy").targets.len(), 2);
        let said: Vec<_> = problems[1..].iter().map(|p| format!("{}: {}", p.field, p.reason)).collect();
        assert_eq!(
            said,
            [
                "spec: only one of selector, targetRef, targetRefs can be set",
                "spec.selector.matchLabels: \"app: a*\" selects nothing: labels are compared as they are written",
            ]
        );
    }
}
