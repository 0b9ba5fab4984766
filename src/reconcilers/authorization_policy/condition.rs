//! Conditions of a rule (`when`).

use super::{
    super::{Flaw, Problems, checks},
    operation::check_ports,
    source::{check_accounts, check_addresses, check_patterns},
};
use crate::{
    api::authorization_policy::{Action, Condition},
    model::Code,
};

/// What the values of a key are.
#[derive(Clone, Copy)]
enum Values {
    Text,
    Pattern,
    Address,
    Port,
    Account,
}

pub(super) fn check(field: &str, condition: &Condition, action: Action, problems: &mut Problems) {
    let key = condition.key.as_str();
    if action == Action::Custom && is_identity(key) {
        let reason = format!("{key:?}: action CUSTOM cannot ask for it");
        problems.add(Code::IdentityUnsupported, format!("{field}.key"), reason);
    }
    let values = match values_of(key) {
        Ok(values) => values,
        Err(flaw) => {
            problems.flaw(format!("{field}.key"), flaw);
            Values::Text
        }
    };
    if condition.values.is_empty() && condition.not_values.is_empty() {
        problems.add(Code::ConditionValuesMissing, field, "has neither values nor notValues");
    }
    for (name, list) in [("values", &condition.values), ("notValues", &condition.not_values)] {
        let field = format!("{field}.{name}");
        match values {
            Values::Text => checks::no_empty_entry(&field, list, problems),
            Values::Pattern => check_patterns(&field, list, problems),
            Values::Address => check_addresses(&field, list, problems),
            Values::Port => check_ports(&field, list, problems),
            Values::Account => check_accounts(&field, list, problems),
        }
    }
}

/// What a key asks for.
fn values_of(key: &str) -> Result<Values, Flaw> {
    let unknown = |reason: String| Err(Flaw::new(Code::ConditionKeyUnknown, reason));
    match key {
        "source.ip" | "remote.ip" | "destination.ip" => Ok(Values::Address),
        "source.serviceAccount" => Ok(Values::Account),
        "source.trustDomain" => Ok(Values::Pattern),
        "destination.port" => Ok(Values::Port),
        "source.namespace"
        | "source.principal"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter"
        | "connection.sni" => Ok(Values::Text),
        "destination.namespace" => unknown(format!("{key:?} is the namespace of the policy itself: leave it out")),
        "destination.name" | "destination.user" => {
            unknown(format!("{key:?} is not known any more: use the selector of the policy"))
        }
        _ if key.starts_with("destination.labels[") => unknown(format!("{key:?}: use the selector of the policy")),
        _ => match ["request.headers", "request.auth.claims", "experimental.envoy.filters."]
            .iter()
            .find(|start| key.starts_with(**start))
        {
            Some(_) if has_member(key) => Ok(Values::Text),
            Some(start) => unknown(format!("{key:?} is not of the form {}", example(start))),
            None => unknown(format!("{key:?} is not a key that is known")),
        },
    }
}

fn example(start: &str) -> &'static str {
    match start {
        "request.headers" => "request.headers[name]",
        "request.auth.claims" => "request.auth.claims[name]",
        _ => "experimental.envoy.filters.name[key]",
    }
}

/// `a[b]`.
fn has_member(key: &str) -> bool {
    key.split_once('[').is_some_and(|(before, rest)| {
        !before.is_empty() && rest.strip_suffix(']').is_some_and(|member| !member.is_empty())
    })
}

fn is_identity(key: &str) -> bool {
    let keys = ["source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"];
    keys.contains(&key) || key.starts_with("request.auth.")
}

/// Whether a condition asks for what only requests of HTTP have.
pub(super) fn asks_http(condition: &Condition) -> bool {
    condition.key.starts_with("request.")
}
