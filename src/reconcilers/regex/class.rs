//! Classes of characters, and single ones: what they are written like, and how large they are in a program.

use super::{
    names,
    parse::{SyntaxError, written},
};

/// A class of Unicode is no larger: of its characters RE2 takes those that are a byte.
const UNICODE: u64 = 20;

/// The size of a character: one beyond ASCII may have another case somewhere else.
pub(super) fn size_of(c: char, folds: bool) -> u64 {
    if folds && !c.is_ascii() { 2 } else { 1 }
}

/// `\d`, `\pL`, `\p{Greek}` and such at the begin of a text: its size, and what follows it.
pub(super) fn named(text: &str) -> Result<Option<(u64, &str)>, SyntaxError> {
    let Some(after) = text.strip_prefix('\\') else { return Ok(None) };
    match after.chars().next() {
        Some('d' | 's' | 'w') => Ok(Some((4, &after[1..]))),
        Some('D' | 'S' | 'W') => Ok(Some((5, &after[1..]))),
        Some('p' | 'P') => unicode(text, &after[1..]).map(Some),
        _ => Ok(None),
    }
}

/// What follows `\p`.
fn unicode<'a>(text: &str, after: &'a str) -> Result<(u64, &'a str), SyntaxError> {
    let unknown = |len: usize| SyntaxError::ClassUnknown(written(&text[..len]));
    let (name, rest) = match after.strip_prefix('{') {
        Some(inside) => inside.split_once('}').ok_or_else(|| unknown(text.len()))?,
        None => after.split_at(after.chars().next().map_or(0, char::len_utf8)),
    };
    let is_known = names::is_class(name.strip_prefix('^').unwrap_or(name));
    is_known.then_some((UNICODE, rest)).ok_or_else(|| unknown(text.len() - rest.len()))
}

/// A character behind a backslash, and what follows it.
pub(super) fn escaped(text: &str) -> Result<(char, &str), SyntaxError> {
    let after = &text[1..];
    let wrong = |len: usize| SyntaxError::Escape(written(&text[..text.floor_char_boundary(len)]));
    let Some(c) = after.chars().next() else { return Err(wrong(1)) };
    let rest = &after[c.len_utf8()..];
    match c {
        '0' => octal(after).ok_or_else(|| wrong(4)),
        '1'..='7' if rest.starts_with(|next: char| next.is_digit(8)) => octal(after).ok_or_else(|| wrong(4)),
        'x' => hexadecimal(rest).ok_or_else(|| wrong(rest.find('}').map_or(4, |end| end + 3))),
        'a' => Ok(('\x07', rest)),
        'f' => Ok(('\x0c', rest)),
        'n' => Ok(('\n', rest)),
        'r' => Ok(('\r', rest)),
        't' => Ok(('\t', rest)),
        'v' => Ok(('\x0b', rest)),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok((c, rest)),
        _ => Err(wrong(1 + c.len_utf8())),
    }
}

/// Up to three digits.
fn octal(text: &str) -> Option<(char, &str)> {
    let len = text.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let (digits, rest) = text.split_at(len);
    Some((u8::from_str_radix(digits, 8).ok()?.into(), rest))
}

/// `41` or `{41}`.
fn hexadecimal(text: &str) -> Option<(char, &str)> {
    let (digits, rest) = match text.strip_prefix('{') {
        Some(inside) => inside.split_once('}')?,
        None => text.split_at_checked(2)?,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    let code = if significant.is_empty() { 0 } else { u8::from_str_radix(significant, 16).ok()? };
    Some((code.into(), rest))
}

/// A class whose bracket has been read: its size, and what follows it.
pub(super) fn bracketed(after: &str, folds: bool) -> Result<(u64, &str), SyntaxError> {
    let mut rest = after.strip_prefix('^').unwrap_or(after);
    let mut size = 2;
    let mut is_first = true;
    loop {
        match rest.chars().next() {
            None => return Err(SyntaxError::ClassOpen),
            Some(']') if !is_first => return Ok((size, &rest[1..])),
            Some(_) => {}
        }
        is_first = false;
        let (more, next) = match posix(rest)? {
            Some(next) => (5, next),
            None => match named(rest)? {
                Some((more, next)) => (more, next),
                None => range(rest, folds)?,
            },
        };
        size += more;
        rest = next;
    }
}

/// What follows `[:alpha:]` and such.
fn posix(text: &str) -> Result<Option<&str>, SyntaxError> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|inside| inside.split_once(":]")) else {
        return Ok(None);
    };
    const NAMES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
        "word", "xdigit",
    ];
    if NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Ok(Some(rest));
    }
    Err(SyntaxError::ClassUnknown(written(&format!("[:{name}:]"))))
}

/// One character or a range of them.
fn range(text: &str, folds: bool) -> Result<(u64, &str), SyntaxError> {
    let (first, rest) = character(text)?;
    let behind = rest.strip_prefix('-').filter(|behind| !behind.is_empty() && !behind.starts_with(']'));
    let (last, rest) = behind.map_or(Ok((first, rest)), character)?;
    if last < first {
        return Err(SyntaxError::RangeCrossed);
    }
    // Where case does not matter, there may be a range of either case, and the letters without another one.
    Ok((if folds { 6 } else { 1 }, rest))
}

fn character(text: &str) -> Result<(char, &str), SyntaxError> {
    match text.chars().next() {
        None => Err(SyntaxError::ClassOpen),
        Some('\\') => escaped(text),
        Some(c) => Ok((c, &text[c.len_utf8()..])),
    }
}
