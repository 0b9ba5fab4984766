//! Numbers, strings, bytes and enums. The errors say what would be right.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::{EnumDescriptor, Kind, Value};
use serde_json::Value as Json;

use super::similar::nearest;

/// A single value of a kind that is not a message.
pub(super) fn read(kind: &Kind, value: &Json) -> Result<Value, String> {
    let read = match kind {
        Kind::Bool => value.as_bool().map(Value::Bool),
        Kind::String => value.as_str().map(|text| Value::String(text.to_owned())),
        Kind::Bytes => value.as_str().and_then(bytes).map(|bytes| Value::Bytes(bytes.into())),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(value).map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(value).map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => integer(value).map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => integer(value).map(Value::U64),
        Kind::Double => float(value).map(Value::F64),
        Kind::Float => float(value).and_then(narrow).map(Value::F32),
        Kind::Enum(descriptor) => return enum_number(descriptor, value).map(Value::EnumNumber),
        Kind::Message(_) => None,
    };
    read.ok_or_else(|| expected(kind).to_owned())
}

/// What a value of a kind looks like.
pub(super) fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::String => "a string",
        Kind::Bytes => "a string in base64",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number of 32 bits",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of 64 bits",
        Kind::Uint32 | Kind::Fixed32 => "a whole number from 0 to 4294967295",
        Kind::Uint64 | Kind::Fixed64 => "a whole number from 0 to 18446744073709551615",
        Kind::Double => "a number",
        Kind::Float => "a number of single precision",
        Kind::Enum(_) => "the name of a value",
        Kind::Message(_) => "an object",
    }
}

/// The key of a map entry, which is always a string in JSON.
pub(super) fn map_key(kind: &Kind, key: &str) -> Result<Value, String> {
    match kind {
        Kind::String => Ok(Value::String(key.to_owned())),
        Kind::Bool => key.parse().map(Value::Bool).map_err(|_| "true or false".to_owned()),
        kind => read(kind, &Json::String(key.to_owned())),
    }
}

/// A whole number, as a number or in a string; `1e3` and `2.0` are whole too.
fn integer<T: TryFrom<i128>>(value: &Json) -> Option<T> {
    let exact = match value {
        Json::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Json::String(text) => text.parse().ok(),
        _ => return None,
    };
    let whole = || {
        // Beyond 2^63 a float is no longer every whole number: such values must be written out.
        let float = float(value).filter(|float| float.fract() == 0.0 && float.abs() < 9.2e18)?;
        Some(float as i128)
    };
    T::try_from(exact.or_else(whole)?).ok()
}

fn float(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text if text.ends_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// To single precision; a number that does not fit is no value of the field.
fn narrow(double: f64) -> Option<f32> {
    let single = double as f32;
    (single.is_finite() || !double.is_finite()).then_some(single)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    GeneralPurpose::new(&alphabet, config).decode(text).ok()
}

fn enum_number(descriptor: &EnumDescriptor, value: &Json) -> Result<i32, String> {
    let found = match value {
        Json::Null if descriptor.full_name() == "google.protobuf.NullValue" => Some(0),
        Json::String(name) => descriptor.get_value_by_name(name).map(|value| value.number()),
        value => integer(value),
    };
    found.ok_or_else(|| {
        let names = || descriptor.values().map(|value| value.name().to_owned());
        match value.as_str().and_then(|name| nearest(&name.to_ascii_uppercase(), names())) {
            Some(name) => format!("a value of `{}` such as `{name}`", descriptor.full_name()),
            None => format!("one of {}", names().collect::<Vec<_>>().join(", ")),
        }
    })
}
