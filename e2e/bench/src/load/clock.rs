//! Moments that processes of one machine can compare.

use std::time::{Duration, Instant, SystemTime};

/// Numbers moments. Runs as the system's clock ran when it was made, and does not follow later steps of that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
    origin_since_epoch: Duration,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one clock that processes share; measuring needs a clock")]
    pub(super) fn new() -> Self {
        let (origin, wall) = (Instant::now(), SystemTime::now());
        Self { origin, origin_since_epoch: wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() }
    }

    /// Nanoseconds since the epoch.
    pub(super) fn number(&self, moment: Instant) -> u64 {
        let at = self.origin_since_epoch + moment.saturating_duration_since(self.origin);
        u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long after a moment a numbered one was; nothing when it was before.
    pub(super) fn after(&self, start: Instant, number: u64) -> Duration {
        Duration::from_nanos(number.saturating_sub(self.number(start)))
    }
}
