//! Checks of texts that Envoy would refuse.

use crate::{
    model::Code,
    reconcilers::{
        Flaw,
        substitution::{self, Fault},
        telemetry::expression::Expressions,
    },
};

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

/// The value of a header that is set: a format of Envoy without control characters.
pub(super) fn header_value(value: &str, expressions: &mut Expressions) -> Result<(), Flaw> {
    substitution::check(plain(value)?, expressions).map_err(|fault| {
        let code = match &fault {
            Fault::Percent => Code::HeaderValueInvalid,
            Fault::Command(_) => Code::CommandInvalid,
        };
        Flaw::new(code, fault.of(value))
    })
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
    fn header_values_are_formats_of_one_line() {
        let code = |value| header_value(value, &mut Expressions::default()).map_err(|flaw| flaw.code);
        assert_eq!(code("%REQ(x-y)% 100%%"), Ok(()));
        assert_eq!(code("100%"), Err(Code::HeaderValueInvalid));
        assert_eq!(code("%NO_SUCH_COMMAND%"), Err(Code::CommandInvalid));
        assert_eq!(code("a\r\nb: c"), Err(Code::ControlCharacter));
    }
}
