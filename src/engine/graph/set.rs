//! Sets that are maintained element by element.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::{
    Db,
    cx::{Cx, Key, Query},
    elems::Elems,
    node::NodeId,
};

/// A family of sets; a key names one set of the family.
pub trait Set: Key {
    /// What it holds.
    type Elem: Ord + Key;
    /// Higher than that of what is emitted into it.
    const STAGE: u8;
}

/// A query whose result is elements of sets. One exists for each key of what it was registered for
/// ([`Db::emit_for_input`], [`Db::emit_for_elements`], [`Db::emit_for_sets`]).
pub trait Emit: Key {
    /// The family of sets that it fills.
    type Into: Set;
    /// Reads only what has a lower stage.
    const STAGE: u8;
    /// The elements, in an order that depends on what is read only.
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Self::Into, <Self::Into as Set>::Elem)>;
}

/// The node of an emitter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Emission<E>(pub(super) E);

/// What an emitter emits, without duplicates. There are as many as nodes, nearly: they have no room to spare.
pub(super) type Emitted<E> = Arc<[(<E as Emit>::Into, <<E as Emit>::Into as Set>::Elem)]>;

impl<E: Emit> Query for Emission<E> {
    type Value = Emitted<E>;
    const STAGE: u8 = E::STAGE;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        const { assert!(E::STAGE < <E::Into as Set>::STAGE, "a set is filled from lower stages") };
        let mut all = self.0.run(cx);
        let mut seen: HashSet<_, FixedState> = HashSet::default();
        all.retain(|e| seen.insert(e.clone()));
        all.into()
    }
}

/// Tells a part of an element.
pub(super) type ElemHook<S> = fn(&mut Db, NodeId, &<S as Set>::Elem, bool);

/// One set: its elements with how often each is emitted.
pub(super) struct SetRow<S: Set> {
    pub(super) elems: Elems<S::Elem>,
    pub(super) listed: Option<Arc<[S::Elem]>>,
    /// Parts that hold an item per element, with what tells them of a new (`true`) or gone element.
    pub(super) parts: Vec<(NodeId, ElemHook<S>)>,
}

impl<S: Set> Default for SetRow<S> {
    fn default() -> Self {
        Self { elems: Elems::default(), listed: None, parts: Vec::new() }
    }
}

impl<S: Set> SetRow<S> {
    /// As [`Elems::insert`].
    pub(super) fn insert(&mut self, elem: S::Elem) -> bool {
        let new = self.elems.insert(elem);
        if new {
            self.listed = None;
        }
        new
    }

    /// As [`Elems::remove`].
    pub(super) fn remove(&mut self, elem: &S::Elem) -> bool {
        let gone = self.elems.remove(elem);
        if gone {
            self.listed = None;
        }
        gone
    }

    pub(super) fn list(&mut self) -> Arc<[S::Elem]> {
        // Most sets that are asked for are empty: what does not exist is looked for under many names.
        if self.elems.is_empty() {
            return Arc::default();
        }
        self.listed.get_or_insert_with(|| self.elems.iter().cloned().collect()).clone()
    }
}

/// Applies the difference between two emissions of one emitter.
pub(super) fn apply_emission<E: Emit>(db: &mut Db, old: Option<&Emitted<E>>, new: Option<&Emitted<E>>) {
    let (old, new) = (old.map_or(&[][..], |v| v), new.map_or(&[][..], |v| v));
    let had: HashSet<_, FixedState> = old.iter().collect();
    let has: HashSet<_, FixedState> = new.iter().collect();
    // Insertions first: an element that moves between emitters of one set never leaves it.
    for (set, elem) in new.iter().filter(|e| !had.contains(e)) {
        db.set_insert(set, elem);
    }
    for (set, elem) in old.iter().filter(|e| !has.contains(e)) {
        db.set_remove(set, elem);
    }
}
