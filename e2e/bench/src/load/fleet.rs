//! The clients of one process.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
};
use tonic::transport::Endpoint;

use super::{
    client::{Client, Seat, Shared},
    names::SharedNames,
    population::{Population, Who},
    proxy::{Goal, Proxy},
    tally::{Counts, Tally},
    wire::Type,
};

/// An address has 28,000 ephemeral ports, of which each reconnect leaves one unusable for a minute; clients beyond this
/// number use the next loopback address.
const CLIENTS_PER_ADDRESS: usize = 5_000;

/// Handshakes under way at once: well below the length of a listener's queue.
const HANDSHAKES: usize = 256;

/// Envoy's own windows.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 24 << 20;

/// What a fleet is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) target: SocketAddr,
    pub(super) population: Population,
    /// The numbers of the clients.
    pub(super) clients: Range<usize>,
}

/// A resource that some clients wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) by: Who,
    pub(super) kind: Type,
    pub(super) name: String,
    /// Whether it must go, not come.
    pub(super) gone: bool,
}

/// How far the clients are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    /// Clients that what happens concerns, and how many of these have what they wait for.
    pub(super) concerned: usize,
    pub(super) reached: usize,
    pub(super) counts: Counts,
    /// The last reason for which a stream has broken; empty if none has.
    pub(super) complaint: String,
}

/// Many clients.
pub(super) struct Fleet {
    setup: Setup,
    shared: Arc<Shared>,
    seats: Vec<Arc<Mutex<Seat>>>,
    /// Those that are connected, or try to be.
    present: Vec<Option<AbortHandle>>,
    epoch: watch::Sender<u64>,
    tasks: JoinSet<()>,
}

impl Fleet {
    /// Clients of which none is connected.
    pub(super) fn new(setup: Setup) -> Self {
        let shared = Shared {
            names: SharedNames::default(),
            tally: Tally::default(),
            handshakes: Semaphore::new(HANDSHAKES),
            complaint: std::sync::RwLock::default(),
        };
        let seat = |index| {
            let proxy = Proxy::new(setup.population.node(index));
            Arc::new(Mutex::new(Seat { proxy, is_concerned: false, reached: None }))
        };
        let seats: Vec<_> = setup.clients.clone().map(seat).collect();
        Self {
            shared: Arc::new(shared),
            present: vec![None; seats.len()],
            seats,
            epoch: watch::Sender::new(0),
            tasks: JoinSet::new(),
            setup,
        }
    }

