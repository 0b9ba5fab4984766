//! Values of templates as JSON, and back.
//!
//! Istio's templates see structures of Go, whose fields have names of Go: `.Spec.Containers`. What is written out of them has
//! the names of JSON. Such a structure keeps what it is in JSON under a name that no template can say.

use std::{collections::BTreeMap, sync::Arc};

use gotmpl::Value;
use serde_json::{Map, Number, Value as Json};

/// What a structure is in JSON.
const ORIGINAL: &str = "\u{1}";
/// The most values within one.
const MOST: usize = 200_000;
/// The most bytes of text within one.
const LONGEST: usize = 4 * 1024 * 1024;
/// The deepest one.
const DEEPEST: usize = 64;

/// Fields that are maps in Go too: their keys are the user's.
const MAPS: [&str; 10] = [
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "overhead",
    "proxyMetadata",
    "requests",
    "runtimeValues",
    "volumeAttributes",
];
/// Fields that are wrapped in Go, so that they can be absent.
const WRAPPED: [&str; 5] =
    ["concurrency", "enableAutoMtls", "enablePrometheusMerge", "holdApplicationUntilProxyStarts", "allowAny"];
/// Names that differ in more than the case of the first letter.
const NAMES: [(&str, &str); 18] = [
    ("apiVersion", "APIVersion"),
    ("csi", "CSI"),
    ("dnsConfig", "DNSConfig"),
    ("dnsPolicy", "DNSPolicy"),
    ("fsGroup", "FSGroup"),
    ("fsGroupChangePolicy", "FSGroupChangePolicy"),
    ("fsType", "FSType"),
    ("grpc", "GRPC"),
    ("httpGet", "HTTPGet"),
    ("httpHeaders", "HTTPHeaders"),
    ("ip", "IP"),
    ("iscsi", "ISCSI"),
    ("nfs", "NFS"),
    ("os", "OS"),
    ("seLinuxOptions", "SELinuxOptions"),
    ("tcpSocket", "TCPSocket"),
    ("tty", "TTY"),
    ("uid", "UID"),
];

/// A structure of Go.
pub(super) fn structure(json: &Json) -> Value {
    match json {
        Json::Object(fields) => {
            let named = fields.iter().map(|(name, value)| (go_name(name), field(name, value)));
            map(named.chain([(ORIGINAL.to_owned(), plain(json))]))
        }
        Json::Array(items) => Value::from(items.iter().map(structure).collect::<Vec<_>>()),
        json => plain(json),
    }
}

fn field(name: &str, value: &Json) -> Value {
    if MAPS.contains(&name) {
        plain(value)
    } else if WRAPPED.contains(&name) && !value.is_object() {
        let inner = plain(value);
        map([("Value", inner.clone()), ("GetValue", inner.clone()), (ORIGINAL, inner)].map(|(k, v)| (k.to_owned(), v)))
    } else {
        structure(value)
    }
}

fn go_name(name: &str) -> String {
    if let Some((_, other)) = NAMES.iter().find(|(json, _)| *json == name) {
        return (*other).to_owned();
    }
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A value whose maps are maps in Go.
pub(super) fn plain(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(yes) => Value::Bool(*yes),
        Json::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_u64().map(Value::Uint))
            .unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or_default())),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(plain).collect::<Vec<_>>()),
        Json::Object(fields) => map(fields.iter().map(|(name, value)| (name.clone(), plain(value)))),
    }
}

/// A map.
pub(super) fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::from(entries.into_iter().collect::<BTreeMap<_, _>>())
}

/// What a value is in JSON.
pub(super) fn json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(yes) => Json::Bool(*yes),
        Value::Int(number) => Json::from(*number),
        Value::Uint(number) => Json::from(*number),
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => match entries.get(ORIGINAL) {
            Some(original) => json(original),
            None => Json::Object(entries.iter().map(|(k, v)| (k.to_string(), json(v))).collect::<Map<_, _>>()),
        },
    }
}

/// The entries of a map, without what only we know of.
pub(super) fn entries(value: &Value) -> Option<impl Iterator<Item = (&Arc<str>, &Value)>> {
    let Value::Map(entries) = value else { return None };
    Some(entries.iter().filter(|(key, _)| &***key != ORIGINAL))
}

/// Whether a value is not too large: templates can make such that grow with each step.
pub(super) fn within_limits(value: &Value) -> Result<(), String> {
    let (mut values, mut bytes) = (0, 0);
    if fits(value, 0, &mut values, &mut bytes) {
        return Ok(());
    }
    Err(format!("a value has more than {MOST} parts or {LONGEST} bytes, or is deeper than {DEEPEST}"))
}

fn fits(value: &Value, depth: usize, values: &mut usize, bytes: &mut usize) -> bool {
    *values += 1;
    let whole = match value {
        Value::String(text) => {
            *bytes += text.len();
            true
        }
        Value::List(items) => items.iter().all(|item| fits(item, depth + 1, values, bytes)),
        Value::Map(entries) => entries.iter().all(|(key, value)| {
            *bytes += key.len();
            fits(value, depth + 1, values, bytes)
        }),
        _ => true,
    };
    whole && depth <= DEEPEST && *values <= MOST && *bytes <= LONGEST
}
