//! Messages of `google.protobuf` that have a form of their own in JSON.

use prost::{Message, encoding};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use prost_types::{Duration, Timestamp};
use serde_json::{Map, Value as Json};

use super::{reader::MAX_DEPTH, scalar, wire};

const WRAPPERS: [&str; 9] = [
    "BoolValue",
    "BytesValue",
    "DoubleValue",
    "FloatValue",
    "Int32Value",
    "Int64Value",
    "StringValue",
    "UInt32Value",
    "UInt64Value",
];

fn local_name(full_name: &str) -> &str {
    full_name.strip_prefix("google.protobuf.").unwrap_or_default()
}

/// Whether a message is not written as an object of its fields. Inside an `Any` such a message stands under `value`.
pub(super) fn has_own_form(full_name: &str) -> bool {
    let name = local_name(full_name);
    matches!(name, "Any" | "Duration" | "Timestamp" | "Struct" | "Value" | "ListValue") || WRAPPERS.contains(&name)
}

/// Whether `null` is a value of the field rather than its absence.
pub(super) fn takes_null(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value" && !field.is_list() && !field.is_map(),
        Kind::Enum(kind) => kind.full_name() == "google.protobuf.NullValue" && !field.is_list(),
        _ => false,
    }
}

/// Writes the content of a message of its own form, `Any` excepted. The error says what would be right.
pub(super) fn write(descriptor: &MessageDescriptor, value: &Json, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match local_name(descriptor.full_name()) {
        "Duration" => duration(value).ok_or("a duration in seconds such as `0.25s`")?.encode_raw(out),
        "Timestamp" => {
            let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            time.ok_or("a time such as `2006-01-02T15:04:05Z`")?.encode_raw(out);
        }
        "Struct" => write_struct(value.as_object().ok_or("an object")?, MAX_DEPTH, out)?,
        "ListValue" => write_list(value.as_array().ok_or("a list")?, MAX_DEPTH, out)?,
        "Value" => write_value(value, MAX_DEPTH, out)?,
        _ => wrapper(descriptor, value, out)?,
    }
    Ok(())
}

/// Seconds with up to nine decimals and a final `s`: the only form that protobuf's JSON has.
fn duration(value: &Json) -> Option<Duration> {
    let text = value.as_str()?;
    let number = text.strip_suffix('s')?;
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // Protobuf's range, about 10,000 years.
    let seconds: i64 = digits(whole).then(|| whole.parse().ok())?.filter(|seconds| *seconds <= 315_576_000_000)?;
    let nanos: i32 = (digits(fraction) && fraction.len() <= 9).then(|| format!("{fraction:0<9}").parse().ok())??;
    Some(Duration { seconds: sign * seconds, nanos: nanos * i32::try_from(sign).ok()? })
}

/// Numbers of fields.
mod field {
    pub(super) const ENTRIES: u32 = 1;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const NULL: u32 = 1;
    pub(super) const NUMBER: u32 = 2;
    pub(super) const STRING: u32 = 3;
    pub(super) const BOOL: u32 = 4;
    pub(super) const STRUCT: u32 = 5;
    pub(super) const LIST: u32 = 6;
}

/// What is left of the depth that decoders take, within so many further messages.
fn below(left: usize, messages: usize) -> Result<usize, &'static str> {
    left.checked_sub(messages)
        .ok_or("nested less deeply: at most 100 messages, where an object in an object counts as three")
}

/// A `Struct`: a map of `Value`s.
fn write_struct(fields: &Map<String, Json>, left: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    fields.iter().try_for_each(|(name, value)| {
        let inner = below(left, 2)?;
        wire::nested(field::ENTRIES, out, |out| {
            wire::bytes(field::KEY, name.as_bytes(), out);
            wire::nested(field::VALUE, out, |out| write_value(value, inner, out))
        })
    })
}

/// A `ListValue`.
fn write_list(items: &[Json], left: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let inner = items.first().map_or(Ok(left), |_| below(left, 1))?;
    items.iter().try_for_each(|item| wire::nested(field::ENTRIES, out, |out| write_value(item, inner, out)))
}

/// A `Value`. It holds one of its fields, also when that is 0 or empty.
fn write_value(json: &Json, left: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match json {
        Json::Null => encoding::int32::encode(field::NULL, &0, out),
        Json::Bool(flag) => encoding::bool::encode(field::BOOL, flag, out),
        // A JSON number is always finite as a double: serde_json refuses others.
        Json::Number(number) => {
            encoding::double::encode(field::NUMBER, &number.as_f64().unwrap_or_default(), out);
        }
        Json::String(text) => wire::bytes(field::STRING, text.as_bytes(), out),
        Json::Array(items) => {
            let inner = below(left, 1)?;
            wire::nested(field::LIST, out, |out| write_list(items, inner, out))?;
        }
        Json::Object(fields) => {
            let inner = below(left, 1)?;
            wire::nested(field::STRUCT, out, |out| write_struct(fields, inner, out))?;
        }
    }
    Ok(())
}

fn wrapper(descriptor: &MessageDescriptor, value: &Json, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let kind = descriptor.get_field(1).expect("a wrapper has a field `value`").kind();
    let value = scalar::read(&kind, value).map_err(|_| scalar::expected(&kind))?;
    if !value.is_default(&kind) {
        wire::scalar(&kind, 1, &value, out);
    }
    Ok(())
}
