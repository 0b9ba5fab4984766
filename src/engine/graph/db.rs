//! The graph: inputs in, rounds of propagation, what queries read.
//!
//! | file | what |
//! |---|---|
//! | [`kind`], [`storage`] | nodes and their typed tables |
//! | [`propagate`] | evaluation, edges, marks; the end of nodes that nobody needs |
//! | [`parts`] | layers seen with facets, as persistent maps |
//! | [`round`] | what a round changed and cost |
//! | [`explain`] | where a resource comes from |

mod explain;
mod kind;
mod parts;
mod propagate;
mod round;
mod storage;

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    sync::Arc,
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use self::kind::Kind;
pub use self::round::{Round, Stats};
use super::{
    Emit, Input, Layer, Query, Set,
    node::NodeId,
    nodes::Nodes,
    part::{PartKey, PartRow},
    set::{Emission, SetRow},
    table::Table,
};
use crate::{
    model::Problem,
    snapshot::{Generation, PartId, PartState},
};

type Map<K, V> = HashMap<K, V, RandomState>;
type InputTable<I> = Table<I, Option<Arc<<I as Input>::Value>>>;
type QueryTable<Q> = Table<Q, Option<<Q as Query>::Value>>;
type SetTable<S> = Table<S, SetRow<S>>;
type PartTable<L> = Table<PartKey<L>, PartRow>;

/// A query that is kept alive and whose changes are reported; release it with [`Db::unwatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watched(NodeId);

type InputHook = Arc<dyn Fn(&mut Db, &dyn Any, bool) + Send + Sync>;
type ElementHook = Arc<dyn Fn(&mut Db, &dyn Any, &dyn Any, bool) + Send + Sync>;
type SetHook = Arc<dyn Fn(&mut Db, &dyn Any, bool) + Send + Sync>;

/// Lists of nodes that are longer than this are not kept for the next round.
const LONG: usize = 4096;

/// The engine's state. One writer owns it.
#[derive(Default)]
pub struct Db {
    nodes: Nodes,
    kinds: Vec<Kind>,
    tables: Vec<Box<dyn Any + Send>>,
    kind_of: Map<TypeId, u16>,
    /// Dirty nodes by stage.
    buckets: Vec<Vec<NodeId>>,
    /// Nodes that may have lost their last reader in this round.
    garbage: Vec<NodeId>,
    /// In which round the value of each input changed that stands for an object.
    changed: Map<NodeId, Generation>,
    /// How many keys of each input have a value.
    input_counts: Map<TypeId, usize>,
    input_hooks: Map<TypeId, Vec<InputHook>>,
    element_hooks: Map<TypeId, Vec<ElementHook>>,
    set_hooks: Map<TypeId, Vec<SetHook>>,
    watched: Map<NodeId, u32>,
    watched_changed: Vec<Watched>,
    problems_of: Map<NodeId, Vec<Problem>>,
    problems: BTreeMap<Problem, u32>,
    problems_touched: BTreeMap<Problem, bool>,
    next_part: PartId,
    generation: Generation,
    stats: Stats,
}

impl Db {
    /// Sets or removes the value of an input. Nothing is recomputed before [`Db::settle`].
    pub fn set_input<I: Input>(&mut self, key: &I, value: Option<I::Value>) {
        self.replace_input(key, value);
    }

    /// As [`Db::set_input`]; returns whether the value differs.
    pub fn replace_input<I: Input>(&mut self, key: &I, value: Option<I::Value>) -> bool {
        let id = self.input_node(key);
        let row = self.row(id);
        let cell = &mut self.table::<InputTable<I>>().row_mut(row).payload;
        let equal = match (cell.as_deref(), &value) {
            (Some(old), Some(new)) => old == new,
            (None, None) => true,
            _ => false,
        };
        if !equal {
            let was = cell.is_some();
            let is = value.is_some();
            *cell = value.map(Arc::new);
            if is && key.object().is_some() {
                self.changed.insert(id, self.generation + 1);
            } else {
                self.changed.remove(&id);
            }
            self.mark_readers(id);
            if was != is {
                let count = self.input_counts.entry(TypeId::of::<I>()).or_insert(0);
                *count = if is { *count + 1 } else { *count - 1 };
                for hook in self.input_hooks.get(&TypeId::of::<I>()).cloned().unwrap_or_default() {
                    hook(self, key, is);
                }
            }
        }
        self.collect_later(id);
        !equal
    }

