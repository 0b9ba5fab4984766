//! Reads an expression from left to right as RE2 does in Envoy, which has it read bytes: a character beyond ASCII is
//! several. Without recursion: groups are on a stack.

use std::{collections::HashSet, mem};

use super::class;
use crate::model::Code;

/// RE2 repeats no more often, repetitions within repetitions multiplied.
const MAX_REPEAT: u64 = 1000;
/// RE2 reads longer numbers as text.
const MAX_NUMBER: u64 = 1_000_000_000;
/// What a program has around the expression.
const AROUND: u64 = 8;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    #[error("{0:?} stands behind nothing that it could repeat")]
    NothingToRepeat(String),
    #[error("{0:?} repeats a repetition: use a group, as in (?:a*)*")]
    RepeatedRepeat(String),
    #[error("repetitions are at most {MAX_REPEAT}, multiplied where they are within each other, and from less to more")]
    RepeatTooLarge,
    #[error("a bracket ( or ) has no counterpart")]
    Bracket,
    #[error("a class has no ] at its end")]
    ClassOpen,
    #[error("{0:?} is no class of characters")]
    ClassUnknown(String),
    #[error("a range of characters ends before it begins")]
    RangeCrossed,
    #[error("{0:?} is no group that RE2 knows: it has (?:…), (?P<name>…) and (?flags) of i, m, s and U")]
    Group(String),
    #[error("{0:?} is not the name of a group of its own: use letters, digits and '_'")]
    GroupName(String),
    #[error("{0:?} is no escape that RE2 knows; it has no references back, and reads bytes")]
    Escape(String),
}

/// A part of what is read, as it was written.
pub(super) fn written(part: &str) -> String {
    let bytes: Vec<u8> = part.chars().filter_map(|c| u8::try_from(c).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl SyntaxError {
    pub(super) const fn code(&self) -> Code {
        match self {
            Self::RepeatTooLarge => Code::RegexTooLong,
            _ => Code::RegexInvalid,
        }
    }
}

/// What an expression becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// How many groups can be referred to.
    pub(super) groups: usize,
    /// No fewer instructions than it has.
    pub(super) size: u64,
}

/// Something that can repeat.
#[derive(Clone, Copy, Debug)]
struct Item {
    size: u64,
    /// The largest product of repetitions within each other.
    repeats: u64,
}

/// What is read of a group.
#[derive(Debug, Default)]
struct Group {
    /// Without the last item.
    size: u64,
    repeats: u64,
    last: Option<Item>,
    captures: bool,
    /// Whether case does not matter around it.
    folds_around: bool,
}

impl Group {
    fn push(&mut self, item: Item) {
        self.settle();
        self.last = Some(item);
    }

    fn settle(&mut self) {
        if let Some(Item { size, repeats }) = self.last.take() {
            self.size += size;
            self.repeats = self.repeats.max(repeats);
        }
    }

    fn close(mut self) -> Item {
        self.settle();
        Item { size: self.size + if self.captures { 2 } else { 1 }, repeats: self.repeats.max(1) }
    }
}

pub(super) fn parse(pattern: &str) -> Result<Program, SyntaxError> {
    // Each byte as the character of its number.
    let pattern: String = pattern.bytes().map(char::from).collect();
    let mut parser = Parser::default();
    let (mut rest, mut operator) = (pattern.as_str(), "");
    while let Some(c) = rest.chars().next() {
        let before = mem::take(&mut operator);
        let after = &rest[c.len_utf8()..];
        let next = match repetition(c, after) {
            Some((times, next)) => {
                operator = &rest[..rest.len() - next.len()];
                parser.repeat(times, before, operator)?;
                next
            }
            None => parser.token(c, rest, after)?,
        };
        rest = next;
    }
    if !parser.around.is_empty() {
        return Err(SyntaxError::Bracket);
    }
    let whole = parser.group.close();
    Ok(Program { groups: parser.groups, size: whole.size + AROUND })
}

/// How often something repeats: at least, and at most unless that is not bounded.
type Times = (u64, Option<u64>);

/// An operator that repeats what is before it, if one is there, and what follows it.
fn repetition(c: char, after: &str) -> Option<(Times, &str)> {
    let (times, rest) = match c {
        '*' => ((0, None), after),
        '+' => ((1, None), after),
        '?' => ((0, Some(1)), after),
        '{' => braces(after)?,
        _ => return None,
    };
    Some((times, rest.strip_prefix('?').unwrap_or(rest)))
}

/// `n}`, `n,}` or `n,m}`; anything else is text.
fn braces(after: &str) -> Option<(Times, &str)> {
    let (least, rest) = number(after)?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some(((least, Some(least)), rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some(((least, None), rest));
    }
    let (most, rest) = number(rest)?;
    Some(((least, Some(most)), rest.strip_prefix('}')?))
}

/// A number, without zeros before it.
fn number(text: &str) -> Option<(u64, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - rest.len()];
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    digits.parse().ok().filter(|number| *number < MAX_NUMBER).map(|number| (number, rest))
}

#[derive(Debug, Default)]
struct Parser<'a> {
    /// The innermost one, and those around it.
    group: Group,
    around: Vec<Group>,
    groups: usize,
    names: HashSet<&'a str>,
    /// Whether case does not matter.
    folds: bool,
}

