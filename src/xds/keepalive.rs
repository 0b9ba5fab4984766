//! When a peer that answers no ping is taken for gone.
//!
//! HTTP/2 asks by a ping and gives up a fixed time later. With thousands of connections on few cores that time passes while
//! the answer lies unread in the socket, or while the peer takes megabytes that were sent before the ping. So time counts
//! here from the last sign of the peer, and before it is given up its socket is read once more.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

/// When a peer was last heard of. Written by its connection, read by its clock.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), last: AtomicU64::new(0) })
    }

    /// A byte came, or the peer made room for one.
    pub(super) fn note(&self) {
        let after = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(after, Ordering::Relaxed);
    }

    /// When that was, from the begin of the connection on.
    pub(super) fn last_heard(&self) -> Duration {
        Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// How long ago that was.
    fn quiet(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.last_heard())
    }
}

/// The clock of one connection's pings.
#[derive(Debug)]
pub(super) struct Patience {
    pub(super) activity: Arc<Activity>,
    /// How long a peer may be quiet: the time that it has to answer a ping.
    pub(super) limit: Duration,
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let alarm = Box::pin(tokio::time::sleep_until(deadline.into()));
        Box::pin(UntilQuiet { alarm, activity: self.activity.clone(), limit: self.limit, read_once_more: false })
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        if let Some(mut sleep) = sleep.as_mut().downcast_mut_pin::<UntilQuiet>() {
            sleep.alarm.as_mut().reset(deadline.into());
            sleep.read_once_more = false;
        }
    }
}

/// Ends when the deadline is over and the peer has been quiet for the limit.
struct UntilQuiet {
    alarm: Pin<Box<tokio::time::Sleep>>,
    activity: Arc<Activity>,
    limit: Duration,
    /// Whether the socket was read since the alarm rang.
    read_once_more: bool,
}

impl Future for UntilQuiet {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let quiet = self.activity.quiet();
            if quiet < self.limit {
                let deadline = Instant::now() + (self.limit - quiet);
                self.alarm.as_mut().reset(deadline.into());
                self.read_once_more = false;
            } else if self.read_once_more {
                return Poll::Ready(());
            } else {
                // The connection reads after it has asked its clock, and asks again then.
                self.read_once_more = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl Sleep for UntilQuiet {}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    /// Far longer than a test waits for its turn on a busy machine.
    const LIMIT: Duration = Duration::from_millis(300);

    /// A clock that has rung, with the activity that it looks at.
    async fn rung() -> (Pin<Box<dyn Sleep>>, Arc<Activity>) {
        let activity = Activity::new();
        let sleep = Patience { activity: activity.clone(), limit: LIMIT }.sleep(LIMIT);
        // The process is busy elsewhere: nobody asks the clock.
        tokio::time::sleep(LIMIT * 3).await;
        (sleep, activity)
    }

    #[tokio::test]
    async fn an_answer_that_lay_unread_counts() {
        let (mut sleep, activity) = rung().await;
        assert!(poll!(&mut sleep).is_pending(), "the socket is read first");
        activity.note();
        assert!(poll!(&mut sleep).is_pending(), "there was an answer");
        let begun = Instant::now();
        sleep.await;
        assert!(begun.elapsed() >= LIMIT / 2, "and it is quiet for the limit again");
    }

    #[tokio::test]
    async fn a_quiet_peer_is_given_up_after_one_more_look() {
        let (mut sleep, _activity) = rung().await;
        assert!(poll!(&mut sleep).is_pending());
        assert!(poll!(&mut sleep).is_ready());
    }

    #[tokio::test]
    async fn a_clock_is_set_again() {
        let (mut sleep, activity) = rung().await;
        assert!(poll!(&mut sleep).is_pending());
        Patience { activity, limit: LIMIT }.reset(&mut sleep, Instant::now() + LIMIT);
        assert!(poll!(&mut sleep).is_pending());
        tokio::time::sleep(LIMIT * 3).await;
        assert!(poll!(&mut sleep).is_pending(), "one more look is due each time");
        assert!(poll!(&mut sleep).is_ready());
    }
}
