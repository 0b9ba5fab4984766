//! `exportTo` (translation §2).

use std::collections::BTreeSet;

use super::{Problems, host::is_label};
use crate::model::{Code, DefaultVisibility, Namespace, Visibility};

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
        problems.add(Code::ExportToInvalid, field, "\"~\" (nobody) must stand alone; the others are ignored");
    }
    if words.contains(&"~") {
        return DefaultVisibility::Namespaces { own: false, named: BTreeSet::new() };
    }
    if words.is_empty() || words.contains(&"*") {
        return DefaultVisibility::Public;
    }
    let mut named = BTreeSet::new();
    for word in words.iter().filter(|w| **w != ".") {
        if is_label(word) {
            named.insert((*word).into());
        } else {
            problems.add(
                Code::ExportToInvalid,
                field,
                format!("{word:?} is not a namespace, \".\", \"*\" or \"~\"; it is left out"),
            );
        }
    }
    DefaultVisibility::Namespaces { own: words.contains(&"."), named }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> (Option<Visibility>, usize) {
        let mut problems = Problems::of("Service", &Default::default());
        let made = visibility(words, &"own".into(), "spec.exportTo", &mut problems);
        (made, problems.into_vec().len())
    }

    fn of(names: &[&str]) -> Option<Visibility> {
        Some(Visibility::Namespaces(names.iter().map(|n| Namespace::from(*n)).collect()))
    }

    #[test]
    fn words_say_who_sees_an_object() {
        assert_eq!(read(&[]), (None, 0));
        assert_eq!(read(&[" . ", "a"]), (of(&["a", "own"]), 0));
        assert_eq!(read(&["a", "*"]), (Some(Visibility::Public), 0));
        assert_eq!(read(&["~"]), (of(&[]), 0));
        assert_eq!(read(&["~", "a"]), (of(&[]), 1));
        assert_eq!(read(&["A b", "", "a"]), (of(&["a"]), 2));
    }

    #[test]
    fn a_default_goes_by_the_namespace_of_each_object() {
        let mut problems = Problems::of("ConfigMap", &Default::default());
        let default = default_visibility(&[".", "a"], "x", &mut problems);
        assert_eq!(Some(default.of(&"one".into())), of(&["a", "one"]));
        let said = Visibility::Public;
        assert_eq!(*default.over(Some(&said), &"one".into()), Visibility::Public);
        assert_eq!(Some(default.over(None, &"two".into()).into_owned()), of(&["a", "two"]));
    }
}
