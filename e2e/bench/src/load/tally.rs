//! What all clients have received.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::wire::{Response, Type};

/// Counters that all clients share.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bytes: AtomicU64,
    responses: AtomicU64,
    removed: AtomicU64,
    resources: [AtomicU64; Type::COUNT],
    /// Resources and removals for clients that what happened does not concern.
    strays: AtomicU64,
    /// Streams that ended although nobody wanted it.
    broken: AtomicU64,
}

/// The state of a [`Tally`], or the difference of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Of messages, with the five bytes that gRPC puts before each.
    pub(super) bytes: u64,
    pub(super) responses: u64,
    pub(super) removed: u64,
    pub(super) clusters: u64,
    pub(super) endpoints: u64,
    pub(super) listeners: u64,
    pub(super) routes: u64,
    pub(super) hosts: u64,
    pub(super) secrets: u64,
    /// Of these and of the removals, those for clients that what happened does not concern.
    pub(super) strays: u64,
    pub(super) broken: u64,
}

impl Tally {
    pub(super) fn count(&self, t: Type, response: &Response<'_>, length: usize) {
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        add(&self.bytes, length);
        add(&self.responses, 1);
        add(&self.removed, response.removed.len());
        add(&self.resources[t as usize], response.resources.len());
    }

    pub(super) fn stray(&self, response: &Response<'_>) {
        let all = response.resources.len() + response.removed.len();
        self.strays.fetch_add(all as u64, Ordering::Relaxed);
    }

    pub(super) fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let of = |t: Type| get(&self.resources[t as usize]);
        Counts {
            bytes: get(&self.bytes),
            responses: get(&self.responses),
            removed: get(&self.removed),
            clusters: of(Type::Cluster),
            endpoints: of(Type::Endpoint),
            listeners: of(Type::Listener),
            routes: of(Type::Route),
            hosts: of(Type::Host),
            secrets: of(Type::Secret),
            strays: get(&self.strays),
            broken: get(&self.broken),
        }
    }
}

impl Counts {
    /// Resources of the types in Envoy's order, and removals.
    pub(super) const COLUMNS: [fn(&Self) -> u64; 6] =
        [|c| c.clusters, |c| c.endpoints, |c| c.listeners, |c| c.routes, |c| c.hosts, |c| c.removed];

    pub(super) fn since(self, earlier: Self) -> Self {
        self.with(earlier, |now, then| now - then)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    fn with(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            bytes: each(self.bytes, other.bytes),
            responses: each(self.responses, other.responses),
            removed: each(self.removed, other.removed),
            clusters: each(self.clusters, other.clusters),
            endpoints: each(self.endpoints, other.endpoints),
            listeners: each(self.listeners, other.listeners),
            routes: each(self.routes, other.routes),
            hosts: each(self.hosts, other.hosts),
            secrets: each(self.secrets, other.secrets),
            strays: each(self.strays, other.strays),
            broken: each(self.broken, other.broken),
        }
    }

    /// Resources of all types.
    pub(super) fn resources(&self) -> u64 {
        self.clusters + self.endpoints + self.listeners + self.routes + self.hosts + self.secrets
    }
}
