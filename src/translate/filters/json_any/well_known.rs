//! Messages of `google.protobuf` that have a form of their own in JSON.

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use prost_types::{Duration, ListValue, Struct, Timestamp, Value, value};
use serde_json::Value as Json;

use super::scalar;

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

/// Reads a message of its own form, `Any` excepted. The error says what would be right.
pub(super) fn read(descriptor: &MessageDescriptor, value: &Json) -> Result<DynamicMessage, &'static str> {
    match local_name(descriptor.full_name()) {
        "Duration" => transcode(descriptor, &duration(value).ok_or("a duration in seconds such as `0.25s`")?),
        "Timestamp" => {
            let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            transcode(descriptor, &time.ok_or("a time such as `2006-01-02T15:04:05Z`")?)
        }
        "Struct" if !value.is_object() => Err("an object"),
        "ListValue" if !value.is_array() => Err("a list"),
        "Struct" | "ListValue" | "Value" => match (to_value(value).kind, local_name(descriptor.full_name())) {
            (Some(value::Kind::StructValue(fields)), "Struct") => transcode(descriptor, &fields),
            (Some(value::Kind::ListValue(items)), "ListValue") => transcode(descriptor, &items),
            (kind, _) => transcode(descriptor, &Value { kind }),
        },
        _ => wrapper(descriptor, value),
    }
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

fn to_value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => value::Kind::NullValue(0),
        Json::Bool(flag) => value::Kind::BoolValue(*flag),
        // A JSON number is always finite as a double: serde_json refuses others.
        Json::Number(number) => value::Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => value::Kind::StringValue(text.clone()),
        Json::Array(items) => value::Kind::ListValue(ListValue { values: items.iter().map(to_value).collect() }),
        Json::Object(fields) => value::Kind::StructValue(Struct {
            fields: fields.iter().map(|(name, value)| (name.clone(), to_value(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

fn wrapper(descriptor: &MessageDescriptor, value: &Json) -> Result<DynamicMessage, &'static str> {
    let field = descriptor.get_field(1).expect("a wrapper has a field `value`");
    let value = scalar::read(&field.kind(), value).map_err(|_| scalar::expected(&field.kind()))?;
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field(&field, value);
    Ok(message)
}

/// A message of a type known to the compiler as one known by its descriptor. Fails only for deep nesting.
pub(super) fn transcode(
    descriptor: &MessageDescriptor,
    message: &impl Message,
) -> Result<DynamicMessage, &'static str> {
    DynamicMessage::decode(descriptor.clone(), &message.encode_to_vec()[..])
        .map_err(|_| "nested less deeply: at most 100 messages, where an object in an object counts as three")
}