impl<'a> Parser<'a> {
    fn push(&mut self, size: u64) {
        self.group.push(Item { size, repeats: 1 });
    }

    fn literal(&mut self, c: char) {
        self.push(class::size_of(c, self.folds));
    }

    fn repeat(&mut self, (least, most): Times, before: &str, operator: &str) -> Result<(), SyntaxError> {
        if !before.is_empty() {
            return Err(SyntaxError::RepeatedRepeat(format!("{before}{operator}")));
        }
        if least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT || most < least) {
            return Err(SyntaxError::RepeatTooLarge);
        }
        let Some(item) = &mut self.group.last else {
            return Err(SyntaxError::NothingToRepeat(operator.to_owned()));
        };
        let times = most.unwrap_or(least).max(1);
        item.repeats *= times;
        if times > 1 && item.repeats > MAX_REPEAT {
            return Err(SyntaxError::RepeatTooLarge);
        }
        // Each copy that may be left out has a choice before it, and what repeats without bound two.
        item.size = item.size * times + most.map_or(2, |most| most - least);
        Ok(())
    }

    /// Reads what is no repetition; returns what follows it.
    fn token(&mut self, c: char, rest: &'a str, after: &'a str) -> Result<&'a str, SyntaxError> {
        match c {
            '(' if after.starts_with('?') => return self.special_group(rest),
            '(' => self.open(true),
            ')' => self.close()?,
            '|' => {
                self.group.settle();
                self.group.size += 1;
            }
            '^' | '$' => self.push(1),
            '.' => self.push(2),
            '[' => {
                let (size, next) = class::bracketed(after, self.folds)?;
                self.push(size);
                return Ok(next);
            }
            '\\' => return self.escape(rest, after),
            _ => self.literal(c),
        }
        Ok(after)
    }

    fn open(&mut self, captures: bool) {
        self.groups += usize::from(captures);
        let inner = Group { captures, folds_around: self.folds, ..Group::default() };
        self.around.push(mem::replace(&mut self.group, inner));
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let around = self.around.pop().ok_or(SyntaxError::Bracket)?;
        let inner = mem::replace(&mut self.group, around);
        self.folds = inner.folds_around;
        self.group.push(inner.close());
        Ok(())
    }

    /// What begins with `(?`.
    fn special_group(&mut self, rest: &'a str) -> Result<&'a str, SyntaxError> {
        if let Some(named) = rest.strip_prefix("(?P<").or_else(|| rest.strip_prefix("(?<")) {
            let (name, next) = named.split_once('>').ok_or_else(|| SyntaxError::GroupName(written(named)))?;
            // RE2 takes a name twice, the reference does not.
            if !is_name(name) || !self.names.insert(name) {
                return Err(SyntaxError::GroupName(written(name)));
            }
            self.open(true);
            return Ok(next);
        }
        self.flags(&rest[2..])
    }

    /// `i)`, `ms-i:`, `:` and such.
    fn flags(&mut self, text: &'a str) -> Result<&'a str, SyntaxError> {
        let (mut folds, mut negated, mut flagged) = (self.folds, false, false);
        let wrong = |at: usize| SyntaxError::Group(written(&format!("(?{}", &text[..at])));
        for (at, c) in text.char_indices() {
            match c {
                'i' => folds = !negated,
                'm' | 's' | 'U' => {}
                '-' if !negated => {
                    (negated, flagged) = (true, false);
                    continue;
                }
                ':' | ')' if !negated || flagged => {
                    if c == ':' {
                        self.open(false);
                    }
                    self.folds = folds;
                    return Ok(&text[at + 1..]);
                }
                _ => return Err(wrong(at + c.len_utf8())),
            }
            flagged = true;
        }
        Err(wrong(text.len()))
    }

    fn escape(&mut self, rest: &'a str, after: &'a str) -> Result<&'a str, SyntaxError> {
        match after.chars().next() {
            Some('b' | 'B' | 'A' | 'z' | 'C') => {
                self.push(1);
                Ok(&after[1..])
            }
            Some('Q') => {
                let (quoted, next) = after[1..].split_once("\\E").unwrap_or((&after[1..], ""));
                quoted.chars().for_each(|c| self.literal(c));
                Ok(next)
            }
            _ => {
                if let Some((size, next)) = class::named(rest)? {
                    self.push(size);
                    return Ok(next);
                }
                let (c, next) = class::escaped(rest)?;
                self.literal(c);
                Ok(next)
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
