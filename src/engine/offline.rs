//! The same graph without a thread: for `mizzen translate`, golden tests, fuzzing and benchmarks.

use std::sync::Arc;

use super::{graph::Db, proxies::Enrol, register};
use crate::{
    model::{Problem, Proxy},
    snapshot::Snapshot,
};

/// An engine that runs in the caller's thread.
pub struct Offline {
    db: Db,
}

impl Default for Offline {
    fn default() -> Self {
        Self::over(Db::default())
    }
}

impl Offline {
    fn over(mut db: Db) -> Self {
        register(&mut db);
        Self { db }
    }

    /// The graph.
    pub fn db(&mut self) -> &mut Db {
        &mut self.db
    }

    /// What is wrong with the objects, as far as it shows when these proxies are there.
    pub fn problems(&mut self, proxies: Vec<Proxy>) -> Vec<Problem> {
        for proxy in &proxies {
            self.db.set_input(&super::inputs::Clients(proxy.namespace.clone()), Some(()));
        }
        self.db.settle();
        let mut watched = Vec::new();
        for proxy in proxies {
            let (enrolled, class) = self.db.watch(&Enrol(Arc::new(proxy)));
            watched.extend([self.db.watch(&class).0, enrolled]);
        }
        let problems = self.db.problems().cloned().collect();
        watched.into_iter().for_each(|w| self.db.unwatch(w));
        problems
    }

    /// What a proxy has after all changes so far, and the problems that were found.
    pub fn snapshot(&mut self, proxy: Arc<Proxy>) -> (Snapshot, Vec<Problem>) {
        self.db.set_input(&super::inputs::Clients(proxy.namespace.clone()), Some(()));
        let generation = self.db.settle().generation;
        let (enrolled, class) = self.db.watch(&Enrol(proxy));
        let (watched, views) = self.db.watch(&class);
        let problems = self.db.problems().cloned().collect();
        [watched, enrolled].into_iter().for_each(|w| self.db.unwatch(w));
        (Snapshot::new(generation, views.to_views()), problems)
    }
}
