//! What a query sees, and what there is to read.

use std::{fmt::Debug, hash::Hash, marker::PhantomData, sync::Arc};

use super::{Db, Layer, Set, node::NodeId};
use crate::{
    model::{ObjectRef, Problem},
    snapshot::PartState,
};

/// What any key must be.
pub trait Key: Clone + Eq + Hash + Debug + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Key for T {}

/// A relation that is set from outside. The key's type names the relation. Stage 0.
pub trait Input: Key {
    /// What it holds for a key.
    type Value: PartialEq + Send + Sync + 'static;
    /// The object that a key stands for, when it is one that users write.
    fn object(&self) -> Option<ObjectRef> {
        None
    }
}

/// A tracked pure function; the key holds its arguments.
pub trait Query: Key {
    /// The result. Clones should be cheap (`Arc` what is large); equality stops a change.
    type Value: Clone + PartialEq + Send + Sync + 'static;
    /// Reads only what has a lower stage.
    const STAGE: u8;
    /// Computes the result.
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value;
    /// Whether something of an object that was looked at is in a result. What reads results without it is not made of the
    /// object.
    fn has(_result: &Self::Value, _object: &ObjectRef) -> bool {
        true
    }
}

/// Records what one evaluation of the query `Q` reads and reports.
pub struct Cx<'a, Q> {
    pub(super) db: &'a mut Db,
    pub(super) deps: Vec<NodeId>,
    pub(super) problems: Vec<Problem>,
    /// See [`super::Stats::values_read`].
    pub(super) values_read: u64,
    query: PhantomData<fn() -> Q>,
}

impl<'a, Q: Query> Cx<'a, Q> {
    pub(super) fn new(db: &'a mut Db) -> Self {
        Self { db, deps: Vec::new(), problems: Vec::new(), values_read: 0, query: PhantomData }
    }

    /// The value of an input, `None` when absent.
    pub fn input<I: Input>(&mut self, key: &I) -> Option<Arc<I::Value>> {
        const { assert!(Q::STAGE > 0, "stage 0 is that of inputs") };
        let (id, value) = self.db.read_input(key);
        self.note(id, 1);
        value
    }

    /// The result of another query.
    pub fn get<D: Query>(&mut self, query: &D) -> D::Value {
        const { assert!(D::STAGE < Q::STAGE, "a query reads lower stages only") };
        let (id, value) = self.db.demand(query);
        self.note(id, 1);
        value
    }

    /// The elements of a set, in order. For small sets: the whole set is one dependency.
    pub fn set<S: Set>(&mut self, key: &S) -> Arc<[S::Elem]> {
        const { assert!(S::STAGE < Q::STAGE, "a query reads lower stages only") };
        let (id, elems) = self.db.read_set(key);
        self.note(id, 1 + elems.len());
        elems
    }

    /// The content of a part.
    pub fn part<L: Layer>(&mut self, layer: &L, facets: &L::Facets) -> PartState {
        const { assert!(L::Item::STAGE + 1 < Q::STAGE, "a query reads lower stages only") };
        let (id, state) = self.db.read_part(layer, facets);
        self.note(id, 1);
        state
    }

    fn note(&mut self, id: NodeId, values: usize) {
        self.deps.push(id);
        self.values_read += values as u64;
    }

    /// Reports something wrong; it stays reported until this query runs again without reporting it or is freed.
    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}
