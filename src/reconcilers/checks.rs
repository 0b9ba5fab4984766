//! Checks of single values, which report by themselves.

use std::time::Duration;

use super::Problems;
use crate::{api, model::Code};

/// A port, which is reported when it is none.
pub(super) fn port(field: impl FnOnce() -> String, number: i64, problems: &mut Problems) -> Option<u16> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    if port.is_none() {
        problems.add(Code::PortOutOfRange, field(), format!("{number} is not a port: use 1 to 65535"));
    }
    port
}

/// A duration of at least a millisecond, in whole milliseconds.
pub(super) fn duration(field: &str, text: &api::Duration, problems: &mut Problems) -> Option<Duration> {
    let duration = any_duration(field, text, problems)?;
    if duration < Duration::from_millis(1) {
        problems.add(Code::DurationTooShort, field, format!("{duration:?} is less than 1ms"));
    } else if duration.subsec_nanos() % 1_000_000 != 0 {
        problems.add(Code::DurationTooFine, field, format!("{duration:?} is not a whole number of milliseconds"));
    }
    Some(duration)
}

/// A duration of any length.
pub(super) fn any_duration(field: &str, text: &api::Duration, problems: &mut Problems) -> Option<Duration> {
    match Duration::try_from(text) {
        Ok(duration) => Some(duration),
        Err(error) => {
            problems.add(Code::DurationMalformed, field, error.to_string());
            None
        }
    }
}

/// The name of a header, in the strict form.
pub(super) fn header_name(field: &str, name: &str, problems: &mut Problems) {
    if name.is_empty() {
        problems.add(Code::FieldMissing, field, "is empty: name a header");
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        let reason = format!("{name:?} is not the name of a header: use letters, digits, '-' and '_'");
        problems.add(Code::HeaderNameInvalid, field, reason);
    }
}

/// A text that must say something.
pub(super) fn required(field: &str, text: &str, problems: &mut Problems) {
    if text.is_empty() {
        problems.add(Code::FieldMissing, field, "is empty");
    }
}

/// A text that must not be longer than it may.
pub(super) fn at_most(field: &str, text: &str, most: usize, problems: &mut Problems) {
    if text.len() > most {
        problems.add(Code::TextTooLong, field, format!("has {} bytes: use at most {most}", text.len()));
    }
}

/// Entries that must say something.
pub(super) fn no_empty_entry(field: &str, entries: &[String], problems: &mut Problems) {
    for (i, _) in entries.iter().enumerate().filter(|(_, entry)| entry.is_empty()) {
        problems.add(Code::EntryEmpty, format!("{field}[{i}]"), "is empty");
    }
}

/// A list that must not be longer than it may.
pub(super) fn list_of_at_most<T>(field: &str, list: &[T], most: usize, problems: &mut Problems) {
    if list.len() > most {
        problems.add(Code::ListInvalid, field, format!("has {} entries: use at most {most}", list.len()));
    }
}
