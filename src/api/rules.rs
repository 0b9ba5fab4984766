//! Constraints of the CRD schemas that a Rust type cannot state: small transforms for `#[schemars(transform = …)]`.
//!
//! They describe what an API server accepts and have no effect on decoding. Validation rules are in CEL, as
//! `x-kubernetes-validations` of structural schemas.

use schemars::Schema;
use serde_json::{Value, json};

/// A DNS subdomain, or nothing.
pub(super) const DNS_NAME_OR_EMPTY: &str =
    r"^(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*)?$";

/// Adds a CEL rule, and what is said when it does not hold.
pub(super) fn rule(cel: &str, message: &str) -> impl FnMut(&mut Schema) + use<> {
    let added = json!({ "rule": cel, "message": message });
    move |schema| {
        let rules = schema.ensure_object().entry("x-kubernetes-validations").or_insert_with(|| json!([]));
        if let Value::Array(rules) = rules {
            rules.push(added.clone());
        }
    }
}

/// Allows one of the members, or none, by a CEL rule. It names each pair: the API server prices list operations too
/// high for rules inside long lists.
pub(super) fn at_most_one(members: &[&str]) -> impl FnMut(&mut Schema) + use<> {
    let pairs = members.iter().enumerate().flat_map(|(i, a)| members[i + 1..].iter().map(move |b| (a, b)));
    let rules: Vec<String> = pairs.map(|(a, b)| format!("!(has(self.{a}) && has(self.{b}))")).collect();
    rule(&rules.join(" && "), &format!("at most one of {} may be set", members.join(", ")))
}

/// Removes a rule again, where a type is used without it.
pub(super) fn without_rule(cel: &'static str) -> impl FnMut(&mut Schema) + use<> {
    move |schema| {
        if let Some(Value::Array(rules)) = schema.get_mut("x-kubernetes-validations") {
            rules.retain(|rule| rule["rule"] != cel);
        }
    }
}

/// Allows one of the members, or none, by the schema itself: a `oneof` of the wire format.
pub(super) fn oneof(members: &'static [&'static str]) -> impl FnMut(&mut Schema) + use<> {
    move |schema| {
        schema.insert("oneOf".into(), one_or_none(members));
    }
}

/// Several `oneof`s in one message.
pub(super) fn oneofs(groups: &'static [&'static [&'static str]]) -> impl FnMut(&mut Schema) + use<> {
    move |schema| {
        let groups: Vec<Value> = groups.iter().map(|members| json!({ "oneOf": one_or_none(members) })).collect();
        schema.insert("allOf".into(), groups.into());
    }
}

fn one_or_none(members: &[&str]) -> Value {
    let set: Vec<Value> = members.iter().map(|member| json!({ "required": [member] })).collect();
    let mut choices = vec![json!({ "not": { "anyOf": set } })];
    choices.extend(set);
    choices.into()
}

/// Makes a list a map by one member of its elements.
pub(super) fn list_map(key: &'static str) -> impl FnMut(&mut Schema) + use<> {
    move |schema| {
        schema.insert("x-kubernetes-list-type".into(), "map".into());
        schema.insert("x-kubernetes-list-map-keys".into(), json!([key]));
    }
}

/// Applies a transform to the elements of a list, or to the values of a map.
pub(super) fn values(mut transform: impl FnMut(&mut Schema)) -> impl FnMut(&mut Schema) {
    move |schema| {
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get_mut(key).and_then(|inner| <&mut Schema>::try_from(inner).ok()) {
                transform(inner);
            }
        }
    }
}

/// A member that may also be written in another way.
pub(super) fn alias(member: &'static str, other: &'static str) -> impl FnMut(&mut Schema) + use<> {
    move |schema| {
        if let Some(Value::Object(properties)) = schema.get_mut("properties")
            && let Some(property) = properties.get(member).cloned()
        {
            properties.insert(other.into(), property);
        }
    }
}

/// Bounds the entries of a map.
pub(super) fn max_properties(most: u32) -> impl FnMut(&mut Schema) {
    move |schema| {
        schema.insert("maxProperties".into(), most.into());
    }
}

/// Bounds the length of a string.
pub(super) fn max_length(most: u32) -> impl FnMut(&mut Schema) + use<> {
    move |schema| {
        schema.insert("maxLength".into(), most.into());
    }
}

/// Asks a string for a form.
pub(super) fn pattern(regex: &'static str) -> impl FnMut(&mut Schema) + use<> {
    move |schema| {
        schema.insert("pattern".into(), regex.into());
    }
}

/// The value of a label in a selector.
pub(super) fn label_value(schema: &mut Schema) {
    max_length(63)(schema);
    rule("!self.contains('*')", "a label value must not contain '*'")(schema);
}

/// Keeps members that the schema does not name.
pub(super) fn keep_unknown(schema: &mut Schema) {
    schema.remove("additionalProperties");
    schema.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
}
