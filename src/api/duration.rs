//! Durations as users write them: `500ms`, `10s`, `1h30m`.

use super::rules::rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A duration, kept as it was written; `std::time::Duration::try_from` reads it.
///
/// Its schema asks for at least 1 ms, as nearly all fields do; the others take the schema of a string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Duration(pub String);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not a sequence of numbers with units.
    #[error("{0:?} is not a duration such as 500ms, 10s or 1h30m")]
    Syntax(String),
    /// It is below zero.
    #[error("{0:?} is negative")]
    Negative(String),
    /// It does not fit.
    #[error("{0:?} is too long")]
    Overflow(String),
}

/// Units and their length in nanoseconds; longer names first where one begins with another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl TryFrom<&Duration> for std::time::Duration {
    type Error = DurationError;

    fn try_from(text: &Duration) -> Result<Self, DurationError> {
        let whole = text.0.as_str();
        if let Some(rest) = whole.strip_prefix('-') {
            // "-0s" is zero; anything else below it is refused.
            let size = nanoseconds(rest, whole)?;
            return if size == 0 { Ok(Self::ZERO) } else { Err(DurationError::Negative(whole.into())) };
        }
        nanoseconds(whole.strip_prefix('+').unwrap_or(whole), whole).map(Self::from_nanos)
    }
}

/// Adds up the parts of `text`; `whole` is for the message.
fn nanoseconds(text: &str, whole: &str) -> Result<u64, DurationError> {
    if text == "0" {
        return Ok(0);
    }
    let syntax = || DurationError::Syntax(whole.into());
    let overflow = || DurationError::Overflow(whole.into());
    if text.is_empty() {
        return Err(syntax());
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit()).ok_or_else(syntax)?);
        let (name, after) = after.split_at(after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len()));
        let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(syntax)?;
        let (units, fraction) = number.split_once('.').unwrap_or((number, ""));
        if units.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(syntax());
        }
        let units: u64 = if units.is_empty() { 0 } else { units.parse().map_err(|_| overflow())? };
        let part = units.checked_mul(*unit).ok_or_else(overflow)?;
        total = total.checked_add(part).and_then(|t| t.checked_add(part_of(fraction, *unit))).ok_or_else(overflow)?;
        rest = after;
    }
    Ok(total)
}

/// `0.fraction` of a unit; digits below a nanosecond are dropped.
fn part_of(fraction: &str, unit: u64) -> u64 {
    let mut digits: u128 = 0;
    let mut scale: u128 = 1;
    // 18 digits are more than any unit has, and keep the product within 128 bits.
    for digit in fraction.bytes().take(18) {
        digits = digits * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(digits * u128::from(unit) / scale).unwrap_or(unit)
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({ "type": "string" });
        rule("duration(self) >= duration('1ms')", "must be a duration of at least 1ms, such as 500ms, 10s or 1h30m")(
            &mut schema,
        );
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, DurationError};

    fn read(text: &str) -> Result<std::time::Duration, DurationError> {
        std::time::Duration::try_from(&Duration(text.into()))
    }

    #[test]
    fn durations_are_read_as_users_write_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("10s", 10_000_000_000),
            ("+1.5s", 1_500_000_000),
            (".5ms", 500_000),
            ("1h30m", 5_400_000_000_000),
            ("1m0.25s", 60_250_000_000),
            ("3µs", 3_000),
            ("3us", 3_000),
            ("1.9ns", 1),
            ("0.1234567891234567891234s", 123_456_789),
        ] {
            assert_eq!(read(text), Ok(std::time::Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "5", "s", "1.s.", "..s", "1 s", "1d", "1e3s", "ten", "1.2.3s", "-", "+"] {
            assert_eq!(read(text), Err(DurationError::Syntax(text.into())), "{text}");
        }
        assert_eq!(read("-1s"), Err(DurationError::Negative("-1s".into())));
        for text in ["99999999999999999999s", "9999999h", "5124095h40m"] {
            assert_eq!(read(text), Err(DurationError::Overflow(text.into())), "{text}");
        }
    }
}
