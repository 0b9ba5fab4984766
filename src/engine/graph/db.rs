//! The graph: nodes, their storage, and rounds of propagation.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{
    Cx, Emit, Input, Layer, Query, Set,
    node::{Node, NodeId},
    part::{PartKey, PartRow},
    set::{Emission, SetRow, apply_emission},
    table::Table,
};
use crate::{
    engine::own::OwnPart,
    model::{ObjectRef, Problem},
    snapshot::{Generation, PartId, PartMap, PartState, Resource, Slot, Version},
};

type Map<K, V> = HashMap<K, V, RandomState>;
type InputTable<I> = Table<I, Option<Arc<<I as Input>::Value>>>;
type QueryTable<Q> = Table<Q, Option<<Q as Query>::Value>>;
type SetTable<S> = Table<S, SetRow<S>>;
type PartTable<L> = Table<PartKey<L>, PartRow>;

/// What the engine can do with a node whose type it forgot.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    stage: u8,
    /// Brings a dirty node up to date.
    run: fn(&mut Db, NodeId),
    /// Removes a node's row and undoes what it did to others, its reads excepted.
    free: fn(&mut Db, u32),
    /// Whether it must stay although nobody reads it.
    holds: fn(&Db, u32) -> bool,
    /// Tells a part which of its items changed.
    item_changed: fn(&mut Db, NodeId, NodeId),
    /// The object that an input stands for.
    object: fn(&Db, u32) -> Option<ObjectRef>,
    /// The resource that a query results in.
    resource: fn(&Db, u32) -> Option<Arc<Resource>>,
    /// The resource of a name in the part that a query assembles.
    assembled: fn(&Db, u32, &str) -> Option<Arc<Resource>>,
    /// The items of a part that have a name.
    items: fn(&Db, u32, &str) -> Vec<NodeId>,
}

impl Kind {
    /// A kind whose nodes hold nothing, change nothing and stand for nothing.
    fn inert(name: &'static str, stage: u8, free: fn(&mut Db, u32)) -> Self {
        Self {
            name,
            stage,
            run: |_, _| {},
            free,
            holds: |_, _| false,
            item_changed: |_, _, _| {},
            object: |_, _| None,
            resource: |_, _| None,
            assembled: |_, _, _| None,
            items: |_, _, _| Vec::new(),
        }
    }
}

/// Counts of work done since the start; differences between two readings are what a change cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Queries and emitters evaluated.
    pub queries_run: u64,
    /// Evaluations whose result was equal, where a change stopped.
    pub cut_off: u64,
    /// Nodes marked because something that they read changed.
    pub nodes_marked: u64,
    /// Elements inserted into or removed from sets.
    pub elements_moved: u64,
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

/// A query that is kept alive and whose changes are reported; release it with [`Db::unwatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watched(NodeId);

type InputHook = Arc<dyn Fn(&mut Db, &dyn Any, bool) + Send + Sync>;
type ElementHook = Arc<dyn Fn(&mut Db, &dyn Any, &dyn Any, bool) + Send + Sync>;

/// The engine's state. One writer owns it.
#[derive(Default)]
pub struct Db {
    nodes: Vec<Option<Node>>,
    free_nodes: Vec<NodeId>,
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
        let (id, elems) = self.read_set(key);
        self.collect_later(id);
        elems.is_empty()
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

    /// The result of a query now, without recording who asked.
    pub fn peek<Q: Query>(&mut self, query: &Q) -> Q::Value {
        let (id, value) = self.demand(query);
        self.collect_later(id);
        value
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

    /// All problems that queries report now.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.keys()
    }

