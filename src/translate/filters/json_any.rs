//! Reads free-form JSON, such as the values of an EnvoyFilter's patches, as Envoy's messages.
//!
//! The rules are those of protobuf's JSON mapping: fields by either of their names, `null` for an absent one,
//! enums by name or number, 64-bit numbers as strings or numbers, `@type` in an `Any`, special forms for
//! durations, structs and wrappers. Messages of types that we do not know can be passed through to Envoy inside
//! a `TypedStruct`.

mod error;
mod reader;
mod scalar;
mod similar;
mod well_known;
mod wire;

use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use serde_json::Value as Json;

pub use error::{JsonAnyError, JsonAnyProblem};
use reader::Reader;

use super::descriptors;

/// How many names that are not known are compared with all that are: for one object it should be all that somebody reads.
pub const SUGGESTIONS: usize = 16;

/// How deep the parts of a value may lie, added up: each is moved once for every message around it.
const MAX_WEIGHT: usize = 2_000_000;

/// Reads an object such as `{"@type": "type.googleapis.com/…", …}`. The bytes depend on the content alone.
///
/// # Errors
///
/// Names the first field that is unknown, repeated or has a value of the wrong kind.
pub fn json_to_any(value: &Json) -> Result<Any, JsonAnyError> {
    let mut reader = Reader::new(SUGGESTIONS);
    check_weight(&reader, value)?;
    let any = reader.any(value)?;
    reader.into_unknown().into_iter().next().map_or(Ok(any), Err)
}

/// Reads an object as a message of a known type. Fields that the message does not have are left out, as the
/// reference does, and returned for the user to know, as is what should not be written as it is. `suggestions`: for how
/// many unknown names a similar one may be looked for.
///
/// # Errors
///
/// Names the first field that is repeated or has a value of the wrong kind.
pub fn json_to_message<M: Message + Name + Default>(
    value: &Json,
    suggestions: &mut usize,
) -> Result<(M, Vec<JsonAnyError>), JsonAnyError> {
    let (encoded, notes) = read(&M::full_name(), value, suggestions)?;
    let too_deep = |_| Reader::new(0).wrong("a message without such deep nesting", value);
    M::decode(&encoded[..]).map(|message| (message, notes)).map_err(too_deep)
}

/// The same of a message that is known by its full name only; it is only looked at.
///
/// # Errors
///
/// As of [`json_to_message`].
pub fn check_message(
    full_name: &str,
    value: &Json,
    suggestions: &mut usize,
) -> Result<Vec<JsonAnyError>, JsonAnyError> {
    read(full_name, value, suggestions).map(|(_, notes)| notes)
}

fn read(full_name: &str, value: &Json, suggestions: &mut usize) -> Result<(Vec<u8>, Vec<JsonAnyError>), JsonAnyError> {
    let mut reader = Reader::new(*suggestions);
    check_weight(&reader, value)?;
    let descriptor = descriptors::message(full_name).ok_or_else(|| reader.unknown_type(full_name))?;
    let mut encoded = Vec::new();
    let read = reader.message(&descriptor, value, &mut encoded);
    *suggestions = reader.suggestions;
    read.map(|()| (encoded, reader.into_notes()))
}

fn check_weight(reader: &Reader, value: &Json) -> Result<(), JsonAnyError> {
    fn spend(value: &Json, depth: usize, left: usize) -> Option<usize> {
        let left = left.checked_sub(depth)?;
        match value {
            Json::Array(items) => items.iter().try_fold(left, |left, item| spend(item, depth + 1, left)),
            Json::Object(fields) => fields.values().try_fold(left, |left, field| spend(field, depth + 1, left)),
            _ => Some(left),
        }
    }
    let light = spend(value, 1, MAX_WEIGHT);
    light.map(|_| ()).ok_or_else(|| reader.wrong("a smaller value, or one that is nested less deeply", value))
}

#[cfg(test)]
mod tests;
