//! Finding which resource of a refused response is the bad one, so that it hurts only itself (design §2 truth 3).

use std::collections::{BTreeSet, VecDeque};

use crate::snapshot::Name;

/// Splits the names of a refused response into smaller responses. Envoy's reason often names the culprits
/// (`Error adding/updating listener(s) a: …`): those go apart from the rest, else the names are halved. The reason
/// is only a hint; what counts is that a response of a single resource is refused.
pub(super) fn split(names: &BTreeSet<Name>, reason: &str) -> VecDeque<BTreeSet<Name>> {
    let (named, rest): (BTreeSet<Name>, BTreeSet<Name>) =
        names.iter().cloned().partition(|n| !n.is_empty() && mentions(reason, n));
    if !named.is_empty() && !rest.is_empty() {
        return [rest, named].into();
    }
    let mut first = names.clone();
    let middle = names.iter().nth(names.len() / 2).cloned();
    let second = middle.map(|m| first.split_off(&m)).unwrap_or_default();
    [first, second].into_iter().filter(|g| !g.is_empty()).collect()
}

/// Whether `text` holds `name` as a word of its own (`0.0.0.0_80` is not in `0.0.0.0_8080`).
fn mentions(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '|');
        let before = text[..at].chars().next_back();
        let mut after = text[at + name.len()..].chars();
        // A dot continues a name only when a letter or a digit follows it; else it ends a sentence.
        let continued = match after.next() {
            Some('.') => after.next().is_some_and(inside),
            next => next.is_some_and(inside),
        };
        !before.is_some_and(|c| inside(c) || c == '.') && !continued
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<Name> {
        list.iter().map(|n| Name::from(*n)).collect()
    }

    fn parts(list: &[&str], reason: &str) -> Vec<Vec<String>> {
        split(&names(list), reason).iter().map(|g| g.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn halves_when_the_reason_names_nothing() {
        assert_eq!(parts(&["a", "b", "c", "d", "e"], "?"), [vec!["a", "b"], vec!["c", "d", "e"]]);
        assert_eq!(parts(&["a", "b"], ""), [vec!["a"], vec!["b"]]);
        assert_eq!(parts(&["a"], ""), [vec!["a"]]);
    }

    #[test]
    fn sets_apart_what_the_reason_names() {
        let reason = "Error adding/updating listener(s) 0.0.0.0_80: bad.";
        assert_eq!(
            parts(&["0.0.0.0_80", "0.0.0.0_8080", "virtual"], reason),
            [vec!["0.0.0.0_8080", "virtual"], vec!["0.0.0.0_80"]]
        );
        assert_eq!(parts(&["80", "0.0.0.0_80"], reason), [vec!["80"], vec!["0.0.0.0_80"]]);
        assert_eq!(parts(&["a", "b"], "a and b."), [vec!["a"], vec!["b"]]);
    }
}
