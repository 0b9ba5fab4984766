//! Waiting for conditions.

use std::{
    fmt::Display,
    future::Future,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// How long tests wait for something that should take milliseconds: long enough for a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at a condition: as long as the last one took, within these bounds. Looks that start programs would
/// take the processors from what they wait for.
const LOOK_EVERY: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(500);

/// Tries until `attempt` succeeds, and returns its value; after the deadline returns its last error, saying what was
/// waited for. `attempt` is tried at least once.
///
/// # Errors
/// The last failure of `attempt`, when the deadline has passed.
pub async fn eventually<T, E, F>(what: &str, deadline: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let start = Instant::now();
    loop {
        // A single look may hang (a connection that nobody accepts): the deadline holds for it too.
        let left = deadline.saturating_sub(start.elapsed()).max(Duration::from_secs(1));
        let began = Instant::now();
        let last = match tokio::time::timeout(left, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(e)) => format!("{e:#}"),
            Err(_) => "the last look at it did not come back".to_owned(),
        };
        if start.elapsed() >= deadline {
            return Err(anyhow!("waited {deadline:?} for {what}: {last}"));
        }
        tokio::time::sleep(began.elapsed().clamp(*LOOK_EVERY.start(), *LOOK_EVERY.end())).await;
    }
}
