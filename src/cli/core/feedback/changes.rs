//! When the changes of the newest rounds were delivered: what the convergence of proxies is measured from.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::snapshot::Generation;

/// How many rounds are remembered. A proxy that lags behind more counts from the oldest of them.
const ROUNDS: usize = 256;

/// The moment of the first change of each round.
#[derive(Default)]
pub(in crate::cli::core) struct ChangeTimes(Mutex<Times>);

#[derive(Default)]
struct Times {
    /// Of the round that is under way, or published but not closed.
    open: Option<Instant>,
    closed: VecDeque<(Generation, Instant)>,
}

impl ChangeTimes {
    /// A change takes effect in the round that is under way.
    pub(in crate::cli::core) fn taken(&self, delivered: Instant) {
        self.with(|times| times.open = Some(times.open.map_or(delivered, |first| first.min(delivered))));
    }

    /// The round is over and was published.
    pub(in crate::cli::core) fn closed(&self, generation: Generation) {
        self.with(|times| {
            if let Some(first) = times.open.take() {
                if times.closed.len() == ROUNDS {
                    times.closed.pop_front();
                }
                times.closed.push_back((generation, first));
            }
        });
    }

    /// When the first change after a generation was delivered.
    pub(super) fn since(&self, generation: Generation) -> Option<Instant> {
        self.with(|times| {
            let at = times.closed.partition_point(|(closed, _)| *closed <= generation);
            times.closed.get(at).map(|(_, first)| *first).or(times.open)
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Times) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lagging_proxy_counts_from_the_first_change_it_missed() {
        let (times, start) = (ChangeTimes::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(times.since(0), None);
        times.taken(at(2));
        times.taken(at(1));
        assert_eq!(times.since(3), Some(at(1)), "published, not closed yet");
        times.closed(4);
        times.closed(5);
        times.taken(at(7));
        times.closed(6);
        assert_eq!([3, 4, 5, 6].map(|g| times.since(g)), [Some(at(1)), Some(at(7)), Some(at(7)), None]);
        for generation in 7..1000 {
            times.taken(at(generation));
            times.closed(generation);
        }
        assert_eq!(times.since(0), Some(at(1000 - ROUNDS as u64)));
    }
}
