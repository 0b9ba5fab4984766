//! Rules of metadata (contract §10).

use serde_json::Value;

use crate::{
    api::Kind,
    model::{Code, ObjectRef, Problem},
};

const DRY_RUN: &str = "istio.io/dry-run";

/// Written by the control plane only; the first one asks the webhook to refuse, as its own probe does.
const RESERVED: [&str; 3] =
    ["internal.istio.io/webhook-always-reject", "internal.istio.io/parents", "internal.istio.io/parent-namespace"];

/// What is wrong with the metadata of an object of Istio's.
pub(super) fn check(kind: Kind, object: &Value, of: &ObjectRef) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |code, field: String, reason| problems.push(Problem { object: of.clone(), field, reason, code });
    let meta = &object["metadata"];
    let text = |key: &str| meta[key].as_str().unwrap_or_default();
    if text("name").is_empty() && text("generateName").is_empty() {
        add(Code::NameMissing, "metadata.name".to_owned(), format!("a {kind} needs a name"));
    }
    let annotations = meta["annotations"].as_object();
    for (key, value) in annotations.into_iter().flatten() {
        let field = || format!("metadata.annotations[{key}]");
        if RESERVED.contains(&key.as_str()) {
            add(Code::ReservedAnnotation, field(), "only the control plane itself sets this annotation".to_owned());
        }
        if key == DRY_RUN
            && let Some(reason) = wrong_dry_run(kind, object, value)
        {
            add(Code::DryRunInvalid, field(), reason);
        }
    }
    problems
}

/// A dry run is of what refuses requests: authorization by ALLOW or DENY.
fn wrong_dry_run(kind: Kind, object: &Value, value: &Value) -> Option<String> {
    if kind != Kind::AuthorizationPolicy {
        return Some(format!("a {kind} has no dry run: only AuthorizationPolicies have"));
    }
    // As Go reads booleans.
    let words = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
    if !value.as_str().is_some_and(|word| words.contains(&word)) {
        return Some(format!("{value} is not a boolean: use \"true\" or \"false\""));
    }
    match object["spec"]["action"].as_str() {
        None | Some("" | "ALLOW" | "DENY") => None,
        Some(action) => Some(format!("action {action} has no dry run: only ALLOW and DENY have")),
    }
}
