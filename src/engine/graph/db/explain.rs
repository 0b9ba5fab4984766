//! Where a resource comes from, and what exists: for explanations, not for the way of a change.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::node::NodeId, Db, Watched};
use crate::{model::ObjectRef, snapshot::Version};

impl Db {
    /// The objects that a resource is made of, among what a watched query has: follows what was read, so it costs
    /// what the query has. For explanations, not for the way of a change.
    pub fn origins(&mut self, of: Watched, name: &str, version: Version) -> BTreeSet<ObjectRef> {
        let made = |db: &Self, id: NodeId| {
            let node = db.node(id);
            let resource = (db.kinds[node.kind as usize].resource)(db, node.row);
            resource.is_some_and(|r| *r.name == *name && r.version == version)
        };
        let Some(start) = self.search(of.0, name, made) else { return BTreeSet::new() };
        let (mut objects, mut seen, mut queue) = (BTreeSet::new(), BTreeSet::from([start]), vec![start]);
        while let Some(id) = queue.pop() {
            let node = self.node(id);
            objects.extend((self.kinds[node.kind as usize].object)(self, node.row));
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

    /// How many nodes of each kind exist, by type name: for debugging and for tests of freed memory.
    #[must_use]
    pub fn census(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for node in self.nodes.iter().flatten() {
            *counts.entry(self.kinds[node.kind as usize].name).or_insert(0) += 1;
        }
        counts
    }
}
