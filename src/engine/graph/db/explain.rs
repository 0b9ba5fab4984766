//! Where a resource comes from, and what exists: for explanations, not for the way of a change.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    super::{Input, node::NodeId},
    Db, Watched,
};
use crate::{
    model::{Code, ObjectRef, Problem},
    snapshot::{Generation, Resource, Version},
};

impl Db {
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

    /// The watched queries that are made of an input, directly or through others, and the round of its last change; `None`
    /// when it has no value. Costs what depends on it. For explanations, not for the way of a change.
    pub fn dependants<I: Input>(&mut self, key: &I) -> Option<(Generation, Vec<Watched>)> {
        let start = self.input_node(key);
        self.collect_later(start);
        let changed = *self.changed.get(&start)?;
        let object = key.object();
        let has = |id: NodeId| {
            let node = self.node(id);
            object.as_ref().is_none_or(|object| (self.kinds[node.kind as usize].has)(self, node.row, object))
        };
        let (mut found, mut seen, mut queue) = (Vec::new(), HashSet::from([start]), vec![start]);
        while let Some(id) = queue.pop() {
            if self.watched.contains_key(&id) {
                found.push(Watched(id));
            }
            let readers = self.node(id).readers.to_vec().into_iter();
            queue.extend(readers.filter(|reader| seen.insert(*reader) && has(*reader)));
        }
        Some((changed, found))
    }

    /// What is wrong with an object.
    pub fn problems_of(&self, object: &ObjectRef) -> impl Iterator<Item = &Problem> {
        let least = Problem { object: object.clone(), field: String::new(), reason: String::new(), code: Code::ALL[0] };
        self.problems.range(least..).map(|(problem, _)| problem).take_while(move |problem| problem.object == *object)
    }

    /// How many nodes of each kind exist, by type name: for debugging and for tests of freed memory.
    #[must_use]
    pub fn census(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for node in self.nodes.iter() {
            *counts.entry(self.kinds[node.kind as usize].name).or_insert(0) += 1;
        }
        counts
    }
}
