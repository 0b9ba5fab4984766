//! Checks of texts that Envoy would refuse.

use crate::{model::Code, reconcilers::Flaw};

/// Longer expressions are refused (contract §10).
const MAX_REGEX: usize = 1024;

/// RE2 repeats no more often.
const MAX_REPEAT: u32 = 1000;

/// An RE2 expression; returns how many groups it has. The check is close to RE2, not equal to it.
pub(super) fn regex(pattern: &str) -> Result<usize, Flaw> {
    if pattern.is_empty() {
        return Err(Flaw::new(Code::RegexInvalid, "the expression is empty"));
    }
    if pattern.len() > MAX_REGEX {
        let reason = format!("the expression is {} bytes long: use at most {MAX_REGEX}", pattern.len());
        return Err(Flaw::new(Code::RegexTooLong, reason));
    }
    let escaped = escape_literal_braces(pattern)?;
    let compiled = ::regex::Regex::new(&escaped).map_err(|error| {
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Flaw::new(Code::RegexInvalid, format!("{pattern:?} is not an RE2 expression: {why}"))
    })?;
    Ok(compiled.captures_len() - 1)
}

/// RE2 takes a brace that starts no repetition as it is (`/users/{id}`); our parser wants it escaped.
fn escape_literal_braces(pattern: &str) -> Result<String, Flaw> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                // A class or code point in braces (`\p{Greek}`, `\x{41}`) belongs to its escape.
                let len = escape_len(after);
                out.push(c);
                out.push_str(&after[..len]);
                rest = &after[len..];
                continue;
            }
            '{' => match repetition(after) {
                Some(count) if count > MAX_REPEAT => {
                    let reason = format!("{pattern:?} repeats {count} times: use at most {MAX_REPEAT}");
                    return Err(Flaw::new(Code::RegexTooLong, reason));
                }
                Some(_) => out.push('{'),
                None => out.push_str("\\{"),
            },
            _ => out.push(c),
        }
        rest = after;
    }
    Ok(out)
}

/// Length of what follows a backslash and belongs to it.
fn escape_len(after: &str) -> usize {
    let first = after.chars().next().map_or(0, char::len_utf8);
    if !after.starts_with(['p', 'P', 'x']) || !after[first..].starts_with('{') {
        return first;
    }
    after.find('}').map_or(first, |end| end + 1)
}

/// The largest number of a repetition `n}`, `n,}` or `n,m}`; `None` when it is none.
fn repetition(after: &str) -> Option<u32> {
    let (inside, _) = after.split_once('}')?;
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().unwrap_or(u32::MAX));
    let least = number(least).filter(|_| !least.is_empty())?;
    Some(if most.is_empty() { least } else { least.max(number(most)?) })
}

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
    fn expressions_are_checked_as_re2_would() {
        for (good, groups) in
            [("/a.*", 0), ("^/(v1|v2)/(.*)$", 2), ("/users/{id}", 0), (r"a{2,3}\p{Greek}\x{41}", 0), (r"\{x", 0)]
        {
            assert_eq!(regex(good), Ok(groups), "{good}");
        }
        for bad in ["", "*", "(a", "a(?=b)", "a{1001}", "[", r"\1", &"a".repeat(1025)] {
            assert!(regex(bad).is_err(), "{bad}");
        }
    }

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
