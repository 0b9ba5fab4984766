//! The functions that templates call: Istio's, and of the library sprig those that are common.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use gotmpl::{FuncMap, TemplateError, Value};

use super::{istio, sprig};

/// What a function gives, or why it cannot.
pub(super) type Given = Result<Value, String>;
/// A function by name.
pub(super) type Function = (&'static str, fn(&[Value]) -> Given);

/// Those of Go's language itself.
const BUILT_IN: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

static MAP: LazyLock<FuncMap> = LazyLock::new(|| {
    let all = sprig::FUNCTIONS.iter().chain(istio::FUNCTIONS);
    all.map(|(name, function)| {
        let called = move |args: &[Value]| {
            function(args).map_err(|reason| TemplateError::Exec(format!("function {name}: {reason}")))
        };
        ((*name).to_owned(), Arc::new(called) as gotmpl::ValueFunc)
    })
    .collect()
});

/// All but those of the language; what Istio and sprig both have is Istio's.
pub(super) fn map() -> FuncMap {
    MAP.clone()
}

/// The names of all.
pub(super) fn all() -> HashSet<String> {
    MAP.keys().cloned().chain(BUILT_IN.map(str::to_owned)).collect()
}

/// Exactly so many arguments.
pub(super) fn exactly<const N: usize>(args: &[Value]) -> Result<&[Value; N], String> {
    args.try_into().map_err(|_| format!("takes {N} arguments, not {}", args.len()))
}

/// A text.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("takes a text, not a {}", value.type_name()))
}

/// Whatever it is, as a text.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    }
}

/// A whole number; texts are read.
pub(super) fn whole(value: &Value) -> Result<i64, String> {
    #[expect(clippy::cast_possible_truncation, reason = "as in Go; what is too large is the largest")]
    let found = match value {
        Value::Bool(yes) => Some(i64::from(*yes)),
        Value::Float(number) => Some(*number as i64),
        Value::String(text) => text.trim().parse().ok(),
        Value::Uint(number) => i64::try_from(*number).ok(),
        other => other.as_int(),
    };
    found.ok_or_else(|| format!("takes a whole number, not {}", shown(value)))
}

/// A count, such as that of blanks.
pub(super) fn count(value: &Value) -> Result<usize, String> {
    let most = 10_000;
    let count = usize::try_from(whole(value)?).ok().filter(|count| *count <= most);
    count.ok_or_else(|| format!("takes a number from 0 to {most}, not {}", shown(value)))
}