    /// Connects those of some clients that are not connected; what happens concerns them until they have everything,
    /// if they are awaited.
    pub(super) fn join(&mut self, clients: &Range<usize>, awaited: bool) {
        for nth in self.own(clients) {
            if self.present[nth].is_some() {
                continue;
            }
            let index = self.setup.clients.start + nth;
            let mut seat = lock(&self.seats[nth]);
            (seat.is_concerned, seat.reached) = (awaited, None);
            drop(seat);
            let client = Client {
                endpoint: self.endpoint(index),
                seat: self.seats[nth].clone(),
                shared: self.shared.clone(),
                epoch: self.epoch.subscribe(),
            };
            self.present[nth] = Some(self.tasks.spawn(client.run()));
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// Disconnects some clients, which forget everything.
    pub(super) fn leave(&mut self, clients: &Range<usize>) {
        for nth in self.own(clients) {
            let Some(task) = self.present[nth].take() else { continue };
            task.abort();
            let proxy = Proxy::new(self.setup.population.node(self.setup.clients.start + nth));
            // The old one keeps the old seat, should it be about to use it.
            self.seats[nth] = Arc::new(Mutex::new(Seat { proxy, is_concerned: false, reached: None }));
        }
    }

    /// Makes all clients reconnect.
    pub(super) fn reconnect(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Sets what those clients wait for that are connected. It concerns nobody else.
    pub(super) fn aim(&self, wanted: &[Wanted]) {
        let mut dictionary = self.shared.names.lock();
        let ids: Vec<_> = wanted.iter().map(|w| (w, (w.kind, dictionary.names.id(&w.name)))).collect();
        drop(dictionary);
        for (nth, seat) in self.seats.iter().enumerate() {
            let resident = self.setup.population.resident(self.setup.clients.start + nth);
            let mut goal = Goal::default();
            for (wanted, id) in ids.iter().filter(|(wanted, _)| self.setup.population.is(&resident, wanted.by)) {
                if wanted.gone { &mut goal.gone } else { &mut goal.sent }.push(*id);
            }
            let mut seat = lock(seat);
            seat.proxy.pursue(&goal);
            seat.is_concerned = self.present[nth].is_some() && !(goal.sent.is_empty() && goal.gone.is_empty());
            seat.reached = None;
            seat.look();
        }
    }

    pub(super) fn look(&self) -> Look {
        let mut look = Look { counts: self.shared.tally.counts(), ..Look::default() };
        for seat in self.seats.iter().map(|seat| lock(seat)).filter(|seat| seat.is_concerned) {
            look.concerned += 1;
            look.reached += usize::from(seat.reached.is_some());
        }
        look.complaint = self.shared.complaint.read().unwrap_or_else(PoisonError::into_inner).clone();
        look
    }

    /// When those that what happens concerns had what they wait for, and one that has not.
    pub(super) fn arrivals(&self) -> (Vec<Instant>, Option<String>) {
        let (mut times, mut waiting) = (Vec::new(), None);
        for seat in self.seats.iter().map(|seat| lock(seat)).filter(|seat| seat.is_concerned) {
            match seat.reached {
                Some(at) => times.push(at),
                None => waiting = waiting.or_else(|| Some(seat.proxy.id().to_owned())),
            }
        }
        (times, waiting)
    }

    /// The different resources that clients have, by type in its order: a number that stands for name and version.
    pub(super) fn encodings(&self) -> Vec<HashSet<u64>> {
        let mut known: Vec<HashSet<_>> = vec![HashSet::new(); Type::COUNT];
        for seat in &self.seats {
            let seat = lock(seat);
            for t in Type::ALL {
                known[t as usize].extend(seat.proxy.versions(t));
            }
        }
        let dictionary = self.shared.names.lock();
        let number = |(name, version)| hash(&(dictionary.names.text(name), dictionary.versions.text(version)));
        known.into_iter().map(|of_type| of_type.into_iter().map(number).collect()).collect()
    }

    /// Of each connected client its number, and one that stands for all that it has; those without something that
    /// they have asked for are told by 0.
    pub(super) fn digests(&self) -> Vec<(usize, u64)> {
        let dictionary = self.shared.names.lock();
        let present = (0..self.seats.len()).filter(|nth| self.present[*nth].is_some());
        let digest = |nth: usize| {
            let seat = lock(&self.seats[nth]);
            let has = Type::ALL.into_iter().flat_map(|t| seat.proxy.versions(t).map(move |of| (t, of)));
            // The sum does not depend on the order, in which names became known.
            let sum = has.fold(1_u64, |sum, (t, (name, version))| {
                sum.wrapping_add(hash(&(t, dictionary.names.text(name), dictionary.versions.text(version))))
            });
            (self.setup.clients.start + nth, if seat.proxy.is_content() { sum } else { 0 })
        };
        present.map(digest).collect()
    }

    /// Which of the clients with some numbers are here, counted from the first one here.
    fn own(&self, clients: &Range<usize>) -> Range<usize> {
        let here = &self.setup.clients;
        let from = clients.start.clamp(here.start, here.end);
        let to = clients.end.clamp(from, here.end.max(from));
        from - here.start..to - here.start
    }

    fn endpoint(&self, index: usize) -> Endpoint {
        let target = self.setup.target;
        let endpoint = Endpoint::from_shared(format!("http://{target}")).expect("an address makes a URI");
        let endpoint = endpoint
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let address = u8::try_from(index / CLIENTS_PER_ADDRESS + 1).unwrap_or(u8::MAX);
        let here = target.ip().is_loopback() && target.is_ipv4() && address > 1;
        endpoint.local_address(here.then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, address))))
    }
}

fn lock(seat: &Arc<Mutex<Seat>>) -> MutexGuard<'_, Seat> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same in every process.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
