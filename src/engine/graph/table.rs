//! Typed storage: the rows of one kind of node, found by key.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{cx::Key, node::NodeId};

/// One row.
#[derive(Debug)]
pub(super) struct Row<K, P> {
    pub(super) key: K,
    pub(super) id: NodeId,
    pub(super) payload: P,
}

/// All rows of a kind. The index holds row numbers only: keys are stored once. Rows lie close together, so that memory
/// returns after a storm: the last one moves to where one was removed.
pub(super) struct Table<K, P> {
    index: HashTable<u32>,
    rows: Vec<Row<K, P>>,
    hasher: RandomState,
}

/// Below this many rows memory is not worth giving back.
const SMALL: usize = 64;

impl<K: Key, P> Default for Table<K, P> {
    fn default() -> Self {
        Self { index: HashTable::new(), rows: Vec::new(), hasher: RandomState::default() }
    }
}

impl<K: Key, P> Table<K, P> {
    pub(super) fn find(&self, key: &K) -> Option<NodeId> {
        let hash = self.hasher.hash_one(key);
        let row = self.index.find(hash, |row| self.row(*row).key == *key)?;
        Some(self.row(*row).id)
    }

    pub(super) fn insert(&mut self, key: K, id: NodeId, payload: P) -> u32 {
        let hash = self.hasher.hash_one(&key);
        let at = u32::try_from(self.rows.len()).expect("fewer than 2^32 nodes fit into memory");
        self.rows.push(Row { key, id, payload });
        let (rows, hasher) = (&self.rows, &self.hasher);
        self.index.insert_unique(hash, at, |row| hasher.hash_one(&rows[*row as usize].key));
        at
    }

    /// Takes a row out. Returns the node whose row has moved to this place, if one has.
    pub(super) fn remove(&mut self, at: u32) -> (Row<K, P>, Option<NodeId>) {
        let last = u32::try_from(self.rows.len() - 1).expect("rows are numbered by 32 bits");
        self.unlist(at);
        if last != at {
            self.unlist(last);
        }
        let removed = self.rows.swap_remove(at as usize);
        let moved = self.rows.get(at as usize).map(|row| (row.id, self.hasher.hash_one(&row.key)));
        if let Some((_, hash)) = moved {
            let (rows, hasher) = (&self.rows, &self.hasher);
            self.index.insert_unique(hash, at, |row| hasher.hash_one(&rows[*row as usize].key));
        }
        self.shrink();
        (removed, moved.map(|(id, _)| id))
    }

    pub(super) fn row(&self, at: u32) -> &Row<K, P> {
        &self.rows[at as usize]
    }

    pub(super) fn row_mut(&mut self, at: u32) -> &mut Row<K, P> {
        &mut self.rows[at as usize]
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<K, P>> {
        self.rows.iter()
    }

    /// How many rows there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.rows.capacity().max(self.index.capacity())
    }

    fn unlist(&mut self, at: u32) {
        let hash = self.hasher.hash_one(&self.row(at).key);
        if let Ok(entry) = self.index.find_entry(hash, |row| *row == at) {
            entry.remove();
        }
    }

    /// Gives memory back once a quarter of it is in use.
    fn shrink(&mut self) {
        if self.rows.is_empty() {
            *self = Self::default();
        } else if self.rows.capacity() > SMALL && self.rows.len() * 4 < self.rows.capacity() {
            let enough = self.rows.len() * 2;
            self.rows.shrink_to(enough);
            let (rows, hasher) = (&self.rows, &self.hasher);
            self.index.shrink_to(enough, |row| hasher.hash_one(&rows[*row as usize].key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_moves_into_a_gap_and_is_found_there() {
        let mut table = Table::<u32, u32>::default();
        (0..5).for_each(|n| _ = table.insert(n, n + 100, n));
        let (removed, moved) = table.remove(1);
        assert_eq!((removed.key, moved), (1, Some(104)));
        assert_eq!(table.row(1).key, 4);
        assert_eq!([0, 2, 3, 4].map(|n| table.find(&n)), [Some(100), Some(102), Some(103), Some(104)]);
        assert_eq!(table.find(&1), None);
        assert_eq!(table.remove(3).1, None, "the last one leaves no gap");
        assert_eq!(table.find(&4), Some(104));
    }

    #[test]
    fn memory_returns_when_rows_go() {
        let mut table = Table::<u32, u32>::default();
        (0..10_000).for_each(|n| _ = table.insert(n, n, n));
        (0..9_900).for_each(|_| _ = table.remove(0));
        assert!(table.capacity() <= 1_000, "{}", table.capacity());
        (0..100).for_each(|_| _ = table.remove(0));
        assert_eq!(table.capacity(), 0);
    }
}
