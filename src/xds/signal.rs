//! What wakes a stream for other reasons than a request, a snapshot or time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};

use futures::task::AtomicWaker;

/// One stream's bell. Unlike a channel that all streams wait on, waiting takes no lock that they share.
#[derive(Debug, Default)]
pub(super) struct Signal {
    waker: AtomicWaker,
    rung: AtomicBool,
}

impl Signal {
    /// Wakes the stream.
    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whom to wake from now on. Look at [`Self::take`] afterwards: it may have rung before.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether it rang since the last call.
    pub(super) fn take(&self) -> bool {
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }
}
