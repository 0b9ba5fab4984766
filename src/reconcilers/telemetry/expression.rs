//! Expressions of CEL: their syntax. Which attributes there are, Envoy knows.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longer ones are refused: the parser, and what frees its tree, recurse.
const MAX_LENGTH: usize = 4096;

/// The parser recurses for each bracket and choice, wherever else they stand, …
const MAX_BRACKETS: usize = 64;
/// … and less deeply for each operator.
const MAX_OPERATORS: usize = 512;
/// Memory is taken for what is used of it only.
const STACK: usize = 64 << 20;

/// What all expressions of an object may have together: the parser takes a microsecond and more for each byte.
const MAX_IN_ALL: usize = 4 * MAX_LENGTH;

/// Judges the expressions of one object.
#[derive(Debug)]
pub(in crate::reconcilers) struct Expressions {
    /// How many bytes may still come.
    left: usize,
}

impl Default for Expressions {
    fn default() -> Self {
        Self { left: MAX_IN_ALL }
    }
}

impl Expressions {
    /// Whether a text is an expression; the error says why not.
    pub(in crate::reconcilers) fn check(&mut self, text: &str) -> Result<(), String> {
        let Some(left) = self.left.checked_sub(text.len()) else {
            self.left = 0;
            return Err(format!(
                "the expressions of an object may have {MAX_IN_ALL} bytes together: it comes after them"
            ));
        };
        self.left = left;
        check(text)
    }
}

fn check(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is empty: write an expression of CEL such as response.code >= 400".to_owned());
    }
    if text.len() > MAX_LENGTH {
        return Err(format!("has {} bytes: use at most {MAX_LENGTH}", text.len()));
    }
    for (what, signs, most) in
        [("brackets and choices", "([{?", MAX_BRACKETS), ("operators and dots", ".+-*/%<>=!&|", MAX_OPERATORS)]
    {
        let found = text.chars().filter(|c| signs.contains(*c)).count();
        if found > most {
            return Err(format!("has {found} {what} ({signs}): use at most {most}"));
        }
    }
    parse(text)
}

/// On a stack of its own, which is large enough for all that is let through.
fn parse(text: &str) -> Result<(), String> {
    let parse = || cel::Program::compile(text).map(drop).map_err(|error| error.to_string());
    // A thread's would do, and cost several times as much as an ordinary expression.
    let parsed = stacker::grow(STACK, || catch_unwind(AssertUnwindSafe(parse)));
    parsed.unwrap_or_else(|_| Err("the parser gives up".to_owned())).map_err(|error| {
        let first = error.lines().next().unwrap_or_default().trim();
        format!("{text:?} is not an expression of CEL: {first}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_parsed() {
        for good in [
            "response.code >= 400",
            "'a' + request.host",
            "'x' in request.headers ? request.headers['x'] : ''",
            "connection.mtls || response.flags == 0 && !('x' in request.headers)",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "response.code >=", "(a", "a b", "'a", "a ++ b", "a ? b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_of_an_object_are_bounded_too() {
        let (mut expressions, long) = (Expressions::default(), format!("'{}'", "a".repeat(MAX_LENGTH - 2)));
        for _ in 0..4 {
            assert_eq!(expressions.check(&long), Ok(()));
        }
        assert!(expressions.check("a").is_err_and(|why| why.contains("16384 bytes together")));
        assert_eq!(Expressions::default().check("a"), Ok(()));
    }

    #[test]
    fn hostile_ones_are_refused_or_cheap() {
        for text in ["(", "!", "-", "[", "{", "a.", "a?b:", "a[", "1+", "a||", "f(", "a<", "!a &&", "'a'+"] {
            for most in [MAX_LENGTH, 4 * MAX_OPERATORS, 2 * MAX_OPERATORS, MAX_OPERATORS, MAX_BRACKETS] {
                let times = most / text.len();
                drop(check(&text.repeat(times)));
                drop(check(&format!("{}a", text.repeat(times - 1))));
            }
        }
        assert!(check(&"a".repeat(MAX_LENGTH + 1)).is_err());
        assert!(check(&"(".repeat(MAX_BRACKETS + 1)).is_err_and(|why| why.contains("at most 64")));
        assert!(check(&"a.".repeat(MAX_OPERATORS + 1)).is_err_and(|why| why.contains("at most 512")));
    }
}
