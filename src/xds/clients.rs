//! The streams that are connected, and what is counted about all of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use tokio::sync::{Notify, watch};

use super::{
    Machine, Peer, Protocol,
    frames::Frames,
    last_good::{Evidence, LastGood, Refusal},
};
use crate::{
    model::Proxy,
    snapshot::{Name, ResourceType, TypeMap, Version},
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted over all streams, for the metrics of contract §8.
#[derive(Debug, Default)]
pub struct Counters {
    /// Responses sent (`pilot_xds_pushes`).
    pub pushes: TypeMap<Counter>,
    /// Resources sent.
    pub resources: TypeMap<Counter>,
    /// Bytes sent, gRPC prefixes included.
    pub bytes: TypeMap<Counter>,
    /// Refused responses (`pilot_total_xds_rejects`).
    pub rejects: TypeMap<Counter>,
    /// Answers to nonces that were not, or no longer, awaited (`pilot_xds_expired_nonce`).
    pub expired_nonces: TypeMap<Counter>,
    /// Barriers that opened after their time limit, and removals that waited longer than it.
    pub barrier_timeouts: Counter,
    /// Streams that ended by an error of ours (`pilot_total_xds_internal_errors`).
    pub internal_errors: Counter,
    /// Secrets that were withheld, since the peer may not have them (`pilot_sds_certificate_errors_total`).
    pub denied_secrets: Counter,
    /// Requests of types that are not served.
    pub unknown_types: Counter,
    /// Streams that were turned away: no node, not allowed, not ready.
    pub refused_streams: Counter,
}

/// One stream that has asked for something.
pub struct Client {
    /// `<proxy id>-<n>`.
    pub id: String,
    /// The proxy.
    pub proxy: Arc<Proxy>,
    /// Who is at the other end.
    pub peer: Peer,
    /// When the stream began.
    pub connected: SystemTime,
    /// Delta or state of the world.
    pub protocol: Protocol,
    machine: Mutex<Machine>,
    wake: Notify,
}

impl Client {
    /// The state of the stream. Held for a moment only: the stream waits meanwhile.
    pub fn machine(&self) -> MutexGuard<'_, Machine> {
        // A panic elsewhere does not leave it half-changed in a way that matters to readers.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks again about secrets that were withheld: the answer may have changed.
    pub fn retry_secrets(&self) {
        self.machine().retry_withheld();
        self.wake.notify_one();
    }

    /// Returns when the machine may have something to say for another reason than a request, a snapshot or time.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// All connected streams.
#[derive(Default)]
pub struct Clients {
    next: AtomicU64,
    connected: RwLock<BTreeMap<u64, Arc<Client>>>,
    last_good: watch::Sender<LastGood>,
    /// What is sent to many of them.
    pub(super) frames: Frames,
    /// What is counted over all streams.
    pub counters: Counters,
}

impl Clients {
    /// The number of a new stream, unique in this process.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn enter(&self, number: u64, proxy: Arc<Proxy>, peer: &Peer, machine: Machine) -> Arc<Client> {
        let client = Arc::new(Client {
            id: format!("{}-{number}", proxy.id),
            proxy,
            peer: peer.clone(),
            connected: wall_clock(Instant::now()),
            protocol: machine.protocol(),
            machine: Mutex::new(machine),
            wake: Notify::new(),
        });
        let mut connected = self.connected.write().unwrap_or_else(PoisonError::into_inner);
        connected.insert(number, Arc::clone(&client));
        client
    }

    pub(super) fn leave(&self, number: u64) {
        self.connected.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// What streams found out of versions that some refuse, as it changes.
    pub(super) fn last_good(&self) -> watch::Receiver<LastGood> {
        self.last_good.subscribe()
    }

    /// Takes what a stream found out; refusals count only if its peer has proved who it is. Call without holding a
    /// machine.
    pub(super) fn hear(&self, identity: Option<&Arc<str>>, evidence: Vec<Evidence>) {
        for found in evidence {
            match (found, identity) {
                (Evidence::Accepted { resource_type, name, version }, _) => self.acquit(resource_type, &name, version),
                (Evidence::Refused { resource_type: t, resource, kept }, Some(identity)) => {
                    let mut refusal = Refusal::Known;
                    self.last_good.send_if_modified(|all| {
                        refusal = all.refuse(t, &resource, kept.as_ref(), identity);
                        refusal != Refusal::Known
                    });
                    // Those who accept it from now on tell by themselves.
                    let has_it = |c: &Arc<Client>| c.machine().has_accepted(t, &resource.name, resource.version);
                    if refusal == Refusal::First && self.list().iter().any(has_it) {
                        self.acquit(t, &resource.name, resource.version);
                    }
                }
                (Evidence::Refused { .. }, None) => {}
            }
        }
    }

    fn acquit(&self, t: ResourceType, name: &Name, version: Version) {
        self.last_good.send_if_modified(|all| all.accept(t, name, version));
    }

    /// Frees what was kept of resources that are gone, and of responses that nobody is sent any more. To be called now and
    /// then.
    pub fn forget_gone(&self) {
        self.frames.sweep();
        self.last_good.send_if_modified(LastGood::forget_gone);
    }

    /// Those connected now, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.connected.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connected.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first whose connection id contains `text` (contract §1.1, `proxyID`).
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Arc<Client>> {
        self.list().into_iter().find(|c| c.id.contains(text))
    }
}

/// The time of day at a moment of the past.
pub(super) fn wall_clock(moment: Instant) -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "debug surfaces show the time of day; nothing is decided by it")]
    let now = SystemTime::now();
    now.checked_sub(moment.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)
}
