//! Checks of texts that Envoy would refuse.

use crate::{model::Code, reconcilers::Flaw};

/// What replaces the matches of an expression: `\0` to `\9` are groups, `\\` is a backslash.
pub(super) fn substitution(text: &str, groups: usize) -> Result<(), Flaw> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            continue;
        }
        match chars.next() {
            Some('\\') => {}
            Some(digit) if digit.is_ascii_digit() => {
                let group = digit.to_digit(10).map_or(usize::MAX, |d| d as usize);
                if group > groups {
                    let reason = format!("{text:?} refers to group {group}, but the expression has {groups}");
                    return Err(Flaw::new(Code::SubstitutionInvalid, reason));
                }
            }
            _ => {
                let reason = format!("{text:?}: a backslash stands before a digit or a backslash");
                return Err(Flaw::new(Code::SubstitutionInvalid, reason));
            }
        }
    }
    plain(text).map(|_| ())
}

/// Text that Envoy takes in a header: no control characters.
pub(super) fn plain(text: &str) -> Result<&str, Flaw> {
    match text.chars().find(|c| c.is_ascii_control() && *c != '\t') {
        Some(c) => Err(Flaw::new(Code::ControlCharacter, format!("{text:?} has the control character {c:?}"))),
        None => Ok(text),
    }
}

/// The name of a header.
pub(super) fn header_name(name: &str) -> Result<(), Flaw> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.is_empty() && name.bytes().all(token) {
        return Ok(());
    }
    Err(Flaw::new(Code::HeaderNameInvalid, format!("{name:?} is not the name of a header")))
}

/// The value of a header that is set: control characters are wrong, and so is a `%` that neither is doubled nor
/// starts a command such as `%REQ(x)%`.
pub(super) fn header_value(value: &str) -> Result<(), Flaw> {
    let mut rest = plain(value)?;
    while let Some((_, after)) = rest.split_once('%') {
        rest = match after.strip_prefix('%') {
            Some(literal) => literal,
            None => command(after).ok_or_else(|| {
                let reason =
                    format!("{value:?}: a percent sign is written \"%%\", or starts a command such as %REQ(name)%");
                Flaw::new(Code::HeaderValueInvalid, reason)
            })?,
        };
    }
    Ok(())
}

/// What is behind a command `NAME%`, `NAME(…)%` or `NAME(…):LENGTH%`.
fn command(text: &str) -> Option<&str> {
    let name = |b: char| b.is_ascii_uppercase() || b.is_ascii_digit() || b == '_';
    let rest = text.trim_start_matches(name);
    if rest.len() == text.len() {
        return None;
    }
    let rest = match rest.strip_prefix('(') {
        Some(inside) => inside.split_once(')')?.1,
        None => rest,
    };
    let rest = match rest.strip_prefix(':') {
        Some(length) => length.trim_start_matches(|b: char| b.is_ascii_digit()),
        None => rest,
    };
    rest.strip_prefix('%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutions_refer_to_groups_that_exist() {
        assert!(substitution(r"/\1/\\", 1).is_ok() && substitution(r"\0", 0).is_ok());
        assert!(substitution(r"\2", 1).is_err() && substitution(r"\x", 1).is_err() && substitution("\\", 0).is_err());
    }

    #[test]
    fn header_values_keep_their_percent_signs_apart() {
        for good in ["", "a b", "100%%", "%REQ(x-y)%", "%DOWNSTREAM_REMOTE_ADDRESS%", "%REQ(a?b):10% x"] {
            assert!(header_value(good).is_ok(), "{good}");
        }
        for bad in ["100%", "%a%", "%REQ(x%", "%%%", "a\r\nb: c", "%REQ(x)"] {
            assert!(header_value(bad).is_err(), "{bad}");
        }
    }
}
