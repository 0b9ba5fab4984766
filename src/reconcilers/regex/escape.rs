//! What RE2 and our parser read differently.

/// The expression as our parser reads it as RE2 would: a brace that starts no repetition is itself (`/users/{id}`), a
/// bracket within a class too, classes have no operators, and `\Q…\E` quotes.
pub(super) fn for_parser(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let taken = match c {
            '\\' => escape(after, &mut out),
            '[' => class(after, &mut out),
            '{' if !is_repetition(after) => {
                out.push_str("\\{");
                0
            }
            _ => {
                out.push(c);
                0
            }
        };
        rest = &after[taken..];
    }
    out
}

/// Writes what begins with a backslash; returns how much of what follows it that is.
fn escape(after: &str, out: &mut String) -> usize {
    if let Some(quoted) = after.strip_prefix('Q') {
        let end = quoted.find("\\E").unwrap_or(quoted.len());
        for c in quoted[..end].chars() {
            if regex_syntax::is_meta_character(c) {
                out.push('\\');
            }
            out.push(c);
        }
        return after.len().min(1 + end + 2);
    }
    let len = escape_len(after);
    out.push('\\');
    out.push_str(&after[..len]);
    len
}

/// Length of what follows a backslash and belongs to it: a class or code point in braces (`\p{Greek}`, `\x{41}`) too.
fn escape_len(after: &str) -> usize {
    let first = after.chars().next().map_or(0, char::len_utf8);
    if !after.starts_with(['p', 'P', 'x']) || !after[first..].starts_with('{') {
        return first;
    }
    after.find('}').map_or(first, |end| end + 1)
}

/// Writes a class, whose bracket has been read; returns how much it takes.
fn class(after: &str, out: &mut String) -> usize {
    out.push('[');
    let mut at = 0;
    if after.starts_with('^') {
        out.push('^');
        at = 1;
    }
    let first = at;
    while let Some(c) = after[at..].chars().next() {
        let rest = &after[at + c.len_utf8()..];
        match c {
            ']' if at > first => {
                out.push(']');
                return at + 1;
            }
            '\\' => {
                let len = escape_len(rest);
                out.push('\\');
                out.push_str(&rest[..len]);
                at += len;
            }
            '[' if rest.starts_with(':') && rest.contains(":]") => {
                let end = rest.find(":]").map_or(0, |end| end + 2);
                out.push('[');
                out.push_str(&rest[..end]);
                at += end;
            }
            '[' | '&' | '~' | ']' => out.extend(['\\', c]),
            _ => out.push(c),
        }
        at += c.len_utf8();
    }
    at
}

/// Whether `n}`, `n,}` or `n,m}` follows.
fn is_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !least.is_empty() && number(least) && number(most)
}
