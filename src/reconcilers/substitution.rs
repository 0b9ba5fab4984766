//! Formats of Envoy: text with commands such as `%REQ(name)%`, which requests fill in. Headers that are set and access logs
//! have them. Envoy refuses what holds a format that it cannot read.
//!
//! ```text
//!  %%   %NAME%   %NAME(parameters)%   %NAME(parameters):length%
//! ```
//!
//! Parameters end where the rest of a command follows: `%CEL(size(a))%` has `size(a)`.

mod commands;

use serde_json::Value;

use super::telemetry::expression::Expressions;

/// What is wrong with a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A percent sign neither is doubled nor starts a command.
    Percent,
    /// A command is none of Envoy's, or does not take what it is given.
    Command(String),
}

impl Fault {
    /// What is wrong, of a text.
    pub(super) fn of(&self, text: &str) -> String {
        match self {
            Self::Percent => {
                format!("{text:?}: a percent sign is written \"%%\", or starts a command such as %REQ(name)%")
            }
            Self::Command(reason) => format!("{text:?}: {reason}"),
        }
    }
}

/// Whether Envoy can read a format; `expressions` judges those of CEL, and bounds them.
pub(super) fn check(text: &str, expressions: &mut Expressions) -> Result<(), Fault> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        rest = match after.strip_prefix('%') {
            Some(literal) => literal,
            None => {
                let (command, rest) = Command::read(after).ok_or(Fault::Percent)?;
                commands::check(&command, expressions).map_err(Fault::Command)?;
                rest
            }
        };
    }
    Ok(())
}

/// Whether Envoy can read all texts of a value.
pub(super) fn check_all(value: &Value, expressions: &mut Expressions) -> Result<(), Fault> {
    match value {
        Value::String(format) => check(format, expressions),
        Value::Array(list) => list.iter().try_for_each(|value| check_all(value, expressions)),
        Value::Object(fields) => fields.values().try_for_each(|value| check_all(value, expressions)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// A command and what it is given.
struct Command<'a> {
    name: &'a str,
    /// Empty is as good as none.
    parameters: &'a str,
    /// How many bytes are left of the value.
    length: Option<u64>,
}

impl<'a> Command<'a> {
    /// The command behind a percent sign, and what is behind its own.
    fn read(text: &'a str) -> Option<(Self, &'a str)> {
        let is_name = |b: char| b.is_ascii_uppercase() || b.is_ascii_digit() || b == '_';
        let rest = text.trim_start_matches(is_name);
        let name = &text[..text.len() - rest.len()];
        let made = |parameters, (length, rest)| Some((Self { name, parameters, length }, rest));
        if name.is_empty() {
            return None;
        }
        let Some(inside) = rest.strip_prefix('(') else { return made("", end(rest)?) };
        let line = inside.split('\n').next().unwrap_or_default();
        let mut ends = line.match_indices(')').filter_map(|(at, _)| Some((&inside[..at], end(&inside[at + 1..])?)));
        let (parameters, end) = ends.next()?;
        made(parameters, end)
    }
}

/// The length and the percent sign that end a command, and what is behind it.
fn end(text: &str) -> Option<(Option<u64>, &str)> {
    let Some(number) = text.strip_prefix(':') else { return Some((None, text.strip_prefix('%')?)) };
    let rest = number.trim_start_matches(|b: char| b.is_ascii_digit());
    let length = number[..number.len() - rest.len()].parse().ok()?;
    Some((Some(length), rest.strip_prefix('%')?))
}

#[cfg(test)]
mod tests;
