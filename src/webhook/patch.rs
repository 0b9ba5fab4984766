//! JSON patches between two versions of an object, element by element in lists whose elements have names: the API server
//! applies them to an object that may have more fields than are known here, and those must stay with their elements.

use serde_json::{Map, Value, json};

/// The operations (RFC 6902) that make one value of another.
#[must_use]
pub fn diff(before: &Value, after: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    compare("", before, after, &mut operations);
    operations
}

fn compare(path: &str, before: &Value, after: &Value, out: &mut Vec<Value>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => compare_objects(path, before, after, out),
        (Value::Array(old), Value::Array(new)) => match (names(old), names(new)) {
            (Some(old_names), Some(new_names)) => compare_lists(path, (old, &old_names), (new, &new_names), out),
            _ => out.push(json!({"op": "replace", "path": path, "value": after})),
        },
        _ => out.push(json!({"op": "replace", "path": path, "value": after})),
    }
}

fn compare_objects(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, out: &mut Vec<Value>) {
    for (key, value) in after {
        let at = format!("{path}/{}", escaped(key));
        match before.get(key) {
            Some(old) => compare(&at, old, value, out),
            None => out.push(json!({"op": "add", "path": at, "value": value})),
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        out.push(json!({"op": "remove", "path": format!("{path}/{}", escaped(key))}));
    }
}

/// Removes what is gone, moves and adds what is not at its place, and then compares the elements.
fn compare_lists(
    path: &str,
    (old, old_names): (&[Value], &[&str]),
    (new, names): (&[Value], &[&str]),
    out: &mut Vec<Value>,
) {
    let mut now: Vec<&str> = old_names.to_vec();
    for at in (0..now.len()).rev().filter(|at| !names.contains(&old_names[*at])) {
        out.push(json!({"op": "remove", "path": format!("{path}/{at}")}));
        now.remove(at);
    }
    for (at, name) in names.iter().enumerate() {
        match now.iter().position(|n| n == name) {
            Some(there) if there == at => {}
            Some(there) => {
                out.push(json!({"op": "move", "from": format!("{path}/{there}"), "path": format!("{path}/{at}")}));
                let moved = now.remove(there);
                now.insert(at, moved);
            }
            None => {
                out.push(json!({"op": "add", "path": format!("{path}/{at}"), "value": new[at]}));
                now.insert(at, name);
            }
        }
    }
    for (at, name) in names.iter().enumerate() {
        if let Some(was) = old_names.iter().position(|n| n == name) {
            compare(&format!("{path}/{at}"), &old[was], &new[at], out);
        }
    }
}

/// The names of a list's elements, if all have one and none is there twice.
fn names(list: &[Value]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = list.iter().map(|item| item.get("name")?.as_str()).collect();
    names.filter(|names| names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)))
}

/// A key as a step of a JSON pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(before: &Value, operations: Vec<Value>) -> Value {
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).expect("a patch");
        let mut made = before.clone();
        json_patch::patch(&mut made, &patch).expect("it applies");
        made
    }

    #[test]
    fn fields_that_are_not_known_stay_with_their_element() {
        let known = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let wanted = json!({"spec": {"containers": [{"name": "proxy"}, {"name": "b", "image": "x"}, {"name": "a"}]}});
        let real = json!({"spec": {"containers": [{"name": "a", "new": 1}, {"name": "b", "new": 2}]}, "other/": true});
        let made = applied(&real, diff(&known, &wanted));
        let containers = &made["spec"]["containers"];
        assert_eq!(containers[1], json!({"name": "b", "image": "x", "new": 2}));
        assert_eq!((&containers[0], &containers[2]["new"]), (&json!({"name": "proxy"}), &json!(1)));
        assert_eq!(diff(&json!({"a/b~": 1}), &json!({})), [json!({"op": "remove", "path": "/a~1b~0"})]);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3u8).prop_map(Value::from), Just(Value::Null)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let named = (0..4u8, inner.clone()).prop_map(|(n, value)| json!({"name": format!("n{n}"), "v": value}));
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(named, 0..5).prop_map(Value::from),
                prop::collection::btree_map("[ab/~]{1,2}", inner, 0..4)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_one_of_the_other(before in value(), after in value()) {
            let (before, after) = (json!({"x": before}), json!({"x": after}));
            prop_assert_eq!(applied(&before, diff(&before, &after)), after);
        }
    }
}
