//! Paths of fields: `spec.http[2].match[0].headers["x-a"].regex`, `metadata.annotations[istio.io/dry-run]`.

use std::{cmp::Ordering, iter::Peekable, str::CharIndices};

use serde_json::Value;

/// Values with more parts, or longer texts, are not repeated in findings: many findings may be about the same one.
const LARGEST: usize = 256;

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    /// A member of a map.
    Key(&'a str),
    /// A member of a map whose name is quoted, as `{:?}` writes it.
    Quoted(&'a str),
}

impl<'a> Step<'a> {
    /// As it is written.
    const fn text(&self) -> &'a str {
        match self {
            Self::Key(text) | Self::Quoted(text) => text,
        }
    }
}

/// The value at a path, if there is one that is not long.
pub(super) fn value_at(object: &Value, path: &str) -> Option<Value> {
    if path.is_empty() {
        return None;
    }
    let found = steps(path).try_fold(object, |value, step| match (value, step) {
        (Value::Object(map), Step::Key(key)) => map.get(key),
        (Value::Object(map), Step::Quoted(text)) => map.get(&serde_json::from_str::<String>(text).ok()?),
        (Value::Array(list), Step::Key(index)) => list.get(index.parse::<usize>().ok()?),
        _ => None,
    })?;
    let mut budget = LARGEST;
    fits(found, &mut budget).then(|| found.clone())
}

/// Takes out the value at a path, or the whole list that it is an item of: other items keep their places. Returns whether
/// it was there.
pub(super) fn remove(object: &mut Value, path: &str) -> bool {
    fn inside<'a>(value: &'a mut Value, key: &&str) -> Option<&'a mut Value> {
        match value {
            Value::Object(map) => map.get_mut(*key),
            Value::Array(list) => list.get_mut(key.parse::<usize>().ok()?),
            _ => None,
        }
    }
    let mut keys: Vec<&str> = steps(path).map(|step| step.text()).collect();
    while let Some(last) = keys.pop() {
        match keys.iter().try_fold(&mut *object, inside) {
            Some(Value::Object(map)) => return map.remove(last).is_some(),
            Some(Value::Array(_)) => {}
            _ => return false,
        }
    }
    false
}

/// Whether a path is that of a value that holds another one, or its own.
pub(super) fn holds(outer: &str, inner: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || outer.is_empty() || rest.starts_with(['.', '[']))
}

/// The outermost item of a list that holds a value and is not the value.
pub(super) fn item_around(path: &str) -> Option<&str> {
    let begins = path.match_indices('[').map(|(at, _)| at);
    let ends = begins.filter_map(|at| {
        let (index, _) = path[at + 1..].split_once(']')?;
        let is_index = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        is_index.then_some(at + 1 + index.len() + 1)
    });
    ends.take(1).find(|end| *end < path.len()).map(|end| &path[..end])
}

/// Whether a value has no more parts than that.
pub(super) fn is_small(value: &Value, most: usize) -> bool {
    fn spend(value: &Value, left: usize) -> Option<usize> {
        let left = left.checked_sub(1)?;
        match value {
            Value::Array(list) => list.iter().try_fold(left, |left, item| spend(item, left)),
            Value::Object(map) => map.values().try_fold(left, |left, item| spend(item, left)),
            _ => Some(left),
        }
    }
    spend(value, most).is_some()
}

fn fits(value: &Value, budget: &mut usize) -> bool {
    let mut spend = |size: usize| {
        let left = budget.checked_sub(size);
        *budget = left.unwrap_or(0);
        left.is_some()
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => spend(1),
        Value::String(text) => spend(text.len()),
        Value::Array(list) => spend(1) && list.iter().all(|item| fits(item, budget)),
        Value::Object(map) => spend(1 + map.len()) && map.values().all(|item| fits(item, budget)),
    }
}

/// Paths in the order of the fields: indices by number.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let number = |step: &Step<'_>| match step {
        Step::Key(text) => text.parse::<u64>().ok(),
        Step::Quoted(_) => None,
    };
    let (mut left, mut right) = (steps(a), steps(b));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(l), Some(r)) => match (number(&l), number(&r)) {
                (Some(l), Some(r)) => l.cmp(&r),
                _ => l.text().cmp(r.text()),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut chars = path.char_indices().peekable();
    std::iter::from_fn(move || next_step(path, &mut chars))
}

