//! Evaluation on several cores. Nodes of one stage do not read each other, so each core takes the next of them: it holds
//! the graph while it reads and when it stores the result, and lets go of it while it translates.
//! What a query asks for that is not there yet is made by the core that asks, while it holds the graph.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{super::node::NodeId, Db};

/// Fewer nodes than this for each core are not worth waking a thread.
const NODES_PER_CORE: usize = 32;

/// The other cores that a graph evaluates on, beside that of its caller.
#[derive(Clone, Debug, Default)]
pub(super) struct Cores {
    others: Option<Arc<ThreadPool>>,
}

impl Cores {
    fn of(cores: usize) -> Self {
        let named = |nth: usize| format!("engine-{}", nth + 2);
        let others = cores.checked_sub(1).filter(|others| *others > 0).and_then(|others| {
            // Without threads the caller's does all the work.
            ThreadPoolBuilder::new().num_threads(others).thread_name(named).build().ok()
        });
        Self { others: others.map(Arc::new) }
    }
}

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
        Self { cores: Cores::of(cores), ..Self::default() }
    }

    /// Brings nodes of one stage up to date.
    pub(super) fn refresh_all(&mut self, ids: &[NodeId]) {
        let Some(others) = self.cores.others.clone().filter(|_| ids.len() >= 2 * NODES_PER_CORE) else {
            return ids.iter().for_each(|id| self.refresh(*id));
        };
        let threads = others.current_num_threads().min(ids.len() / NODES_PER_CORE - 1);
        // While cores share the graph, what one of them does with it alone is done by this one.
        let cores = std::mem::take(&mut self.cores);
        let (shared, next) = (Mutex::new(std::mem::take(self)), AtomicUsize::new(0));
        let work = || {
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let run = hold(&shared).begin(*id);
                if let Some(run) = run {
                    run(Access::Shared(&shared), *id);
                }
            }
        };
        others.in_place_scope(|scope| {
            (0..threads).for_each(|_| scope.spawn(|_| work()));
            work();
        });
        *self = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.cores = cores;
    }
}

/// A panic of one core is that of the engine's thread, which waits for all of them.
fn hold(db: &Mutex<Db>) -> MutexGuard<'_, Db> {
    db.lock().unwrap_or_else(PoisonError::into_inner)
}