    /// How many keys of an input have a value.
    #[must_use]
    pub fn input_count<I: Input>(&self) -> usize {
        self.input_counts.get(&TypeId::of::<I>()).copied().unwrap_or(0)
    }

    /// The value of an input now.
    pub fn input_value<I: Input>(&mut self, key: &I) -> Option<Arc<I::Value>> {
        let (id, value) = self.read_input(key);
        self.collect_later(id);
        value
    }

    /// Whether any query reads an input.
    pub fn is_read<I: Input>(&mut self, key: &I) -> bool {
        let id = self.input_node(key);
        self.collect_later(id);
        !self.node(id).readers.is_empty()
    }

    /// Whether a set has no elements.
    pub fn is_empty<S: Set>(&mut self, key: &S) -> bool {
        self.elements(key).is_empty()
    }

    fn elements<S: Set>(&mut self, key: &S) -> Arc<[S::Elem]> {
        let (id, elems) = self.read_set(key);
        self.collect_later(id);
        elems
    }

    /// The keys of an input that have a value: for relists, not for queries.
    pub fn input_keys<I: Input>(&mut self) -> Vec<I> {
        let kind = self.input_kind::<I>();
        let table = self.tables[kind as usize].downcast_ref::<InputTable<I>>().expect("a kind has one table type");
        table.rows().filter(|r| r.payload.is_some()).map(|r| r.key.clone()).collect()
    }

    /// Keeps an emitter for every key of an input that has a value. Call before setting any.
    pub fn emit_for_input<I: Input, E: Emit>(&mut self, make: fn(&I) -> E) {
        let hook: InputHook = Arc::new(move |db, key, present| {
            let key = key.downcast_ref::<I>().expect("hooks are found by type");
            db.keep_emitter(make(key), present);
        });
        self.input_hooks.entry(TypeId::of::<I>()).or_default().push(hook);
    }

    /// Keeps an emitter for every element of every set of a family. Call before anything is emitted.
    pub fn emit_for_elements<S: Set, E: Emit>(&mut self, make: fn(&S, &S::Elem) -> E) {
        const { assert!(S::STAGE < E::STAGE, "an emitter of elements comes after their set") };
        let hook: ElementHook = Arc::new(move |db, set, elem, present| {
            let set = set.downcast_ref::<S>().expect("hooks are found by type");
            let elem = elem.downcast_ref::<S::Elem>().expect("hooks are found by type");
            db.keep_emitter(make(set, elem), present);
        });
        self.element_hooks.entry(TypeId::of::<S>()).or_default().push(hook);
    }

    /// Keeps an emitter for every set of a family that has elements, however many. Call before anything is emitted.
    pub fn emit_for_sets<S: Set, E: Emit>(&mut self, make: fn(&S) -> E) {
        const { assert!(S::STAGE < E::STAGE, "an emitter of sets comes after them") };
        let hook: SetHook = Arc::new(move |db, set, present| {
            let set = set.downcast_ref::<S>().expect("hooks are found by type");
            db.keep_emitter(make(set), present);
        });
        self.set_hooks.entry(TypeId::of::<S>()).or_default().push(hook);
    }

