//! The engine keeps step with the streams.
//!
//! A change that concerns a thousand proxies takes a thousand times as long to hand out as to compute. Were the next change
//! computed meanwhile, each proxy would be sent both one after the other. So the engine's next round begins when the
//! proxies that a round has woken had their turn, and takes in all that came until then. No proxy hears of it later: it
//! would have had to wait for its turn behind the others anyway.

use std::{sync::mpsc, time::Duration};

use tokio::runtime::Handle;

/// Fewer proxies than these have had their turn in less time than it takes to find out.
const CROWD: usize = 64;

/// How long a round waits at the most. Ten thousand proxies have had their turn in a second or two.
const LONGEST: Duration = Duration::from_secs(5);

/// Where streams run.
pub(super) struct Pace(Option<Handle>);

impl Pace {
    /// Of the runtime that this is called in.
    pub(super) fn current() -> Self {
        Self(Handle::try_current().ok())
    }

    /// Waits until so many streams, which have just been woken, had their turn: a task that is queued behind them had
    /// its own. Blocks.
    pub(super) fn wait(&self, woken: usize) {
        let Some(runtime) = self.0.as_ref().filter(|_| woken >= CROWD) else { return };
        let (had, turn) = mpsc::channel::<()>();
        runtime.spawn(async move { drop(had) });
        // It is dropped, never sent to: so this ends at once also when the runtime does.
        let _ = turn.recv_timeout(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// The runtime takes a task from further behind now and then: not all of those before it have had their turn then.
    const MOST: usize = CROWD * 3 / 4;

    /// A crowd of ten thousand takes a second or more.
    #[test]
    fn a_slow_crowd_has_had_its_turn() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let (pace, had_turn) = (runtime.block_on(async { Pace::current() }), Arc::<AtomicUsize>::default());
        for _ in 0..CROWD {
            let had_turn = Arc::clone(&had_turn);
            runtime.spawn(async move {
                let (_never, work) = mpsc::channel::<()>();
                let _ = work.recv_timeout(Duration::from_millis(10));
                had_turn.fetch_add(1, Ordering::Relaxed)
            });
        }
        pace.wait(CROWD);
        assert!(had_turn.load(Ordering::Relaxed) >= MOST);
    }

    #[test]
    fn a_crowd_has_had_its_turn() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let (pace, had_turn) = (runtime.block_on(async { Pace::current() }), Arc::<AtomicUsize>::default());
        let (waits, first) = mpsc::channel::<()>();
        runtime.spawn(async move { first.recv() });
        for _ in 0..CROWD {
            let had_turn = Arc::clone(&had_turn);
            runtime.spawn(async move { had_turn.fetch_add(1, Ordering::Relaxed) });
        }
        // The worker is kept from the crowd until the wait is about to begin.
        drop(waits);
        pace.wait(CROWD);
        assert!(had_turn.load(Ordering::Relaxed) >= MOST);
    }

    #[test]
    fn a_runtime_that_is_gone_is_not_waited_for() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let pace = runtime.block_on(async { Pace::current() });
        runtime.shutdown_background();
        pace.wait(CROWD);
        Pace(None).wait(CROWD);
    }
}
