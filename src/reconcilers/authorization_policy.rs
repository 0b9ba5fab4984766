//! AuthorizationPolicies (translation §8). They are not enforced yet, and never silently ignored: the workloads that one
//! selects deny all inbound (design §2, truth 5). What is wrong with their rules is told all the same (contract §10).

mod condition;
mod operation;
mod path_template;
mod source;

use super::{Problems, metadata::is_dry_run, target::For, unenforced};
use crate::{
    api::{
        self,
        authorization_policy::{Action, AuthorizationPolicySpec, Rule},
    },
    model::{Code, Problem, UnenforcedPolicy},
};

/// As many rules, and as many sources of one, as the CRD allows.
const MAX_RULES: usize = 512;

/// The policy of an object; `None` when it could not refuse anything.
#[must_use]
pub fn convert(policy: &api::AuthorizationPolicy) -> (Option<UnenforcedPolicy>, Vec<Problem>) {
    let mut problems = Problems::of("AuthorizationPolicy", &policy.metadata);
    let spec = &policy.spec;
    let whom = For { selector: spec.selector.as_ref(), target: spec.target_ref.as_ref(), targets: &spec.target_refs };
    whom.check(&mut problems);
    check_action(spec, &mut problems);
    super::checks::list_of_at_most("spec.rules", &spec.rules, MAX_RULES, &mut problems);
    for (i, rule) in spec.rules.iter().enumerate() {
        check_rule(&format!("spec.rules[{i}]"), rule, spec.action, &mut problems);
    }
    let dry_run = is_dry_run(&policy.metadata);
    if dry_run || spec.action == Action::Audit {
        problems.add(
            Code::PolicyNotEnforced,
            "",
            "not honoured yet: it refuses nothing, but nothing is recorded either",
        );
        return (None, problems.into_vec());
    }
    let made = unenforced::policy(&policy.metadata, &whom, &mut problems);
    (Some(made), problems.into_vec())
}

fn check_action(spec: &AuthorizationPolicySpec, problems: &mut Problems) {
    let word = match spec.action {
        Action::Allow => "ALLOW",
        Action::Deny => "DENY",
        Action::Audit => "AUDIT",
        Action::Custom => "CUSTOM",
    };
    let custom = spec.action == Action::Custom;
    if spec.rules.is_empty() && (custom || spec.action == Action::Deny) {
        let reason = format!("action {word} without rules never applies: an empty rule {{}} is every request");
        problems.add(Code::PolicyRulesMissing, "spec.rules", reason);
    }
    match &spec.provider {
        Some(_) if !custom => {
            problems.add(Code::AuthorizerUnexpected, "spec.provider", format!("action {word} asks no provider"));
        }
        Some(provider) if !provider.name.is_empty() => {}
        _ if custom => problems.add(Code::AuthorizerMissing, "spec.provider.name", "action CUSTOM needs a provider"),
        _ => {}
    }
}

fn check_rule(field: &str, rule: &Rule, action: Action, problems: &mut Problems) {
    let (from, to) = (rule.from.as_deref(), rule.to.as_deref());
    for (name, empty) in [("from", from.is_some_and(<[_]>::is_empty)), ("to", to.is_some_and(<[_]>::is_empty))] {
        if empty {
            problems.add(Code::ClauseEmpty, format!("{field}.{name}"), "is empty: leave it out to mean any");
        }
    }
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    super::checks::list_of_at_most(&format!("{field}.from"), from, MAX_RULES, problems);
    for (i, from) in from.iter().enumerate() {
        source::check(&format!("{field}.from[{i}].source"), from.source.as_ref(), action, problems);
    }
    for (i, to) in to.iter().enumerate() {
        operation::check(&format!("{field}.to[{i}].operation"), to.operation.as_ref(), problems);
    }
    for (i, condition) in rule.when.iter().enumerate() {
        condition::check(&format!("{field}.when[{i}]"), condition, action, problems);
    }
    if action == Action::Deny && is_too_broad(rule) {
        let reason = "on ports of TCP the conditions on HTTP are dropped, so every connection that the others let \
                      through is refused: add ports";
        problems.add(Code::DenyTooBroad, field, reason);
    }
}

/// Whether a rule loses a condition on ports of TCP, and does not say which ports it is for.
fn is_too_broad(rule: &Rule) -> bool {
    let (from, to) = (rule.from.as_deref().unwrap_or_default(), rule.to.as_deref().unwrap_or_default());
    let names_port = rule.when.iter().any(|condition| condition.key == "destination.port")
        || !to.is_empty() && to.iter().all(|to| to.operation.as_ref().is_some_and(operation::names_ports));
    let asks_http = from.iter().filter_map(|from| from.source.as_ref()).any(source::asks_http)
        || to.iter().filter_map(|to| to.operation.as_ref()).any(operation::asks_http)
        || rule.when.iter().any(condition::asks_http);
    asks_http && !names_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_policy_is_for_is_said_once() {
        let yaml = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: ns}\n\
                    spec: {selector: {matchLabels: {app: 'a*'}}, targetRef: {kind: Gateway, name: a, \
                    group: gateway.networking.k8s.io}, targetRefs: [{kind: Service, name: b}]}";
        let policy = serde_yaml_ng::from_str(yaml).expect("an AuthorizationPolicy");
        let (made, problems) = convert(&policy);
        assert_eq!(made.expect("a policy").targets.len(), 2);
        let said: Vec<_> = problems.iter().map(|p| (p.field.as_str(), p.code)).collect();
        assert_eq!(said[0], ("spec", Code::FieldsExclusive));
        assert_eq!((said[1].1, said[2]), (Code::SelectorLabelInvalid, ("spec.targetRef", Code::FieldDeprecated)));
        assert_eq!(said[3..], [("", Code::PolicyNotEnforced)]);
    }
}
