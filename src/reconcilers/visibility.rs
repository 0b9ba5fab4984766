//! `exportTo` (translation §2).

use std::collections::BTreeSet;

use super::Problems;
use crate::model::{DefaultVisibility, Namespace, Visibility};

/// To whom a list of words makes an object visible: `*` everybody, `.` its own namespace, `~` nobody, else names.
/// `None` for an empty list: the mesh's default.
pub(crate) fn visibility<S: AsRef<str>>(
    words: &[S],
    namespace: &Namespace,
    field: &str,
    problems: &mut Problems,
) -> Option<Visibility> {
    (!words.is_empty()).then(|| default_visibility(words, field, problems).of(namespace))
}

/// The same words as a default for objects of any namespace; an empty list is everybody.
pub(super) fn default_visibility<S: AsRef<str>>(
    words: &[S],
    field: &str,
    problems: &mut Problems,
) -> DefaultVisibility {
    let words: Vec<&str> = words.iter().map(|w| w.as_ref().trim()).collect();
    if words.contains(&"~") && words.len() > 1 {
        problems.add(field, "\"~\" (nobody) must stand alone; the others are ignored");
    }
    if words.contains(&"~") {
        return DefaultVisibility::Namespaces { own: false, named: BTreeSet::new() };
    }
    if words.is_empty() || words.contains(&"*") {
        return DefaultVisibility::Public;
    }
    let named = words.iter().filter(|w| !matches!(**w, "" | ".")).map(|w| (*w).into());
    DefaultVisibility::Namespaces { own: words.contains(&"."), named: named.collect() }
}
