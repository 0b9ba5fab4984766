//! Nodes of the dependency graph and their edges.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

/// Index of a node; reused after the node is freed.
pub(super) type NodeId = u32;

/// Above this many readers a hash set replaces the list, so that removing one of 10,000 does not scan them.
const LISTED_READERS: usize = 16;

/// Who reads a node.
#[derive(Debug)]
pub(super) enum Readers {
    Few(SmallVec<[NodeId; 4]>),
    #[expect(clippy::box_collection, reason = "few nodes have many, and each has room for the larger form")]
    Many(Box<HashSet<NodeId, FixedState>>),
}

impl Readers {
    pub(super) fn insert(&mut self, id: NodeId) {
        match self {
            Self::Few(list) if list.len() < LISTED_READERS => list.push(id),
            Self::Few(list) => {
                let mut set: HashSet<_, _> = list.drain(..).collect();
                set.insert(id);
                *self = Self::Many(Box::new(set));
            }
            Self::Many(set) => {
                set.insert(id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        match self {
            Self::Few(list) => {
                if let Some(at) = list.iter().position(|r| *r == id) {
                    list.swap_remove(at);
                }
            }
            Self::Many(set) => {
                set.remove(&id);
                // Memory returns after a storm: a set that emptied shrinks with it.
                if set.len() <= LISTED_READERS / 2 {
                    *self = Self::Few(set.drain().collect());
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(list) => list.is_empty(),
            Self::Many(set) => set.is_empty(),
        }
    }

    pub(super) fn to_vec(&self) -> SmallVec<[NodeId; 8]> {
        match self {
            Self::Few(list) => list.iter().copied().collect(),
            Self::Many(set) => set.iter().copied().collect(),
        }
    }
}

/// A node: where its value is, whom it reads and who reads it.
#[derive(Debug)]
pub(super) struct Node {
    /// Index into the kinds.
    pub(super) kind: u16,
    /// Whether it waits in the bucket of its stage.
    pub(super) dirty: bool,
    /// Row in the table of its kind.
    pub(super) row: u32,
    /// Holders other than readers: inputs that exist, parts' items, attached proxies.
    pub(super) pins: u32,
    /// What it read last time; sorted, without duplicates.
    pub(super) deps: Box<[NodeId]>,
    /// Who read it.
    pub(super) readers: Readers,
}

impl Node {
    pub(super) fn new(kind: u16, row: u32) -> Self {
        Self { kind, dirty: false, row, pins: 0, deps: Box::default(), readers: Readers::Few(SmallVec::new()) }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.pins == 0 && self.readers.is_empty()
    }
}
