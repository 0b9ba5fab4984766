//! Regular expressions of RE2, by their syntax: nothing is compiled, so that the time is bounded by their length. The
//! check is close to RE2, not equal to it.

mod escape;
mod names;

use regex_syntax::ast::{
    Ast, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind, RepetitionKind, RepetitionRange, parse,
};

use super::Flaw;
use crate::model::Code;

/// Longer expressions are refused (contract §10).
const MAX_LENGTH: usize = 1024;
/// RE2 repeats no more often, repetitions within repetitions multiplied.
const MAX_REPEAT: u64 = 1000;
/// RE2 refuses programs that need more of its memory than this is about.
const MAX_SIZE: u64 = 100_000;
/// What a class of Unicode is about in a program.
const UNICODE_CLASS: u64 = 250;

/// An RE2 expression; returns how many groups it has.
pub(super) fn check(pattern: &str) -> Result<usize, Flaw> {
    if pattern.is_empty() {
        return Err(Flaw::new(Code::RegexInvalid, "the expression is empty"));
    }
    if pattern.len() > MAX_LENGTH {
        let reason = format!("the expression is {} bytes long: use at most {MAX_LENGTH}", pattern.len());
        return Err(Flaw::new(Code::RegexTooLong, reason));
    }
    let ast = parse::Parser::new().parse(&escape::for_parser(pattern)).map_err(|error| {
        let reason = format!("{pattern:?} is not an RE2 expression: {}", error.kind());
        Flaw::new(Code::RegexInvalid, reason)
    })?;
    let mut program = Program { pattern, groups: 0 };
    let size = program.size(&ast, 1)?;
    if size > MAX_SIZE {
        let reason = format!("{pattern:?} is too large for RE2: repeat less, or use narrower classes");
        return Err(Flaw::new(Code::RegexTooLong, reason));
    }
    Ok(program.groups)
}

/// What an expression would become.
struct Program<'a> {
    pattern: &'a str,
    groups: usize,
}

impl Program<'_> {
    /// About how large it is. `repeated`: how often what is around it repeats. The parser bounds the depth.
    fn size(&mut self, ast: &Ast, repeated: u64) -> Result<u64, Flaw> {
        Ok(match ast {
            Ast::Empty(_) | Ast::Flags(_) | Ast::Literal(_) | Ast::Assertion(_) | Ast::ClassPerl(_) => 1,
            Ast::Dot(_) => 10,
            Ast::ClassUnicode(class) => self.unicode(class)?,
            Ast::ClassBracketed(class) => self.class(&class.kind)?,
            Ast::Repetition(repetition) => {
                let times = times(&repetition.op.kind);
                if times * repeated > MAX_REPEAT {
                    let reason =
                        format!("{:?} repeats {} times: use at most {MAX_REPEAT}", self.pattern, times * repeated);
                    return Err(Flaw::new(Code::RegexTooLong, reason));
                }
                self.size(&repetition.ast, repeated * times.max(1))? * times.max(1) + 1
            }
            Ast::Group(group) => {
                self.groups += usize::from(group.is_capturing());
                self.size(&group.ast, repeated)? + 2
            }
            Ast::Alternation(all) => self.sum(&all.asts, repeated)?,
            Ast::Concat(all) => self.sum(&all.asts, repeated)?,
        })
    }

    fn sum(&mut self, asts: &[Ast], repeated: u64) -> Result<u64, Flaw> {
        asts.iter().try_fold(1, |sum, ast| Ok(sum + self.size(ast, repeated)?))
    }

    fn class(&self, set: &ClassSet) -> Result<u64, Flaw> {
        match set {
            ClassSet::Item(item) => self.item(item),
            ClassSet::BinaryOp(op) => Ok(self.class(&op.lhs)? + self.class(&op.rhs)?),
        }
    }

    fn item(&self, item: &ClassSetItem) -> Result<u64, Flaw> {
        match item {
            ClassSetItem::Unicode(class) => self.unicode(class),
            ClassSetItem::Bracketed(class) => self.class(&class.kind),
            ClassSetItem::Union(union) => union.items.iter().try_fold(1, |sum, item| Ok(sum + self.item(item)?)),
            _ => Ok(2),
        }
    }

    fn unicode(&self, class: &ClassUnicode) -> Result<u64, Flaw> {
        let mut one = [0; 4];
        let name = match &class.kind {
            ClassUnicodeKind::OneLetter(letter) => letter.encode_utf8(&mut one),
            ClassUnicodeKind::Named(name) => name.as_str(),
            ClassUnicodeKind::NamedValue { value, .. } => value.as_str(),
        };
        if names::is_class(name) {
            return Ok(UNICODE_CLASS);
        }
        let reason = format!("{:?} is not an RE2 expression: {name:?} is no class of characters", self.pattern);
        Err(Flaw::new(Code::RegexInvalid, reason))
    }
}

fn times(kind: &RepetitionKind) -> u64 {
    match kind {
        RepetitionKind::Range(
            RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) | RepetitionRange::Bounded(_, n),
        ) => u64::from(*n),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_checked_as_re2_would() {
        for (good, groups) in [
            ("/a.*", 0),
            ("^/(v1|v2)/(.*)$", 2),
            ("/users/{id}", 0),
            (r"a{2,3}\p{Greek}\x{41}", 0),
            (r"\{x", 0),
            ("(?i)[[:alpha:]_-]+", 0),
            ("[[]", 0),
            ("[]a]", 0),
            ("[^]a]", 0),
            ("[a&&b]", 0),
            (r"\Q(a\E", 0),
            ("(?P<n>a)(?:b)", 1),
        ] {
            assert_eq!(check(good), Ok(groups), "{good}");
        }
        let invalid = ["", "*", "(a", "a(?=b)", "[", r"\1", r"\p{Klingon}", "[z-a]", "a)", "(?P<n>a)(?P<n>b)"];
        for bad in invalid {
            assert_eq!(check(bad).map_err(|flaw| flaw.code), Err(Code::RegexInvalid), "{bad}");
        }
        for bad in ["a{1001}", "(a{50}){50}", r"\pL{900}", &"a".repeat(1025)] {
            assert_eq!(check(bad).map_err(|flaw| flaw.code), Err(Code::RegexTooLong), "{bad}");
        }
    }
}
