//! What can be wrong with objects: one code per rule. The same codes are used by whoever finds something: validation,
//! translation, analysis, and the sources of objects.

mod table;

use std::{fmt, str::FromStr};

pub use table::Code;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object is refused. Of one that is stored nevertheless, the smallest part with the fault is left out that can be:
    /// an entry, a rule, the object. Where without it more would be allowed or reached, the rest is used as written.
    Error,
    /// The object is taken, but it does not do what it seems to say.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Info];

    /// The word for it: `error`, `warning` or `info`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is neither the id nor the name of a code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a code such as MZ0106 or port-out-of-range")]
pub struct UnknownCode(pub String);

/// Shown by its id.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// By id or name, in any case.
impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let found = Self::ALL
            .iter()
            .copied()
            .find(|code| code.id().eq_ignore_ascii_case(text) || code.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

/// What is said of a problem, for tests that are not about codes.
#[cfg(test)]
pub(crate) fn without_code(line: &impl fmt::Display) -> String {
    let line = line.to_string();
    line.rsplit_once(" [MZ").map_or(line.as_str(), |(said, _)| said).to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_found_by_id_and_name() {
        for code in Code::ALL {
            assert_eq!(code.id().parse(), Ok(*code));
            assert_eq!(code.name().to_uppercase().parse(), Ok(*code));
        }
        assert!("MZ9999".parse::<Code>().is_err() && "".parse::<Code>().is_err());
    }

    #[test]
    fn each_code_has_its_own_id_name_and_sentences() {
        let unique = |text: fn(Code) -> &'static str| Code::ALL.iter().map(|c| text(*c)).collect::<BTreeSet<_>>().len();
        assert_eq!(unique(Code::id), Code::ALL.len());
        assert_eq!(unique(Code::name), Code::ALL.len());
        assert_eq!(unique(Code::rule), Code::ALL.len());
        assert!(Code::ALL.is_sorted_by_key(|code| code.id()));
        for code in Code::ALL {
            let digits = code.id().strip_prefix("MZ").expect("the prefix");
            assert!(digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()), "{code}");
            assert!(code.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{code}");
            assert!(code.rule().ends_with('.') && code.hint().ends_with('.'), "{code}");
        }
    }
}
