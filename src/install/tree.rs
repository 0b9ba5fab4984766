//! Trees of values as files have them: laid over each other, and changed at a path (`--set`).

use serde_json::{Map, Value};

use super::InstallError;

/// Lists whose elements are told apart by their name; other lists are replaced as a whole.
const BY_NAME: [&str; 3] = ["ingressGateways", "egressGateways", "env"];

/// Lays a tree over another one. A key without a value says nothing.
pub(super) fn overlay(base: &mut Value, over: Value) {
    overlay_at("", base, over);
}

fn overlay_at(key: &str, base: &mut Value, over: Value) {
    match (base, over) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(old) => overlay_at(&key, old, value),
                    None if value.is_null() => {}
                    None => drop(base.insert(key, without_nulls(value))),
                }
            }
        }
        (Value::Array(base), Value::Array(over)) if BY_NAME.contains(&key) => overlay_by_name(key, base, over),
        (base, over) => *base = without_nulls(over),
    }
}

fn overlay_by_name(key: &str, base: &mut Vec<Value>, over: Vec<Value>) {
    for element in over {
        let same = |old: &&mut Value| element.get("name").is_some() && old.get("name") == element.get("name");
        match base.iter_mut().find(same) {
            // A variable has either a value or a place where it is from.
            Some(old) if key == "env" => *old = without_nulls(element),
            Some(old) => overlay_at("", old, element),
            None => base.push(without_nulls(element)),
        }
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        Value::Array(elements) => elements.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// Amounts of resources may be written as numbers; Kubernetes' types have texts.
pub(super) fn amounts_as_text(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::Object(amounts) if matches!(key.as_str(), "requests" | "limits") => {
                        for amount in amounts.values_mut().filter(|amount| amount.is_number()) {
                            *amount = amount.to_string().into();
                        }
                    }
                    other => amounts_as_text(other),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(amounts_as_text),
        _ => {}
    }
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A member of a map.
    Key(String),
    /// An element by its number; one behind the last is added.
    Index(usize),
    /// The element that has this member, or, where the member is empty, that is this text.
    With(String, String),
}

/// Reads `a.b\.c[0].[name:x]`.
pub(super) fn steps(path: &str) -> Result<Vec<Step>, String> {
    let mut all = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (selector, after) = inside.split_once(']').ok_or_else(|| format!("{rest:?} lacks a closing ]"))?;
            all.push(selected(selector)?);
            rest = after;
        } else {
            let (key, after) = key(rest);
            if key.is_empty() {
                return Err("a key is empty".to_owned());
            }
            all.push(Step::Key(key));
            rest = after;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    if all.is_empty() { Err("it is empty".to_owned()) } else { Ok(all) }
}

fn selected(selector: &str) -> Result<Step, String> {
    if let Ok(index) = selector.parse() {
        return Ok(Step::Index(index));
    }
    let (key, value) = selector.split_once(':').ok_or_else(|| {
        format!("[{selector}] is neither a number nor a member of the element, such as [name:discovery]")
    })?;
    Ok(Step::With(key.to_owned(), value.to_owned()))
}

/// A key up to a dot or bracket that is not escaped, and what follows.
fn key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => key.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (key, &text[at..]),
            other => key.push(other),
        }
    }
    (key, "")
}

/// Sets what is at a path, and makes the way there; `None` removes it.
pub(super) fn set(tree: &mut Value, path: &[Step], value: Option<Value>) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *tree = value.unwrap_or(Value::Null);
        return Ok(());
    };
    if rest.is_empty() && value.is_none() {
        return remove(tree, step);
    }
    let inner = match step {
        Step::Key(key) => {
            if tree.is_null() {
                *tree = Value::Object(Map::new());
            }
            let found = tree.as_object_mut().ok_or_else(|| format!("what holds {key:?} is not a map"))?;
            found.entry(key).or_insert(Value::Null)
        }
        Step::Index(index) => {
            let list = list(tree)?;
            if *index >= list.len() {
                list.push(Value::Null);
            }
            let at = (*index).min(list.len() - 1);
            &mut list[at]
        }
        Step::With(key, wanted) => {
            let list = list(tree)?;
            let at = list.iter().position(|element| has(element, key, wanted));
            let at = at.ok_or_else(|| format!("there is no element with {key}:{wanted}"))?;
            &mut list[at]
        }
    };
    set(inner, rest, value)
}

fn list(tree: &mut Value) -> Result<&mut Vec<Value>, String> {
    if tree.is_null() {
        *tree = Value::Array(Vec::new());
    }
    tree.as_array_mut().ok_or_else(|| "what holds an element is not a list".to_owned())
}

