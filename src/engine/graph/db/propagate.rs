//! Evaluation of what is dirty, edges and problems that follow from it, and the end of what nobody needs.

use super::{
    super::{
        Cx, Emit, Query,
        node::NodeId,
        set::{Emission, Emitted, apply_emission},
    },
    Db, QueryTable, Watched,
};
use crate::model::Problem;

impl Db {
    pub(super) fn refresh(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if std::mem::take(&mut node.dirty) {
            let run = self.kinds[node.kind as usize].run;
            run(self, id);
        }
    }

    /// Evaluates a query; the former value if the result differs from it.
    pub(super) fn evaluate<Q: Query>(&mut self, id: NodeId) -> Option<(Option<Q::Value>, Q::Value)> {
        let row = self.row(id);
        let key = self.table::<QueryTable<Q>>().row(row).key.clone();
        let mut cx = Cx::new(self);
        let value = key.run(&mut cx);
        let (deps, problems, values_read) = (cx.deps, cx.problems, cx.values_read);
        self.stats.queries_run += 1;
        self.stats.values_read += values_read;
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

    pub(super) fn run_query<Q: Query>(db: &mut Self, id: NodeId) {
        if db.evaluate::<Q>(id).is_some() {
            db.mark_readers(id);
            if db.watched.contains_key(&id) {
                db.watched_changed.push(Watched(id));
            }
        }
    }

    pub(super) fn run_emission<E: Emit>(db: &mut Self, id: NodeId) {
        if let Some((old, new)) = db.evaluate::<Emission<E>>(id) {
            apply_emission::<E>(db, old.as_ref(), Some(&new));
        }
    }

    pub(super) fn free_emission<E: Emit>(db: &mut Self, row: u32) {
        let removed = db.remove_row::<Emission<E>, Option<Emitted<E>>>(row);
        apply_emission::<E>(db, removed.payload.as_ref(), None);
    }

    pub(super) fn set_deps(&mut self, id: NodeId, mut deps: Vec<NodeId>) {
        deps.sort_unstable();
        deps.dedup();
        let old = std::mem::take(&mut self.node_mut(id).deps);
        for dep in deps.iter().filter(|d| old.binary_search(d).is_err()) {
            self.stats.edges_moved += 1;
            self.node_mut(*dep).readers.insert(id);
        }
        for dep in old.iter().filter(|d| deps.binary_search(d).is_err()) {
            self.stats.edges_moved += 1;
            self.node_mut(*dep).readers.remove(id);
            self.collect_later(*dep);
        }
        self.node_mut(id).deps = deps.into();
    }

    pub(super) fn set_problems(&mut self, id: NodeId, new: Vec<Problem>) {
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

    pub(super) fn mark(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        if !std::mem::replace(&mut node.dirty, true) {
            let stage = self.kinds[self.node(id).kind as usize].stage as usize;
            if self.buckets.len() <= stage {
                self.buckets.resize_with(stage + 1, Vec::new);
            }
            self.buckets[stage].push(id);
        }
    }

    pub(super) fn mark_readers(&mut self, id: NodeId) {
        for reader in self.node(id).readers.to_vec() {
            self.stats.nodes_marked += 1;
            let item_changed = self.kinds[self.node(reader).kind as usize].item_changed;
            item_changed(self, reader, id);
            self.mark(reader);
        }
    }

    pub(super) fn collect_later(&mut self, id: NodeId) {
        if self.node(id).is_unused() {
            self.garbage.push(id);
        }
    }

    pub(super) fn collect(&mut self) {
        while let Some(id) = self.garbage.pop() {
            self.collect_one(id);
        }
    }

    pub(super) fn collect_one(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(id).filter(|n| n.is_unused()) else { return };
        let (kind, row) = (self.kinds[node.kind as usize], node.row);
        if (kind.holds)(self, row) {
            return;
        }
        (kind.free)(self, row);
        self.set_deps(id, Vec::new());
        self.set_problems(id, Vec::new());
        self.nodes.remove(id);
    }
}