    /// Keeps an emitter for every pair of an element of a set and an element of its counterpart in another family. So the
    /// pairs of one new element are all that is looked at. Call before anything is emitted.
    pub fn emit_for_pairs<A: Set, B: Set, E: Emit>(
        &mut self,
        counterpart: fn(&A) -> B,
        back: fn(&B) -> A,
        make: fn(&A::Elem, &B::Elem) -> E,
    ) {
        const { assert!(A::STAGE < E::STAGE && B::STAGE < E::STAGE, "an emitter of elements comes after their sets") };
        // A pair comes into being with the later of the two elements, and ends with the first that goes.
        let of_one: ElementHook = Arc::new(move |db, set, elem, present| {
            let set = set.downcast_ref::<A>().expect("hooks are found by type");
            let elem = elem.downcast_ref::<A::Elem>().expect("hooks are found by type");
            for other in db.elements(&counterpart(set)).iter() {
                db.keep_emitter(make(elem, other), present);
            }
        });
        let of_other: ElementHook = Arc::new(move |db, set, elem, present| {
            let set = set.downcast_ref::<B>().expect("hooks are found by type");
            let elem = elem.downcast_ref::<B::Elem>().expect("hooks are found by type");
            for one in db.elements(&back(set)).iter() {
                db.keep_emitter(make(one, elem), present);
            }
        });
        self.element_hooks.entry(TypeId::of::<A>()).or_default().push(of_one);
        self.element_hooks.entry(TypeId::of::<B>()).or_default().push(of_other);
    }

    /// Keeps one emitter for ever.
    pub fn emit_always<E: Emit>(&mut self, emitter: E) {
        self.keep_emitter(emitter, true);
    }

    /// Evaluates a query and keeps it alive until [`Db::unwatch`]; rounds report its changes.
    pub fn watch<Q: Query>(&mut self, query: &Q) -> (Watched, Q::Value) {
        let (id, value) = self.demand(query);
        *self.watched.entry(id).or_insert(0) += 1;
        self.node_mut(id).pins += 1;
        (Watched(id), value)
    }

    /// The result of a watched query, which must be one of this type, as of the last round.
    pub fn value<Q: Query>(&mut self, watched: Watched) -> Q::Value {
        let row = self.row(watched.0);
        let value = self.table::<QueryTable<Q>>().row(row).payload.clone();
        value.expect("a watched query has a value")
    }

    /// The key of a watched query, which must be one of this type.
    pub fn key<Q: Query>(&mut self, watched: Watched) -> Q {
        let row = self.row(watched.0);
        self.table::<QueryTable<Q>>().row(row).key.clone()
    }

    /// Puts an equal value in the place of a watched query's result, so that what is there for something else already is
    /// not in memory twice.
    pub fn unify<Q: Query>(&mut self, watched: Watched, equal: Q::Value) {
        let row = self.row(watched.0);
        let cell = &mut self.table::<QueryTable<Q>>().row_mut(row).payload;
        debug_assert!(cell.as_ref() == Some(&equal), "nothing may change");
        *cell = Some(equal);
    }