fn next_step<'a>(path: &'a str, chars: &mut Peekable<CharIndices<'a>>) -> Option<Step<'a>> {
    chars.next_if(|(_, c)| *c == '.');
    let (start, first) = chars.next()?;
    if first != '[' {
        while chars.next_if(|(_, c)| !matches!(c, '.' | '[')).is_some() {}
        let end = chars.peek().map_or(path.len(), |(at, _)| *at);
        return Some(Step::Key(&path[start..end]));
    }
    if chars.peek().is_some_and(|(_, c)| *c == '"') {
        let open = chars.next().map_or(start, |(at, _)| at);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => _ = chars.next(),
                '"' => {
                    chars.next_if(|(_, c)| *c == ']');
                    return Some(Step::Quoted(&path[open..=at]));
                }
                _ => {}
            }
        }
        return Some(Step::Quoted(&path[open..]));
    }
    let (end, _) = chars.find(|(_, c)| *c == ']')?;
    Some(Step::Key(&path[start + 1..end]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_found_by_their_paths() {
        let object = json!({
            "metadata": {"annotations": {"istio.io/a": "x"}},
            "spec": {"http": [{"headers": {"a.b": {"exact": "y"}, "q\"]": 5}}], "ports": {"80": 1}},
        });
        for (path, value) in [
            ("spec.ports[80]", json!(1)),
            ("spec.http[0].headers[\"a.b\"].exact", json!("y")),
            ("spec.http[0].headers[\"q\\\"]\"]", json!(5)),
            ("metadata.annotations[istio.io/a]", json!("x")),
            ("spec.ports", json!({"80": 1})),
        ] {
            assert_eq!(value_at(&object, path), Some(value), "{path}");
        }
        for path in ["", "spec.http[1]", "spec.http[x]", "spec..http.x", "spec.http[\"", "data.mesh: a"] {
            assert_eq!(value_at(&object, path), None, "{path}");
        }
    }

    #[test]
    fn values_are_taken_out() {
        let object = json!({"a": {"b": [{"c": 1, "d": 2}, 5]}, "e": 3});
        let without = |path: &str| {
            let mut object = object.clone();
            remove(&mut object, path).then_some(object)
        };
        assert_eq!(without("a.b[0].c"), Some(json!({"a": {"b": [{"d": 2}, 5]}, "e": 3})));
        assert_eq!(without("a.b[1]"), Some(json!({"a": {}, "e": 3})));
        assert_eq!(without("a"), Some(json!({"e": 3})));
        for path in ["", "a.x", "a.b[7].c", "a.b[x].c", "e.f", "a.b[1].c", "?"] {
            assert_eq!(without(path), None, "{path}");
        }
        assert!(holds("a", "a.b") && holds("a", "a[0]") && holds("a", "a") && holds("", "a"));
        assert!(!holds("a.b", "a") && !holds("a", "ab"));
        assert!(is_small(&object, 8) && !is_small(&object, 7));
        let around =
            ["a.b[0].c[1].d", "a.b[0].c", "a.b[0]", "a[x].b", "a[\"0\"].b[12].c", "a", "", "[", "a[]"].map(item_around);
        let expected = [Some("a.b[0]"), Some("a.b[0]"), None, None, Some("a[\"0\"].b[12]"), None, None, None, None];
        assert_eq!(around, expected);
    }

    #[test]
    fn long_values_are_not_repeated() {
        let long = "x".repeat(LARGEST + 1);
        assert_eq!(value_at(&json!({"a": long}), "a"), None);
        assert_eq!(value_at(&json!({"a": vec![0; LARGEST + 1]}), "a"), None);
        assert!(value_at(&json!({"a": vec![0; 10]}), "a").is_some());
    }

    #[test]
    fn paths_are_in_the_order_of_the_fields() {
        let mut paths = ["spec.b", "spec.a[10]", "spec.a[9].x", "spec.a[9]", "", "metadata"];
        paths.sort_by(|a, b| compare(a, b));
        assert_eq!(paths, ["", "metadata", "spec.a[9]", "spec.a[9].x", "spec.a[10]", "spec.b"]);
    }
}
