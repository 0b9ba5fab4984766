//! `exportTo` (translation §2).

use std::collections::BTreeSet;

use super::Problems;
use crate::model::Visibility;

/// To whom a list of words makes an object visible: `*` everybody, `.` its own namespace, `~` nobody, else names.
/// An empty list takes the default, and everybody when that is empty too.
pub(crate) fn visibility<S: AsRef<str>, D: AsRef<str>>(
    words: &[S],
    default: &[D],
    namespace: &str,
    field: &str,
    problems: &mut Problems,
) -> Visibility {
    let words: Vec<&str> = match words {
        [] => default.iter().map(AsRef::as_ref).collect(),
        given => given.iter().map(|w| w.as_ref().trim()).collect(),
    };
    if words.is_empty() {
        return Visibility::Public;
    }
    if words.contains(&"~") && words.len() > 1 {
        problems.add(field, "\"~\" (nobody) must stand alone; the others are ignored");
    }
    if words.contains(&"~") {
        return Visibility::Namespaces(BTreeSet::new());
    }
    if words.contains(&"*") {
        return Visibility::Public;
    }
    let resolve = |word: &&str| if *word == "." { namespace.into() } else { (*word).into() };
    Visibility::Namespaces(words.iter().filter(|w| !w.is_empty()).map(resolve).collect())
}
