//! The elements of a set. Most sets have one or two, and there are thousands of sets: a tree's node would cost each of
//! them room for eleven.

use std::collections::BTreeMap;

/// So many elements are listed; more are a tree.
const LISTED: usize = 8;

/// Elements with how often each is emitted, ascending.
#[derive(Debug)]
pub(super) enum Elems<E> {
    Few(Vec<(E, u32)>),
    Many(BTreeMap<E, u32>),
}

impl<E> Default for Elems<E> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<E: Ord> Elems<E> {
    /// Counts an element up; whether it is new.
    pub(super) fn insert(&mut self, elem: E) -> bool {
        match self {
            Self::Few(list) => match list.binary_search_by(|(e, _)| e.cmp(&elem)) {
                Ok(at) => {
                    list[at].1 += 1;
                    false
                }
                Err(_) if list.len() == LISTED => {
                    let mut tree: BTreeMap<_, _> = std::mem::take(list).into_iter().collect();
                    tree.insert(elem, 1);
                    *self = Self::Many(tree);
                    true
                }
                Err(at) => {
                    // A vector would begin with room for four.
                    list.reserve_exact(if list.len() < 2 { 1 } else { LISTED - list.len() });
                    list.insert(at, (elem, 1));
                    true
                }
            },
            Self::Many(tree) => {
                let count = tree.entry(elem).or_insert(0);
                *count += 1;
                *count == 1
            }
        }
    }

    /// Counts an element down; whether it is gone.
    pub(super) fn remove(&mut self, elem: &E) -> bool {
        match self {
            Self::Few(list) => {
                let Ok(at) = list.binary_search_by(|(e, _)| e.cmp(elem)) else { return false };
                list[at].1 -= 1;
                let gone = list[at].1 == 0;
                if gone {
                    list.remove(at);
                }
                gone
            }
            Self::Many(tree) => {
                let Some(count) = tree.get_mut(elem) else { return false };
                *count -= 1;
                let gone = *count == 0;
                if gone {
                    tree.remove(elem);
                }
                // Later than it became a tree, so that one that comes and goes does not change the form each time.
                if tree.len() == LISTED / 2 {
                    *self = Self::Few(std::mem::take(tree).into_iter().collect());
                }
                gone
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        // A tree never is.
        matches!(self, Self::Few(list) if list.is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        let (list, tree) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many(tree) => (None, Some(tree)),
        };
        list.into_iter().flatten().map(|(e, _)| e).chain(tree.into_iter().flat_map(BTreeMap::keys))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_as_a_tree_does(steps in prop::collection::vec((any::<bool>(), 0u8..20), 0..200)) {
            let (mut elems, mut model) = (Elems::default(), BTreeMap::<u8, u32>::new());
            for (comes, elem) in steps {
                let count = model.get(&elem).copied().unwrap_or_default();
                if comes {
                    prop_assert_eq!(elems.insert(elem), count == 0);
                    model.insert(elem, count + 1);
                } else {
                    prop_assert_eq!(elems.remove(&elem), count == 1);
                    model.insert(elem, count.saturating_sub(1));
                }
                model.retain(|_, count| *count > 0);
                prop_assert!(elems.iter().eq(model.keys()));
                prop_assert_eq!(elems.is_empty(), model.is_empty());
            }
        }
    }
}