fn has(element: &Value, key: &str, wanted: &str) -> bool {
    let member = if key.is_empty() { Some(element) } else { element.get(key) };
    match member {
        Some(Value::String(text)) => text == wanted,
        Some(Value::Number(number)) => wanted == number.to_string(),
        _ => false,
    }
}

fn remove(tree: &mut Value, step: &Step) -> Result<(), String> {
    match (tree, step) {
        (Value::Object(members), Step::Key(key)) => {
            members.shift_remove(key).map(drop).ok_or_else(|| format!("there is no {key:?} to remove"))
        }
        (Value::Array(elements), Step::Index(index)) if *index < elements.len() => {
            elements.remove(*index);
            Ok(())
        }
        (Value::Array(elements), Step::With(key, wanted)) => {
            let at = elements.iter().position(|element| has(element, key, wanted));
            elements.remove(at.ok_or_else(|| format!("there is no element with {key}:{wanted} to remove"))?);
            Ok(())
        }
        _ => Err("there is nothing to remove".to_owned()),
    }
}

/// A `path=value` of the command line. Words and whole numbers are what they are in YAML, and so are lists and maps in
/// brackets; the rest is text, `1.10` too.
pub(super) fn setting(text: &str) -> Result<(Vec<Step>, Value), InstallError> {
    let wrong = |reason: String| InstallError::Set { text: text.to_owned(), reason };
    let (path, value) = text.split_once('=').ok_or_else(|| wrong("it must be path=value".to_owned()))?;
    let path = steps(path).map_err(|reason| wrong(format!("the path cannot be used: {reason}")))?;
    let is_number = || value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    let value = match value {
        "true" => true.into(),
        "false" => false.into(),
        flow if flow.starts_with(['[', '{']) => {
            serde_yaml_ng::from_str(flow).map_err(|error| wrong(format!("the value is no YAML: {error}")))?
        }
        number if is_number() => number.parse::<i64>().map_or_else(|_| number.into(), Value::from),
        other => other.into(),
    };
    Ok((path, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_merged_lists_replaced_and_gateways_told_apart_by_name() {
        let mut tree = json!({"a": {"b": 1, "c": [1, 2]}, "ingressGateways": [{"name": "x", "enabled": true}]});
        let over = json!({"a": {"c": [3], "b": null, "d": {"e": null}},
            "ingressGateways": [{"name": "x", "k8s": {}}, {"name": "y"}]});
        overlay(&mut tree, over);
        let expected = json!({"a": {"b": 1, "c": [3], "d": {}},
            "ingressGateways": [{"name": "x", "enabled": true, "k8s": {}}, {"name": "y"}]});
        assert_eq!(tree, expected);
    }

    #[test]
    fn settings_of_the_command_line_have_types() {
        let value = |text: &str| setting(text).expect("a setting").1;
        assert_eq!(value("a=true"), json!(true));
        assert_eq!(value("a=3"), json!(3));
        assert_eq!(value("tag=1.10"), json!("1.10"));
        assert_eq!(value("a=007"), json!("007"));
        assert_eq!(value("a="), json!(""));
        assert_eq!(value("a=[x, 1]"), json!(["x", 1]));
        let message = |text: &str| setting(text).expect_err("wrong").to_string();
        assert_eq!(message("profile"), "--set profile: it must be path=value");
        assert_eq!(message("=1"), "--set =1: the path cannot be used: it is empty");
        assert_eq!(message("a..b=1"), "--set a..b=1: the path cannot be used: a key is empty");
        assert!(message("a[x]=1").contains("[x] is neither a number nor a member"), "{}", message("a[x]=1"));
    }

    #[test]
    fn paths_lead_into_maps_and_lists() {
        let mut tree = json!({"containers": [{"name": "discovery", "args": ["a", "b"]}]});
        let mut change = |path: &str, value: Option<Value>| set(&mut tree, &steps(path).expect("a path"), value);
        change("containers.[name:discovery].args.[1]", Some(json!("c"))).expect("set");
        change("containers[0].args[99]", Some(json!("last"))).expect("added");
        change("containers.[name:discovery].args.[:a]", None).expect("removed");
        change(r"metadata.annotations.a\.b/c", Some(json!("x"))).expect("made");
        let missing = change("containers.[name:other].image", Some(json!("x"))).expect_err("none");
        assert_eq!(missing, "there is no element with name:other");
        assert_eq!(change("nothing", None).expect_err("none"), "there is no \"nothing\" to remove");
        let expected = json!({"containers": [{"name": "discovery", "args": ["c", "last"]}],
            "metadata": {"annotations": {"a.b/c": "x"}}});
        assert_eq!(tree, expected);
    }
}