    /// The objects that a resource is made of, among what a watched query has, each with the round of its last change:
    /// follows what was read, so it costs what the query has. For explanations, not for the way of a change.
    pub fn origins(&mut self, of: Watched, name: &str, version: Version) -> BTreeMap<ObjectRef, Generation> {
        let is_it = |r: Arc<Resource>| *r.name == *name && r.version == version;
        let made = |db: &Self, id: NodeId| {
            let node = db.node(id);
            (db.kinds[node.kind as usize].resource)(db, node.row).is_some_and(is_it)
        };
        let assembled = |db: &Self, id: NodeId| {
            let node = db.node(id);
            (db.kinds[node.kind as usize].assembled)(db, node.row, name).is_some_and(is_it)
        };
        // Few resources are not made by a query of their own.
        let start = self.search(of.0, name, made).or_else(|| self.search(of.0, name, assembled));
        let Some(start) = start else { return BTreeMap::new() };
        let (mut objects, mut seen, mut queue) = (BTreeMap::new(), BTreeSet::from([start]), vec![start]);
        while let Some(id) = queue.pop() {
            let node = self.node(id);
            // Not those that were looked for and do not exist.
            if let (Some(changed), Some(object)) =
                (self.changed.get(&id), (self.kinds[node.kind as usize].object)(self, node.row))
            {
                let latest = objects.entry(object).or_insert(*changed);
                *latest = (*latest).max(*changed);
            }
            queue.extend(node.deps.iter().copied().filter(|dep| seen.insert(*dep)));
        }
        objects
    }

    /// The first node beneath `from`, parts' items of a name included, for which `found` holds.
    fn search(&self, from: NodeId, name: &str, found: impl Fn(&Self, NodeId) -> bool) -> Option<NodeId> {
        let (mut seen, mut queue) = (BTreeSet::from([from]), vec![from]);
        while let Some(id) = queue.pop() {
            if found(self, id) {
                return Some(id);
            }
            let node = self.node(id);
            let items = (self.kinds[node.kind as usize].items)(self, node.row, name);
            queue.extend(node.deps.iter().copied().chain(items).filter(|next| seen.insert(*next)));
        }
        None
    }

