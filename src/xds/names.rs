//! The names that streams ask for. Proxies of a class ask for the same thousands of names: equal lists are one in memory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::snapshot::Name;

/// Lists that are in use, by the sum of the hashes of their names: that of a list with a name more is known without
/// making it.
#[derive(Debug, Default)]
pub struct NameSets(Mutex<HashMap<u64, Weak<[Name]>>>);

impl NameSets {
    /// The list of these ascending names.
    fn share<'a>(&self, sum: u64, names: impl Iterator<Item = &'a Name> + Clone) -> Arc<[Name]> {
        // Not under the lock: a list may have tens of thousands of names.
        let known = self.known().get(&sum).and_then(Weak::upgrade);
        if let Some(list) = known {
            // Whoever asks may be hostile, and sums are easily forged.
            let same = |(a, b): (&Name, &Name)| Arc::ptr_eq(a, b) || a == b;
            if list.len() == names.clone().count() && list.iter().zip(names.clone()).all(same) {
                return list;
            }
        }
        let list: Arc<[Name]> = names.cloned().collect();
        self.known().insert(sum, Arc::downgrade(&list));
        list
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Weak<[Name]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets lists that nobody has. To be called now and then.
    pub(super) fn sweep(&self) {
        let mut known = self.known();
        known.retain(|_, list| list.strong_count() > 0);
        known.shrink_to_fit();
    }

    /// How many lists are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Names, sorted.
#[derive(Debug)]
pub(super) struct NameSet {
    names: Arc<[Name]>,
    sum: u64,
    sets: Arc<NameSets>,
}

impl NameSet {
    pub(super) fn new(sets: &Arc<NameSets>) -> Self {
        Self { names: Arc::default(), sum: 0, sets: Arc::clone(sets) }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.binary_search_by(|n| (**n).cmp(name)).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.names.iter()
    }

    /// Adds names; returns those that are new, ascending.
    pub(super) fn add(&mut self, names: impl IntoIterator<Item = Name>) -> Vec<Name> {
        let mut new: Vec<Name> = names.into_iter().filter(|n| !self.contains(n)).collect();
        new.sort_unstable();
        new.dedup();
        if !new.is_empty() {
            self.sum = new.iter().fold(self.sum, |sum, name| sum.wrapping_add(hash(name)));
            self.names = self.sets.share(self.sum, Merged { left: &self.names, right: &new });
        }
        new
    }

    pub(super) fn remove(&mut self, gone: &BTreeSet<Name>) {
        let is_gone = |name: &&Name| gone.contains(*name);
        if gone.iter().any(|name| self.contains(name)) {
            self.sum = self.names.iter().filter(is_gone).fold(self.sum, |sum, name| sum.wrapping_sub(hash(name)));
            self.names = self.sets.share(self.sum, self.names.iter().filter(|name| !is_gone(name)));
        }
    }
}

fn hash(name: &Name) -> u64 {
    xxh3_64(name.as_bytes())
}

/// Two ascending lists without a common name, as one.
#[derive(Clone)]
struct Merged<'a> {
    left: &'a [Name],
    right: &'a [Name],
}

impl<'a> Iterator for Merged<'a> {
    type Item = &'a Name;

    fn next(&mut self) -> Option<&'a Name> {
        let from_left = match (self.left.first(), self.right.first()) {
            (Some(left), Some(right)) => left < right,
            (left, _) => left.is_some(),
        };
        let list = if from_left { &mut self.left } else { &mut self.right };
        let (first, rest) = list.split_first()?;
        *list = rest;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(set: &NameSet) -> Vec<String> {
        set.iter().map(ToString::to_string).collect()
    }

    fn name(n: u8) -> Name {
        format!("n{n}").into()
    }

    #[test]
    fn equal_lists_are_one_in_memory_and_are_forgotten() {
        let sets = Arc::<NameSets>::default();
        let (mut one, mut other) = (NameSet::new(&sets), NameSet::new(&sets));
        one.add((0..50).map(name));
        (0..60).for_each(|n| drop(other.add([name(n)])));
        other.remove(&(50..60).map(name).collect());
        assert!(Arc::ptr_eq(&one.names, &other.names), "however they came to be");
        sets.sweep();
        assert_eq!(sets.len(), 1);
        drop((one, other));
        sets.sweep();
        assert!(sets.is_empty());
    }

    #[test]
    fn a_forged_sum_changes_nothing_for_others() {
        let sets = Arc::<NameSets>::default();
        let mut honest = NameSet::new(&sets);
        honest.add([name(1)]);
        let mut forged = NameSet::new(&sets);
        forged.sum = hash(&name(1)).wrapping_sub(hash(&name(2)));
        forged.add([name(2)]);
        let mut late = NameSet::new(&sets);
        late.add([name(1)]);
        assert_eq!(
            (texts(&honest), texts(&forged), texts(&late)),
            (vec!["n1".into()], vec!["n2".into()], vec!["n1".into()])
        );
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), prop::collection::btree_set(0u8..20, 0..8)), 0..20)) {
            let sets = Arc::<NameSets>::default();
            let (mut set, mut model) = (NameSet::new(&sets), BTreeSet::new());
            for (adds, numbers) in steps {
                let names: BTreeSet<Name> = numbers.into_iter().map(name).collect();
                if adds {
                    let new: Vec<Name> = names.difference(&model).cloned().collect();
                    prop_assert_eq!(set.add(names.clone()), new);
                    model.extend(names);
                } else {
                    set.remove(&names);
                    model.retain(|n| !names.contains(n));
                }
                prop_assert_eq!(texts(&set), model.iter().map(ToString::to_string).collect::<Vec<_>>());
            }
        }
    }
}