    /// Releases a watched query.
    pub fn unwatch(&mut self, watched: Watched) {
        let id = watched.0;
        if let Some(count) = self.watched.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.watched.remove(&id);
            }
            self.node_mut(id).pins -= 1;
            self.collect_later(id);
        }
    }

    /// Propagates all changes since the last round.
    pub fn settle(&mut self) -> Round {
        let mut stage = 0;
        // Buckets of later stages come into being on the way.
        while stage < self.buckets.len() {
            while let Some(id) = self.buckets[stage].pop() {
                self.refresh(id);
            }
            stage += 1;
        }
        self.collect();
        self.give_back();
        self.generation += 1;
        let touched = std::mem::take(&mut self.problems_touched);
        let (mut appeared, mut vanished) = (Vec::new(), Vec::new());
        for (problem, was) in touched {
            match (was, self.problems.contains_key(&problem)) {
                (false, true) => appeared.push(problem),
                (true, false) => vanished.push(problem),
                _ => {}
            }
        }
        let mut watched = std::mem::take(&mut self.watched_changed);
        watched.sort_unstable();
        watched.dedup();
        Round { generation: self.generation, watched, appeared, vanished }
    }

    /// Gives the memory of lists back that a storm made long. They are empty between rounds.
    fn give_back(&mut self) {
        let lists = self.buckets.iter_mut().chain([&mut self.garbage]);
        lists.filter(|list| list.capacity() > LONG).for_each(|list| *list = Vec::new());
    }

    /// Whether queries were evaluated since the last round, or something is left to do.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        !self.problems_touched.is_empty()
            || !self.watched_changed.is_empty()
            || !self.garbage.is_empty()
            || self.buckets.iter().any(|bucket| !bucket.is_empty())
    }

    /// All problems that queries report now.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.keys()
    }

    /// Work done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { nodes: self.nodes.len() as u64, ..self.stats }
    }
    // === reads, for Cx ===

    pub(super) fn read_input<I: Input>(&mut self, key: &I) -> (NodeId, Option<Arc<I::Value>>) {
        let id = self.input_node(key);
        let row = self.row(id);
        (id, self.table::<InputTable<I>>().row(row).payload.clone())
    }

    pub(super) fn demand<Q: Query>(&mut self, query: &Q) -> (NodeId, Q::Value) {
        let id = self.query_node(query);
        self.refresh(id);
        let row = self.row(id);
        let value = self.table::<QueryTable<Q>>().row(row).payload.clone();
        (id, value.expect("a refreshed query has a value"))
    }

    pub(super) fn read_set<S: Set>(&mut self, key: &S) -> (NodeId, Arc<[S::Elem]>) {
        let id = self.set_node(key);
        let row = self.row(id);
        (id, self.table::<SetTable<S>>().row_mut(row).payload.list())
    }

    pub(super) fn read_part<L: Layer>(&mut self, layer: &L, facets: &L::Facets) -> (NodeId, PartState) {
        let id = self.part_node(layer, facets);
        self.refresh(id);
        let row = self.row(id);
        let part = &self.table::<PartTable<L>>().row(row).payload;
        (id, PartState { id: part.id, map: part.map.clone() })
    }

    // === sets, for emitters ===

    pub(super) fn set_insert<S: Set>(&mut self, set: &S, elem: &S::Elem) {
        let id = self.set_node(set);
        let row = self.row(id);
        let cell = &mut self.table::<SetTable<S>>().row_mut(row).payload;
        let was_empty = cell.elems.is_empty();
        if cell.insert(elem.clone()) {
            self.element_moved(set, id, elem, true);
            if was_empty {
                self.set_moved(set, true);
            }
        }
    }

    pub(super) fn set_remove<S: Set>(&mut self, set: &S, elem: &S::Elem) {
        let id = self.set_node(set);
        let row = self.row(id);
        let cell = &mut self.table::<SetTable<S>>().row_mut(row).payload;
        if cell.remove(elem) {
            let is_empty = cell.elems.is_empty();
            self.element_moved(set, id, elem, false);
            if is_empty {
                self.set_moved(set, false);
            }
        }
        self.collect_later(id);
    }

    fn element_moved<S: Set>(&mut self, set: &S, id: NodeId, elem: &S::Elem, present: bool) {
        self.stats.elements_moved += 1;
        self.mark_readers(id);
        let row = self.row(id);
        for (part, hook) in self.table::<SetTable<S>>().row(row).payload.parts.clone() {
            hook(self, part, elem, present);
        }
        for hook in self.element_hooks.get(&TypeId::of::<S>()).cloned().unwrap_or_default() {
            hook(self, set, elem, present);
        }
    }

    /// A set has its first element, or has lost its last one.
    fn set_moved<S: Set>(&mut self, set: &S, present: bool) {
        for hook in self.set_hooks.get(&TypeId::of::<S>()).cloned().unwrap_or_default() {
            hook(self, set, present);
        }
    }

    fn keep_emitter<E: Emit>(&mut self, emitter: E, keep: bool) {
        let id = self.emission_node(&Emission(emitter));
        if keep {
            self.node_mut(id).pins += 1;
            self.mark(id);
        } else {
            self.node_mut(id).pins -= 1;
            // At once, not with the garbage: what it emitted must leave the sets in this round.
            self.collect_one(id);
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("generation", &self.generation).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