    /// Work done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { nodes: (self.nodes.len() - self.free_nodes.len()) as u64, ..self.stats }
    }

    /// How many nodes of each kind exist, by type name: for debugging and for tests of freed memory.
    #[must_use]
    pub fn census(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for node in self.nodes.iter().flatten() {
            *counts.entry(self.kinds[node.kind as usize].name).or_insert(0) += 1;
        }
        counts
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
        if self.table::<SetTable<S>>().row_mut(row).payload.insert(elem.clone()) {
            self.element_moved(set, id, elem, true);
        }
    }

    pub(super) fn set_remove<S: Set>(&mut self, set: &S, elem: &S::Elem) {
        let id = self.set_node(set);
        let row = self.row(id);
        if self.table::<SetTable<S>>().row_mut(row).payload.remove(elem) {
            self.element_moved(set, id, elem, false);
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

    // === parts ===

    fn part_element<L: Layer>(db: &mut Self, part: NodeId, elem: &L::Elem, present: bool) {
        let row = db.row(part);
        let key = db.table::<PartTable<L>>().row(row).key.clone();
        let (name, item) = key.layer.item(elem, &key.facets);
        let child = db.query_node(&item);
        let state = &mut db.table::<PartTable<L>>().row_mut(row).payload;
        if present {
            state.names.insert(child, name);
            state.pending.push(child);
            db.node_mut(child).readers.insert(part);
        } else {
            state.names.remove(&child);
            state.removed.push(name);
            db.node_mut(child).readers.remove(part);
            db.collect_later(child);
        }
        db.mark(part);
    }

    fn run_part<L: Layer>(db: &mut Self, id: NodeId) {
        let row = db.row(id);
        let state = &mut db.table::<PartTable<L>>().row_mut(row).payload;
        let (pending, removed) = (std::mem::take(&mut state.pending), std::mem::take(&mut state.removed));
        let mut map = state.map.clone();
        let mut patched = 0;
        for name in removed {
            patched += u64::from(map.remove(&name).is_some());
        }
        for child in pending {
            let Some(name) = db.table::<PartTable<L>>().row(row).payload.names.get(&child).cloned() else { continue };
            db.refresh(child);
            let child_row = db.row(child);
            let slot = db.table::<QueryTable<L::Item>>().row(child_row).payload.clone();
            let slot = slot.expect("a refreshed query has a value");
            if map.get(&name) != Some(&slot) {
                map.insert(name, slot);
                patched += 1;
            }
        }
        db.table::<PartTable<L>>().row_mut(row).payload.map = map;
        db.stats.parts_patched += patched;
        if patched > 0 {
            db.mark_readers(id);
        }
    }

    fn item_changed<L: Layer>(db: &mut Self, part: NodeId, item: NodeId) {
        let row = db.row(part);
        db.table::<PartTable<L>>().row_mut(row).payload.pending.push(item);
    }

    fn free_part<L: Layer>(db: &mut Self, row: u32) {
        let removed = db.table::<PartTable<L>>().remove(row).expect("a live node has a row");
        for child in removed.payload.names.keys() {
            db.node_mut(*child).readers.remove(removed.id);
            db.collect_later(*child);
        }
        let set = db.set_node(&removed.key.layer);
        let set_row = db.row(set);
        db.table::<SetTable<L>>().row_mut(set_row).payload.parts.retain(|(p, _)| *p != removed.id);
        db.collect_later(set);
    }

    // === evaluation ===

    fn refresh(&mut self, id: NodeId) {
        let Some(node) = self.nodes[id as usize].as_mut() else { return };
        if std::mem::take(&mut node.dirty) {
            let run = self.kinds[node.kind as usize].run;
            run(self, id);
        }
    }

    /// Evaluates a query; the former value if the result differs from it.
    fn evaluate<Q: Query>(&mut self, id: NodeId) -> Option<(Option<Q::Value>, Q::Value)> {
        let row = self.row(id);
        let key = self.table::<QueryTable<Q>>().row(row).key.clone();
        let mut cx = Cx::new(self);
        let value = key.run(&mut cx);
        let (deps, problems) = (cx.deps, cx.problems);
        self.stats.queries_run += 1;
        self.set_deps(id, deps);
        self.set_problems(id, problems);
        let cell = &mut self.table::<QueryTable<Q>>().row_mut(row).payload;
        if cell.as_ref() == Some(&value) {
            self.stats.cut_off += 1;
            return None;
        }
        let old = cell.replace(value.clone());
        Some((old, value))
    }

    fn run_query<Q: Query>(db: &mut Self, id: NodeId) {
        if db.evaluate::<Q>(id).is_some() {
            db.mark_readers(id);
            if db.watched.contains_key(&id) {
                db.watched_changed.push(Watched(id));
            }
        }
    }

    fn run_emission<E: Emit>(db: &mut Self, id: NodeId) {
        if let Some((old, new)) = db.evaluate::<Emission<E>>(id) {
            apply_emission::<E>(db, old.as_ref(), Some(&new));
        }
    }

    fn free_emission<E: Emit>(db: &mut Self, row: u32) {
        let removed = db.table::<QueryTable<Emission<E>>>().remove(row).expect("a live node has a row");
        apply_emission::<E>(db, removed.payload.as_ref(), None);
    }

    fn set_deps(&mut self, id: NodeId, mut deps: Vec<NodeId>) {
        deps.sort_unstable();
        deps.dedup();
        let old = std::mem::take(&mut self.node_mut(id).deps);
        for dep in deps.iter().filter(|d| old.binary_search(d).is_err()) {
            self.node_mut(*dep).readers.insert(id);
        }
        for dep in old.iter().filter(|d| deps.binary_search(d).is_err()) {
            self.node_mut(*dep).readers.remove(id);
            self.collect_later(*dep);
        }
        self.node_mut(id).deps = deps.into();
    }

    fn set_problems(&mut self, id: NodeId, new: Vec<Problem>) {
        let old = if new.is_empty() { self.problems_of.remove(&id) } else { self.problems_of.insert(id, new.clone()) };
        for problem in new {
            let count = self.problems.entry(problem.clone()).or_insert(0);
            *count += 1;
            let was = *count > 1;
            self.problems_touched.entry(problem).or_insert(was);
        }
        for problem in old.into_iter().flatten() {
            self.problems_touched.entry(problem.clone()).or_insert(true);
            if let Some(count) = self.problems.get_mut(&problem) {
                *count -= 1;
                if *count == 0 {
                    self.problems.remove(&problem);
                }
            }
        }
    }

    fn mark(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        if !std::mem::replace(&mut node.dirty, true) {
            let stage = self.kinds[self.node(id).kind as usize].stage as usize;
            if self.buckets.len() <= stage {
                self.buckets.resize_with(stage + 1, Vec::new);
            }
            self.buckets[stage].push(id);
        }
    }

    fn mark_readers(&mut self, id: NodeId) {
        for reader in self.node(id).readers.to_vec() {
            self.stats.nodes_marked += 1;
            let item_changed = self.kinds[self.node(reader).kind as usize].item_changed;
            item_changed(self, reader, id);
            self.mark(reader);
        }
    }

    // === lifetime ===

    fn collect_later(&mut self, id: NodeId) {
        if self.node(id).is_unused() {
            self.garbage.push(id);
        }
    }

    fn collect(&mut self) {
        while let Some(id) = self.garbage.pop() {
            self.collect_one(id);
        }
    }

    fn collect_one(&mut self, id: NodeId) {
        let Some(node) = self.nodes[id as usize].as_ref().filter(|n| n.is_unused()) else { return };
        let (kind, row) = (self.kinds[node.kind as usize], node.row);
        if (kind.holds)(self, row) {
            return;
        }
        (kind.free)(self, row);
        self.set_deps(id, Vec::new());
        self.set_problems(id, Vec::new());
        self.nodes[id as usize] = None;
        self.free_nodes.push(id);
    }

    // === storage ===

    fn node(&self, id: NodeId) -> &Node {
        self.nodes[id as usize].as_ref().expect("edges lead to live nodes")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id as usize].as_mut().expect("edges lead to live nodes")
    }

    fn row(&self, id: NodeId) -> u32 {
        self.node(id).row
    }

    fn table<T: Any>(&mut self) -> &mut T {
        let kind = self.kind_of[&TypeId::of::<T>()];
        self.tables[kind as usize].downcast_mut().expect("a kind has one table type")
    }

    fn kind<T: Any + Send + Default>(&mut self, make: impl FnOnce() -> Kind) -> u16 {
        if let Some(kind) = self.kind_of.get(&TypeId::of::<T>()) {
            return *kind;
        }
        let kind = u16::try_from(self.kinds.len()).expect("there are fewer than 65,536 types of nodes");
        self.kinds.push(make());
        self.tables.push(Box::<T>::default());
        self.kind_of.insert(TypeId::of::<T>(), kind);
        kind
    }

    fn new_node(&mut self, kind: u16) -> NodeId {
        let node = Some(Node::new(kind, u32::MAX));
        match self.free_nodes.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                NodeId::try_from(self.nodes.len() - 1).expect("fewer than 2^32 nodes fit into memory")
            }
        }
    }

    fn input_kind<I: Input>(&mut self) -> u16 {
        self.kind::<InputTable<I>>(|| Kind {
            holds: |db, row| db.peek_table::<InputTable<I>>().row(row).payload.is_some(),
            object: |db, row| db.peek_table::<InputTable<I>>().row(row).key.object(),
            ..Kind::inert(std::any::type_name::<I>(), 0, |db, row| drop(db.table::<InputTable<I>>().remove(row)))
        })
    }

    fn input_node<I: Input>(&mut self, key: &I) -> NodeId {
        let kind = self.input_kind::<I>();
        if let Some(id) = self.table::<InputTable<I>>().find(key) {
            return id;
        }
        let id = self.new_node(kind);
        let row = self.table::<InputTable<I>>().insert(key.clone(), id, None);
        self.node_mut(id).row = row;
        id
    }

    fn query_node<Q: Query>(&mut self, key: &Q) -> NodeId {
        let kind = self.kind::<QueryTable<Q>>(|| Kind {
            run: Self::run_query::<Q>,
            resource: |db, row| {
                let value = db.peek_table::<QueryTable<Q>>().row(row).payload.as_ref();
                value.and_then(|v| (v as &dyn Any).downcast_ref::<Slot>().cloned().flatten())
            },
            assembled: |db, row, name| {
                let value = db.peek_table::<QueryTable<Q>>().row(row).payload.as_ref()?;
                (value as &dyn Any).downcast_ref::<OwnPart>()?.0.map.get(name).cloned().flatten()
            },
            ..Kind::inert(std::any::type_name::<Q>(), Q::STAGE, |db, row| drop(db.table::<QueryTable<Q>>().remove(row)))
        });
        self.keyed_query_node::<Q>(kind, key)
    }

    fn emission_node<E: Emit>(&mut self, key: &Emission<E>) -> NodeId {
        let kind = self.kind::<QueryTable<Emission<E>>>(|| Kind {
            run: Self::run_emission::<E>,
            ..Kind::inert(std::any::type_name::<E>(), E::STAGE, Self::free_emission::<E>)
        });
        self.keyed_query_node::<Emission<E>>(kind, key)
    }

    fn keyed_query_node<Q: Query>(&mut self, kind: u16, key: &Q) -> NodeId {
        if let Some(id) = self.table::<QueryTable<Q>>().find(key) {
            return id;
        }
        let id = self.new_node(kind);
        let row = self.table::<QueryTable<Q>>().insert(key.clone(), id, None);
        self.node_mut(id).row = row;
        self.mark(id);
        id
    }

    fn set_node<S: Set>(&mut self, key: &S) -> NodeId {
        let kind = self.kind::<SetTable<S>>(|| Kind {
            holds: |db, row| {
                let set = &db.peek_table::<SetTable<S>>().row(row).payload;
                !set.elems.is_empty() || !set.parts.is_empty()
            },
            ..Kind::inert(std::any::type_name::<S>(), S::STAGE, |db, row| drop(db.table::<SetTable<S>>().remove(row)))
        });
        if let Some(id) = self.table::<SetTable<S>>().find(key) {
            return id;
        }
        let id = self.new_node(kind);
        let row = self.table::<SetTable<S>>().insert(key.clone(), id, SetRow::default());
        self.node_mut(id).row = row;
        id
    }

    fn part_node<L: Layer>(&mut self, layer: &L, facets: &L::Facets) -> NodeId {
        const { assert!(L::STAGE < L::Item::STAGE, "items are made of elements") };
        let kind = self.kind::<PartTable<L>>(|| Kind {
            run: Self::run_part::<L>,
            item_changed: Self::item_changed::<L>,
            items: |db, row, name| {
                let part = &db.peek_table::<PartTable<L>>().row(row).payload;
                part.names.iter().filter(|(_, n)| &***n == name).map(|(id, _)| *id).collect()
            },
            ..Kind::inert(std::any::type_name::<PartKey<L>>(), L::Item::STAGE + 1, Self::free_part::<L>)
        });
        let key = PartKey { layer: layer.clone(), facets: facets.clone() };
        if let Some(id) = self.table::<PartTable<L>>().find(&key) {
            return id;
        }
        let id = self.new_node(kind);
        self.next_part += 1;
        let state = PartRow {
            id: self.next_part,
            map: PartMap::new(),
            names: HashMap::default(),
            pending: Vec::new(),
            removed: Vec::new(),
        };
        let row = self.table::<PartTable<L>>().insert(key, id, state);
        self.node_mut(id).row = row;
        let set = self.set_node(layer);
        let set_row = self.row(set);
        let set = &mut self.table::<SetTable<L>>().row_mut(set_row).payload;
        set.parts.push((id, Self::part_element::<L>));
        let elems = set.list();
        for elem in elems.iter() {
            Self::part_element::<L>(self, id, elem, true);
        }
        // Layers are large and never read as lists again: do not keep the copy.
        self.table::<SetTable<L>>().row_mut(set_row).payload.listed = None;
        id
    }

    fn peek_table<T: Any>(&self) -> &T {
        let kind = self.kind_of[&TypeId::of::<T>()];
        self.tables[kind as usize].downcast_ref().expect("a kind has one table type")
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("generation", &self.generation).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
