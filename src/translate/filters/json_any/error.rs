//! What can be wrong with JSON that should be a message.

use serde_json::Value as Json;

/// Something wrong in one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct JsonAnyError {
    /// The path of the field from the value that was read, e.g. `typed_config.token_bucket.max_tokens`; empty for
    /// the value itself.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub problem: JsonAnyProblem,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonAnyProblem {
    /// An `Any` that does not say what it is.
    #[error("needs an `@type`, for example `type.googleapis.com/envoy.extensions.filters.http.router.v3.Router`")]
    NoType,
    /// A type that is not among Envoy's messages.
    #[error(
        "`{name}` is none of the messages of the Envoy API{}; a message that only Envoy knows can be given in a \
         `type.googleapis.com/xds.type.v3.TypedStruct`",
        meant(nearest)
    )]
    UnknownType {
        /// The full name.
        name: String,
        /// The most similar name.
        nearest: Option<String>,
    },
    /// A field that the message does not have.
    #[error("`{message}` has no such field{}", meant(nearest))]
    UnknownField {
        /// The full name of the message.
        message: String,
        /// The most similar field.
        nearest: Option<String>,
    },
    /// A field was given twice, by both of its names.
    #[error("is given twice, in snake_case and in camelCase; one of them is to go")]
    Twice,
    /// Another field of the same `oneof` is set.
    #[error("cannot be set together with `{other}`; one of them is to go")]
    Exclusive {
        /// The other field.
        other: String,
    },
    /// A field that Envoy is going to remove. No error.
    #[error("is deprecated in `{message}`: Envoy is going to remove it")]
    Deprecated {
        /// The full name of the message.
        message: String,
    },
    /// An extension without configuration. No error.
    #[error("`{message}` has no `typed_config`, by which Envoy would know the extension")]
    NoTypedConfig {
        /// The full name of the message.
        message: String,
    },
    /// A value of the wrong kind or out of range.
    #[error("is {found}, but must be {expected}")]
    Wrong {
        /// What it is.
        found: String,
        /// What would be right.
        expected: String,
    },
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(" (`{name}` would be one)"))
}

/// A JSON value in a sentence: its kind, and what it is when that is short.
pub(super) fn describe(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(flag) => format!("{flag}"),
        Json::Number(number) => format!("the number {number}"),
        Json::String(text) if text.chars().count() <= 60 => format!("the string `{text}`"),
        Json::String(_) => "a string".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}
