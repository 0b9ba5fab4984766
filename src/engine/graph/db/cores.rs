//! Evaluation on several cores. Nodes of one stage do not read each other, so each core takes the next of them: it holds
//! the graph while it reads and when it stores the result, and lets go of it while it translates, which is most of the
//! work. What a query asks for that is not there yet is made by the core that asks, while it holds the graph.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{super::node::NodeId, Db};

/// Fewer nodes than this for each core are not worth a thread: it takes as long to start as a few evaluations.
const NODES_PER_CORE: usize = 32;

/// The graph as one evaluation gets at it.
pub(in super::super) enum Access<'a> {
    /// Nobody else works on it.
    Alone(&'a mut Db),
    /// Other cores do.
    Shared(&'a Mutex<Db>),
}

impl Access<'_> {
    /// Holds the graph for a moment.
    pub(in super::super) fn with<T>(&mut self, act: impl FnOnce(&mut Db) -> T) -> T {
        match self {
            Self::Alone(db) => act(db),
            Self::Shared(db) => act(&mut hold(db)),
        }
    }

    /// The same for what is called.
    pub(super) fn reborrow(&mut self) -> Access<'_> {
        match self {
            Self::Alone(db) => Access::Alone(db),
            Self::Shared(db) => Access::Shared(db),
        }
    }
}

impl Db {
    /// A graph that evaluates on so many cores.
    #[must_use]
    pub fn on_cores(cores: usize) -> Self {
        Self { cores, ..Self::default() }
    }

    /// A graph that evaluates on all cores that the process has.
    #[must_use]
    pub fn on_all_cores() -> Self {
        Self::on_cores(thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }

    /// Brings nodes of one stage up to date.
    pub(super) fn refresh_all(&mut self, ids: &[NodeId]) {
        let threads = self.cores.min(ids.len() / NODES_PER_CORE);
        if threads < 2 {
            ids.iter().for_each(|id| self.refresh(*id));
            return;
        }
        let (shared, next) = (Mutex::new(std::mem::take(self)), AtomicUsize::new(0));
        let work = || {
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let run = hold(&shared).begin(*id);
                if let Some(run) = run {
                    run(Access::Shared(&shared), *id);
                }
            }
        };
        thread::scope(|scope| {
            for nth in 2..=threads {
                // Without a thread the others do its work.
                let _ = thread::Builder::new().name(format!("engine-{nth}")).spawn_scoped(scope, work);
            }
            work();
        });
        *self = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
}

/// A panic of one core ends the engine when its thread is joined; until then the others only finish what they are at.
fn hold(db: &Mutex<Db>) -> MutexGuard<'_, Db> {
    db.lock().unwrap_or_else(PoisonError::into_inner)
}
