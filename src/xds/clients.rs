//! The streams that are connected, and what is counted about all of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use super::{
    Machine, Peer, Protocol,
    classes::Classes,
    frames::Frames,
    last_good::{Evidence, LastGood, Refusal},
    names::NameSets,
    openings::Openings,
    resumptions::Resumptions,
    signal::Signal,
};
use crate::{
    model::Proxy,
    snapshot::{ClassId, Name, ResourceType, Snapshot, TypeMap, Version},
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
    signal: Arc<Signal>,
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
        self.signal.ring();
    }
}

/// All connected streams.
#[derive(Default)]
pub struct Clients {
    next: AtomicU64,
    /// Streams, also those that have not asked for anything yet.
    signals: Mutex<BTreeMap<u64, Arc<Signal>>>,
    connected: RwLock<BTreeMap<u64, Arc<Client>>>,
    classes: Classes,
    /// How often somebody came or left.
    moves: Counter,
    last_good: RwLock<LastGood>,
    /// What is sent to many of them.
    pub(super) frames: Frames,
    /// What many of them ask for.
    pub(super) names: Arc<NameSets>,
    /// What many of them are sent first.
    pub(super) openings: Arc<Openings>,
    /// How those came back who had everything.
    pub(super) resumptions: Arc<Resumptions>,
    /// What is counted over all streams.
    pub counters: Counters,
}

impl Clients {
    /// A stream begins: its number, unique in this process, and what wakes it.
    pub(super) fn begin(&self) -> (u64, Arc<Signal>) {
        let (number, signal) = (self.next.fetch_add(1, Ordering::Relaxed) + 1, Arc::<Signal>::default());
        self.signals().insert(number, Arc::clone(&signal));
        (number, signal)
    }

    pub(super) fn end(&self, number: u64) {
        self.signals().remove(&number);
    }

    /// Wakes all streams.
    pub(super) fn wake_all(&self) {
        self.signals().values().for_each(|signal| signal.ring());
    }

    fn signals(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Signal>>> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream asks for something.
    pub(super) fn enter(
        &self,
        number: u64,
        signal: &Arc<Signal>,
        proxy: Arc<Proxy>,
        peer: &Peer,
        machine: Machine,
    ) -> Arc<Client> {
        let snapshot = machine.snapshot();
        let client = Arc::new(Client {
            id: format!("{}-{number}", proxy.id),
            proxy,
            peer: peer.clone(),
            connected: wall_clock(Instant::now()),
            protocol: machine.protocol(),
            machine: Mutex::new(machine),
            signal: Arc::clone(signal),
        });
        self.classes.follow(number, &client, None, &snapshot);
        let mut connected = self.connected.write().unwrap_or_else(PoisonError::into_inner);
        connected.insert(number, Arc::clone(&client));
        self.moves.add(1);
        client
    }

    /// A stream whose snapshot was of this class is given another one.
    pub(super) fn follow(&self, number: u64, client: &Arc<Client>, before: ClassId, newest: &Arc<Snapshot>) {
        self.classes.follow(number, client, Some(before), newest);
    }

    /// A stream of this class leaves.
    pub(super) fn leave(&self, number: u64, class: ClassId) {
        self.classes.leave(number, class);
        self.connected.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
        self.moves.add(1);
    }

    /// Gives a stream what all of them found out of versions that some refuse. Those are woken to whom a version is, or is
    /// to be, sent when something is found out about it.
    pub(super) fn inform(&self, machine: &mut Machine) {
        machine.set_last_good(&self.last_good.read().unwrap_or_else(PoisonError::into_inner));
    }

    fn change_last_good<T>(&self, change: impl FnOnce(&mut LastGood) -> T) -> T {
        change(&mut self.last_good.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The streams to which this version of a resource is, or is to be, sent.
    pub(super) fn having(&self, t: ResourceType, name: &str, version: Version) -> Vec<Arc<Client>> {
        self.classes.having(t, name, version)
    }

    /// Takes what a stream found out; refusals count only if its peer has proved who it is. Call without holding a
    /// machine.
    pub(super) fn hear(&self, identity: Option<&Arc<str>>, evidence: Vec<Evidence>) {
        for found in evidence {
            match (found, identity) {
                (Evidence::Accepted { resource_type, name, version }, _) => self.acquit(resource_type, &name, version),
                (Evidence::Refused { resource_type: t, resource, kept }, Some(identity)) => {
                    let refusal = self.change_last_good(|all| all.refuse(t, &resource, kept.as_ref(), identity));
                    if refusal == Refusal::Known {
                        continue;
                    }
                    let concerned = self.having(t, &resource.name, resource.version);
                    // Those who accept it from now on tell by themselves.
                    let has_it = |c: &Arc<Client>| c.machine().has_accepted(t, &resource.name, resource.version);
                    if refusal == Refusal::First && concerned.iter().any(has_it) {
                        self.change_last_good(|all| all.accept(t, &resource.name, resource.version));
                    }
                    concerned.iter().for_each(|client| client.signal.ring());
                }
                (Evidence::Refused { .. }, None) => {}
            }
        }
    }

    fn acquit(&self, t: ResourceType, name: &Name, version: Version) {
        if self.change_last_good(|all| all.accept(t, name, version)) {
            self.having(t, name, version).iter().for_each(|client| client.signal.ring());
        }
    }

    /// Frees what was kept of resources that are gone, and of responses that nobody is sent any more. To be called now and
    /// then.
    pub fn forget_gone(&self) {
        self.frames.sweep();
        self.openings.sweep();
        self.resumptions.sweep();
        self.names.sweep();
        if self.change_last_good(LastGood::forget_gone) {
            // Streams have copies.
            self.wake_all();
        }
    }

    /// Those connected now, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.connected.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Grows whenever somebody comes or leaves.
    #[must_use]
    pub fn moves(&self) -> u64 {
        self.moves.get()
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
