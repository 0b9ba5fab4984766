//! What a round of propagation changed, and what work cost.

use super::Watched;
use crate::{model::Problem, snapshot::Generation};

/// Counts of work done since the start; differences between two readings are what a change cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Queries and emitters evaluated.
    pub queries_run: u64,
    /// Evaluations whose result was equal, where a change stopped.
    pub cut_off: u64,
    /// What evaluations looked at: inputs, results, parts, and each element of a set.
    pub values_read: u64,
    /// Nodes marked because something that they read changed.
    pub nodes_marked: u64,
    /// Elements inserted into or removed from sets.
    pub elements_moved: u64,
    /// Edges that came or went: as long as none does, everything is made of what it was made of.
    pub edges_moved: u64,
    /// Entries of parts inserted, replaced or removed.
    pub parts_patched: u64,
    /// Nodes that exist.
    pub nodes: u64,
}

/// What a round changed.
#[derive(Debug, Default)]
pub struct Round {
    /// Number of the round.
    pub generation: Generation,
    /// Watched queries whose result changed.
    pub watched: Vec<Watched>,
    /// Problems that appeared.
    pub appeared: Vec<Problem>,
    /// Problems that vanished.
    pub vanished: Vec<Problem>,
}

impl Round {
    /// Takes in what a following round changed.
    pub fn absorb(&mut self, next: Self) {
        self.generation = next.generation;
        self.watched.extend(next.watched);
        self.watched.sort_unstable();
        self.watched.dedup();
        self.appeared.extend(next.appeared);
        self.vanished.extend(next.vanished);
    }
}
