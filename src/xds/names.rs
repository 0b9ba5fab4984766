//! The names that streams ask for. Proxies of a class ask for the same thousands of names: equal lists are one in memory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use imbl::OrdSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::snapshot::Name;

type Names = OrdSet<Name>;

/// Sets that are in use, by the sum of the hashes of their names: that of a set with a name more is known without
/// making it.
#[derive(Debug, Default)]
pub struct NameSets {
    /// What all begin with.
    empty: Arc<Names>,
    known: Mutex<HashMap<u64, Known>>,
}

/// A set, and how it was made last.
#[derive(Clone, Debug)]
struct Known {
    set: Weak<Names>,
    /// Not freed before this is, so that no other set can be where it was.
    from: Weak<Names>,
    change: Change,
}

/// What makes a set of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// None of these was in it.
    Add(Arc<[Name]>),
    /// All of these were.
    Remove(Arc<[Name]>),
}

impl Change {
    fn apply(&self, names: &Names) -> Names {
        let mut names = names.clone();
        match self {
            Self::Add(new) => names.extend(new.iter().cloned()),
            Self::Remove(gone) => gone.iter().for_each(|name| _ = names.remove(name)),
        }
        names
    }

    /// What it does to the sum of the hashes.
    fn sum(&self, before: u64) -> u64 {
        match self {
            Self::Add(new) => new.iter().fold(before, |sum, name| sum.wrapping_add(hash(name))),
            Self::Remove(gone) => gone.iter().fold(before, |sum, name| sum.wrapping_sub(hash(name))),
        }
    }
}

impl NameSets {
    /// The set that a change makes of another one. All who make the same change of the same set share what comes out,
    /// and only the first of them pays more than for the change; sets that came to be differently are compared.
    fn share(&self, sum: u64, from: &Arc<Names>, change: Change) -> Arc<Names> {
        // Not under the lock: a set may have tens of thousands of names.
        let known = self.known().get(&sum).cloned();
        let same = known.as_ref().and_then(|known| Some((known.set.upgrade()?, known)));
        // Whoever asks may be hostile, and sums are easily forged: what is compared is the names.
        if let Some((set, known)) = &same
            && known.from.as_ptr() == Arc::as_ptr(from)
            && known.change == change
        {
            return Arc::clone(set);
        }
        let made = change.apply(from);
        let set = match same {
            Some((set, _)) if *set == made => set,
            _ => Arc::new(made),
        };
        let known = Known { set: Arc::downgrade(&set), from: Arc::downgrade(from), change };
        self.known().insert(sum, known);
        set
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets sets that nobody has. To be called now and then.
    pub(super) fn sweep(&self) {
        let mut known = self.known();
        known.retain(|_, known| known.set.strong_count() > 0);
        known.shrink_to_fit();
    }

    /// How many sets are known.
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
#[derive(Clone, Debug)]
pub(super) struct NameSet {
    names: Arc<Names>,
    sum: u64,
    sets: Arc<NameSets>,
}

impl NameSet {
    pub(super) fn new(sets: &Arc<NameSets>) -> Self {
        Self { names: Arc::clone(&sets.empty), sum: 0, sets: Arc::clone(sets) }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether both are one in memory, as equal lists of streams are.
    pub(super) fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.names, &other.names)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The sum of the hashes of the names: equal for equal sets, and easily forged.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.names.iter()
    }

    /// Adds names; returns those that are new, ascending.
    pub(super) fn add(&mut self, names: impl IntoIterator<Item = Name>) -> Arc<[Name]> {
        let mut new: Vec<Name> = names.into_iter().filter(|n| !self.contains(n)).collect();
        new.sort_unstable();
        new.dedup();
        let new: Arc<[Name]> = new.into();
        if !new.is_empty() {
            self.change(Change::Add(Arc::clone(&new)));
        }
        new
    }

    pub(super) fn remove(&mut self, gone: &BTreeSet<Name>) {
        let gone: Arc<[Name]> = gone.iter().filter(|name| self.contains(name)).cloned().collect();
        if !gone.is_empty() {
            self.change(Change::Remove(gone));
        }
    }

    fn change(&mut self, change: Change) {
        self.sum = change.sum(self.sum);
        self.names = self.sets.share(self.sum, &self.names, change);
    }
}

fn hash(name: &Name) -> u64 {
    xxh3_64(name.as_bytes())
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
    fn the_same_change_of_the_same_set_is_made_once() {
        let sets = Arc::<NameSets>::default();
        let mut streams: Vec<NameSet> = (0..3).map(|_| NameSet::new(&sets)).collect();
        for stream in &mut streams {
            stream.add((0..50).map(name));
        }
        let common = Arc::clone(&streams[0].names);
        for stream in &mut streams {
            assert!(Arc::ptr_eq(&stream.names, &common));
            stream.add([name(50)]);
            stream.remove(&[name(7), name(200)].into());
        }
        assert!(streams.iter().all(|s| Arc::ptr_eq(&s.names, &streams[0].names)));
        // What the first change made lives in `known` as how, not as a set.
        assert_eq!(Arc::strong_count(&common), 1);
        assert_eq!(streams[0].len(), 50);
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
                    prop_assert_eq!(set.add(names.clone()).to_vec(), new);
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
