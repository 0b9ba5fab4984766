//! Regular expressions of RE2: its syntax, and about how large their programs become. Nothing is compiled, so that the time
//! is bounded by their length. `e2e/tests/envoy_regex.rs` asks the real one.

mod class;
mod names;
mod parse;

#[cfg(test)]
mod tests;

use super::Flaw;
use crate::model::Code;

/// Longer expressions are refused (contract §10), in bytes.
pub(super) const MAX_LENGTH: usize = 1024;
/// Envoys with our bootstrap take programs of 32768 instructions; some are left for what translation writes around an
/// expression.
const MAX_SIZE: u64 = 32_500;

/// An RE2 expression; returns how many groups it has.
pub(super) fn check(pattern: &str) -> Result<usize, Flaw> {
    if pattern.is_empty() {
        return Err(Flaw::new(Code::RegexInvalid, "the expression is empty"));
    }
    if pattern.len() > MAX_LENGTH {
        let reason = format!("the expression is {} bytes long: use at most {MAX_LENGTH}", pattern.len());
        return Err(Flaw::new(Code::RegexTooLong, reason));
    }
    let program = parse::parse(pattern).map_err(|error| {
        let reason = format!("{pattern:?} is not an RE2 expression: {error}");
        Flaw::new(error.code(), reason)
    })?;
    if program.size > MAX_SIZE {
        let size = program.size;
        let reason = format!(
            "{pattern:?} becomes a program of about {size} instructions, and Envoy takes 32768: repeat less, or use \
             narrower classes"
        );
        return Err(Flaw::new(Code::RegexTooLong, reason));
    }
    Ok(program.groups)
}
