//! Rules that many kinds have in common (contract §10). Who calls them leaves out what is wrong; where that would let more
//! through (policies, `exportTo`, selectors), what is stored nevertheless is used as it is written.

use std::collections::HashSet;

use super::{Flaw, Problems, host::is_label};
use crate::model::{Code, Labels};

/// What DNS allows, with the dots.
const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;
/// What Kubernetes allows as the prefix of a label's name.
const MAX_PREFIX: usize = 253;

/// A label of a DNS name; upper case is tolerated.
pub(super) fn is_dns_label(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= MAX_LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// A DNS name without wildcard.
pub(super) fn domain(text: &str) -> Result<(), Flaw> {
    if text.is_empty() {
        return Err(Flaw::new(Code::HostMalformed, "is empty: write a host name"));
    }
    if text.len() > MAX_NAME {
        let reason = format!("has {} characters: a host name has at most {MAX_NAME}", text.len());
        return Err(Flaw::new(Code::HostMalformed, reason));
    }
    labels_of(text, text)
}

/// A DNS name, in which `*` may be the first label.
pub(super) fn wildcard_domain(text: &str) -> Result<(), Flaw> {
    match text.strip_prefix("*.") {
        _ if text == "*" => Ok(()),
        Some(rest) if text.len() <= MAX_NAME => labels_of(rest, text),
        _ => domain(text),
    }
}

fn labels_of(name: &str, whole: &str) -> Result<(), Flaw> {
    // A dot at the end is fine.
    let name = name.strip_suffix('.').unwrap_or(name);
    let wrong = |reason: String| Err(Flaw::new(Code::HostMalformed, reason));
    if let Some(bad) = name.split('.').find(|label| !is_dns_label(label)) {
        return wrong(format!("{whole:?} is not a host name: its part {bad:?} is no label of a DNS name"));
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) && !whole.ends_with('.') {
        return wrong(format!("{whole:?} is not a host name: its last part is a number"));
    }
    Ok(())
}

/// Labels as Kubernetes allows them.
pub(super) fn check_label_syntax(field: &str, labels: &Labels, problems: &mut Problems) {
    for (name, value) in labels {
        if !is_label_name(name) {
            problems.add(Code::LabelInvalid, field, format!("{name:?} is not the name of a label"));
        }
        if !(value.is_empty() || is_qualified(value)) {
            problems.add(Code::LabelInvalid, format!("{field}[{name:?}]"), format!("{value:?} is not a label's value"));
        }
    }
}

/// `[prefix/]name`.
fn is_label_name(text: &str) -> bool {
    match text.split_once('/') {
        None => is_qualified(text),
        Some((prefix, name)) => prefix.len() <= MAX_PREFIX && prefix.split('.').all(is_dns_label) && is_qualified(name),
    }
}

fn is_qualified(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    let bytes = text.as_bytes();
    text.len() <= MAX_LABEL && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inside)
}

/// Tells of a selector that selects everything.
pub(super) fn check_selector_says_something(field: &str, labels: &Labels, problems: &mut Problems) {
    if labels.is_empty() {
        problems.add(Code::SelectorEmpty, field, "names no labels, and so selects every workload");
    }
}

/// What goes together in `exportTo`, and what stands there twice. `nobody`: whether `~` is allowed. What a word may be is
/// checked where it is read.
pub(super) fn check_export_to(words: &[String], nobody: bool, problems: &mut Problems) {
    let own = problems.object().namespace.clone();
    let mut seen = HashSet::new();
    for (i, word) in words.iter().enumerate() {
        let field = || format!("spec.exportTo[{i}]");
        let meant = if word == "." { &*own } else { word };
        if !seen.insert(meant) {
            problems.add(Code::ExportToDuplicate, field(), format!("{word:?} says the same as an earlier entry"));
        }
        if word == "*" && words.len() > 1 {
            problems.add(Code::ExportToInvalid, field(), "\"*\" (everybody) must stand alone");
        }
        if word == "~" && !nobody {
            problems.add(Code::ExportToInvalid, field(), "\"~\" (nobody) is only for ServiceEntries");
        }
        if word != word.trim() && is_label(word.trim()) {
            problems.add(Code::ExportToInvalid, field(), format!("{word:?} has blanks around it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_strict_as_dns() {
        for good in ["a", "A-b.c", "*", "*.a.b", "a.b.", "1.a", "a1"] {
            assert!(wildcard_domain(good).is_ok(), "{good}");
        }
        let long = ["a".repeat(64), format!("a.{}", "a.".repeat(130))];
        let bad = ["", "*a.b", "a..b", "-a.b", "a-.b", "a_b.c", "10.0.0.1", "a.5", "*.*", "ä.de", ".", "a b"];
        for bad in bad.into_iter().chain(long.iter().map(String::as_str)) {
            assert!(wildcard_domain(bad).is_err(), "{bad}");
        }
        assert!(domain("*.a.b").is_err() && domain("a.b").is_ok());
    }

    #[test]
    fn labels_are_those_of_kubernetes() {
        let wrong = |name: &str, value: &str| {
            let mut problems = Problems::of("X", &Default::default());
            check_label_syntax("f", &Labels::from([(name.to_owned(), value.to_owned())]), &mut problems);
            problems.into_vec().len()
        };
        for (name, value) in [("app", ""), ("a.b/c_d", "v1.2_x"), ("A", "B")] {
            assert_eq!(wrong(name, value), 0, "{name}={value}");
        }
        for (name, value) in [("", "x"), ("/a", "x"), ("a/", "x"), ("a b", "x"), ("a", "-x"), ("a", "x y"), ("a", "ä")]
        {
            assert_eq!(wrong(name, value), 1, "{name}={value}");
        }
    }
}
