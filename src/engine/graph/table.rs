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

/// All rows of a kind. The index holds row numbers only: keys are stored once.
pub(super) struct Table<K, P> {
    index: HashTable<u32>,
    rows: Vec<Option<Row<K, P>>>,
    free: Vec<u32>,
    hasher: RandomState,
}

impl<K: Key, P> Default for Table<K, P> {
    fn default() -> Self {
        Self { index: HashTable::new(), rows: Vec::new(), free: Vec::new(), hasher: RandomState::default() }
    }
}

impl<K: Key, P> Table<K, P> {
    pub(super) fn find(&self, key: &K) -> Option<NodeId> {
        let hash = self.hasher.hash_one(key);
        let row = self.index.find(hash, |row| self.key_at(*row) == Some(key))?;
        self.rows[*row as usize].as_ref().map(|r| r.id)
    }

    pub(super) fn insert(&mut self, key: K, id: NodeId, payload: P) -> u32 {
        let hash = self.hasher.hash_one(&key);
        let row = Row { key, id, payload };
        let at = match self.free.pop() {
            Some(at) => {
                self.rows[at as usize] = Some(row);
                at
            }
            None => {
                self.rows.push(Some(row));
                u32::try_from(self.rows.len() - 1).expect("fewer than 2^32 nodes fit into memory")
            }
        };
        let (rows, hasher) = (&self.rows, &self.hasher);
        self.index.insert_unique(hash, at, |r| rows[*r as usize].as_ref().map_or(0, |r| hasher.hash_one(&r.key)));
        at
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Row<K, P>> {
        let hash = self.hasher.hash_one(self.key_at(at)?);
        if let Ok(entry) = self.index.find_entry(hash, |row| *row == at) {
            entry.remove();
        }
        self.free.push(at);
        let row = self.rows[at as usize].take();
        self.shrink();
        row
    }

    pub(super) fn row(&self, at: u32) -> &Row<K, P> {
        self.rows[at as usize].as_ref().expect("a live node has a row")
    }

    pub(super) fn row_mut(&mut self, at: u32) -> &mut Row<K, P> {
        self.rows[at as usize].as_mut().expect("a live node has a row")
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<K, P>> {
        self.rows.iter().flatten()
    }

    fn key_at(&self, at: u32) -> Option<&K> {
        self.rows[at as usize].as_ref().map(|r| &r.key)
    }

    /// Gives memory back once everything is gone or the index is mostly empty.
    fn shrink(&mut self) {
        if self.index.is_empty() {
            *self = Self::default();
        } else if self.index.capacity() > 1024 && self.index.len() * 8 < self.index.capacity() {
            let (rows, hasher) = (&self.rows, &self.hasher);
            self.index
                .shrink_to(self.index.len() * 2, |r| rows[*r as usize].as_ref().map_or(0, |r| hasher.hash_one(&r.key)));
        }
    }
}
