//! Expressions of CEL: their syntax. Which attributes there are, Envoy knows.

/// Longer ones are refused: the parser, and what frees its tree, recurse.
const MAX_LENGTH: usize = 4096;

/// Whether a text is an expression; the error says why not.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is empty: write an expression of CEL such as response.code >= 400".to_owned());
    }
    if text.len() > MAX_LENGTH {
        return Err(format!("has {} bytes: use at most {MAX_LENGTH}", text.len()));
    }
    match cel::Program::compile(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default().trim();
            Err(format!("{text:?} is not an expression of CEL: {first}"))
        }
    }
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
    fn hostile_ones_are_refused_or_cheap() {
        for text in ["(", "!", "-", "[", "{", "a.", "a?b:", "a[", "1+", "a||", "f("] {
            drop(check(&text.repeat(MAX_LENGTH / text.len())));
            drop(check(&format!("{}a", text.repeat(MAX_LENGTH / text.len() - 1))));
        }
        assert!(check(&"a".repeat(MAX_LENGTH + 1)).is_err());
    }
}
