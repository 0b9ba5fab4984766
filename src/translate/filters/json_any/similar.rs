//! Names that were probably meant. An object may have many that are not known, and there are thousands to compare them with.

use prost_reflect::MessageDescriptor;

/// Longer than any name of a message or field, and as many bits as a machine compares at once.
const MAX_NAME: usize = 128;

/// The most similar of some names, unless none is similar enough to be meant: three fifths of the longer one stay.
pub(super) fn nearest<T: AsRef<str>>(name: &str, names: impl IntoIterator<Item = T>) -> Option<String> {
    let name = Pattern::new(name)?;
    let mut best: Option<(f64, T)> = None;
    for candidate in names {
        let text = candidate.as_ref();
        let longest = name.len.max(text.len());
        let score = |changes: usize| 1.0 - changes as f64 / longest as f64;
        let least = best.as_ref().map_or(0.6, |(score, _)| *score);
        // Lengths that differ are changes already.
        if longest == 0 || score(name.len.abs_diff(text.len())) < least {
            continue;
        }
        let score = score(name.changes_to(text));
        if score >= least {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, name)| name.as_ref().to_owned())
}

/// The most similar field of a message.
pub(super) fn nearest_field(name: &str, message: &MessageDescriptor) -> Option<String> {
    nearest(name, message.fields().map(|field| field.name().to_owned()))
}

/// A name that is compared with others: where in it each byte stands.
struct Pattern {
    len: usize,
    places: Box<[u128; 256]>,
}

impl Pattern {
    fn new(name: &str) -> Option<Self> {
        let mut places = Box::new([0; 256]);
        if name.is_empty() || name.len() > MAX_NAME {
            return None;
        }
        name.bytes().enumerate().for_each(|(at, byte)| places[usize::from(byte)] |= 1 << at);
        Some(Self { len: name.len(), places })
    }

    /// The Levenshtein distance in bytes, a column of its table at once (Myers 1999, in Hyyrö's form): a bit for each row
    /// says whether the cell is one more, or one less, than the one above it.
    fn changes_to(&self, other: &str) -> usize {
        let last = 1 << (self.len - 1);
        let (mut more, mut less, mut changes) = (u128::MAX, 0, self.len);
        for byte in other.bytes() {
            let equal = self.places[usize::from(byte)];
            let diagonal = ((equal & more).wrapping_add(more) ^ more) | equal | less;
            let (right_more, right_less) = (less | !(diagonal | more), more & diagonal);
            changes += usize::from(right_more & last != 0);
            changes -= usize::from(right_less & last != 0);
            let (right_more, right_less) = (right_more << 1 | 1, right_less << 1);
            more = right_less | !(diagonal | right_more);
            less = right_more & diagonal;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_meant_is_found() {
        let names = ["connect_timeout", "name", "lb_policy"];
        assert_eq!(nearest("conect_timeout", names).as_deref(), Some("connect_timeout"));
        assert_eq!(nearest("lb_polizy", names).as_deref(), Some("lb_policy"));
        assert_eq!(nearest("zone", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(MAX_NAME + 1), names), None);
    }

    proptest! {
        #[test]
        fn changes_are_counted_as_by_the_book(one in "[a-c]{1,128}", other in "[a-d]{0,150}") {
            let pattern = Pattern::new(&one).expect("a short name");
            prop_assert_eq!(pattern.changes_to(&other), strsim::levenshtein(&one, &other));
        }
    }
}
