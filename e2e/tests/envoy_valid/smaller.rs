//! The smallest form of an object that is still accepted, and refused by Envoy.

use anyhow::Result;
use mizzen_e2e::{Acceptance, Made};
use serde_json::Value;

use super::accepted;

/// Takes out one part after the other, as long as that is possible; all ways of a round are asked of one Envoy.
pub(crate) async fn smallest(object: &Value) -> Result<Value> {
    let mut best = object.clone();
    loop {
        let mut ways: Vec<Value> = Vec::new();
        for pointer in parts(&best["spec"], "/spec") {
            let mut less = best.clone();
            remove(&mut less, &pointer);
            if accepted(&less) {
                ways.push(less);
            }
        }
        let made = ways.iter().map(Made::of).collect::<Result<Vec<_>>>()?;
        let refused = Acceptance::of(&made).await?.refused;
        let Some(less) = refused.keys().map(|n| &ways[*n]).min_by_key(|less| less.to_string().len()) else {
            return Ok(best);
        };
        best = less.clone();
    }
}

/// Where all parts of a value are, outer ones first.
fn parts(value: &Value, at: &str) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let part = |(key, value): (String, &Value)| {
        let path = format!("{at}/{key}");
        let within = parts(value, &path);
        std::iter::once(path).chain(within)
    };
    inner.into_iter().flat_map(part).collect()
}

fn remove(object: &mut Value, pointer: &str) {
    let Some((outer, key)) = pointer.rsplit_once('/') else { return };
    match object.pointer_mut(outer) {
        Some(Value::Object(map)) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Some(Value::Array(list)) => drop(key.parse().ok().filter(|n| *n < list.len()).map(|n: usize| list.remove(n))),
        _ => {}
    }
}
