//! Make before break (design §2 truth 2): what must wait for what on one stream.
//!
//! ```text
//!  add:     cluster sent ──► its assignment sent and acknowledged ──► listeners and routes that lead to it
//!  remove:  listeners and routes that led to it replaced and acknowledged
//!             ──► what the new listeners ask for (RDS, SDS) answered and acknowledged ──► linger ──► cluster removed
//! ```
//!
//! An acknowledged CDS response is never waited for: Envoy withholds all of them while one cluster warms.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    hosts,
    subscription::{Have, Sent, Watch},
};
use crate::snapshot::{Name, Resource, ResourceType, Snapshot, TypeMap};

/// How long things wait, how much is on its way, and in which form it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a listener or a route waits for the endpoints of a cluster it leads to.
    pub barrier_timeout: Duration,
    /// How long a cluster stays after the last use of it is gone, for requests that are under way.
    pub removal_linger: Duration,
    /// How many responses of a type may be unanswered.
    pub unanswered: usize,
    /// Whether proxies that can are sent virtual hosts one by one (VHDS).
    pub discover_hosts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            barrier_timeout: Duration::from_secs(10),
            removal_linger: Duration::from_secs(5),
            unanswered: 32,
            discover_hosts: true,
        }
    }
}

/// A new cluster whose endpoints are not acknowledged.
#[derive(Debug)]
struct Warming {
    assignment: Name,
    /// The response that carried the cluster: only an assignment sent after it counts.
    seq: u64,
    since: Instant,
}

/// A cluster that the snapshot dropped and the client still has.
#[derive(Debug)]
struct Removing {
    since: Instant,
    /// Since when nothing uses it.
    free_since: Option<Instant>,
    counted: bool,
}

/// The clusters and route configurations that something the client may still run leads to.
#[derive(Debug, Default)]
pub(super) struct InUse {
    /// Something whose references are not known may be in use: a listener or a route…
    any_cluster: bool,
    /// …or a listener.
    any_route: bool,
    clusters: HashSet<Name>,
    routes: HashSet<Name>,
}

impl InUse {
    fn add(&mut self, t: ResourceType, have: &Have) {
        match have {
            Have::Nothing => {}
            Have::Unknown => {
                self.any_cluster = true;
                self.any_route |= t == ResourceType::Listener;
            }
            Have::Resource(r) => self.add_resource(r),
        }
    }

    fn add_resource(&mut self, resource: &Resource) {
        self.clusters.extend(resource.refs.clusters.iter().cloned());
        self.routes.extend(resource.refs.routes.iter().cloned());
    }

    fn add_hosts(&mut self, config: &str, snapshot: &Snapshot) {
        snapshot.views[ResourceType::VirtualHost].hosts_of(config).for_each(|host| self.add_resource(host));
    }

    fn merge(&mut self, other: &Self) {
        self.any_cluster |= other.any_cluster;
        self.any_route |= other.any_route;
        self.clusters.extend(other.clusters.iter().cloned());
        self.routes.extend(other.routes.iter().cloned());
    }

    fn cluster(&self, name: &str) -> bool {
        self.any_cluster || self.clusters.contains(name)
    }

    pub(super) fn route(&self, name: &str) -> bool {
        self.any_route || self.routes.contains(name)
    }
}

/// What the former selves of a listener used.
#[derive(Debug, Default)]
struct Former {
    used: InUse,
    /// Route configurations, each with a snapshot: the client may run the virtual hosts that this says. Who uses what is
    /// looked at only once something is to be removed: there may be thousands, for each of thousands of clients.
    hosts: Vec<(Name, Arc<Snapshot>)>,
}

/// So many snapshots may be kept alive for a listener that does not settle.
const MOST_KEPT: usize = 4;

impl Former {
    fn add_hosts(&mut self, config: &Name, snapshot: &Arc<Snapshot>) {
        if self.hosts.len() == MOST_KEPT {
            let used = &mut self.used;
            self.hosts.drain(..).for_each(|(config, snapshot)| used.add_hosts(&config, &snapshot));
        }
        self.hosts.push((Arc::clone(config), Arc::clone(snapshot)));
    }

    fn add_to(&self, used: &mut InUse) {
        used.merge(&self.used);
        self.hosts.iter().for_each(|(config, snapshot)| used.add_hosts(config, snapshot));
    }
}

/// What waits on one stream.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    warming: BTreeMap<Name, Warming>,
    removing: BTreeMap<Name, Removing>,
    /// Changed listeners that may not serve yet, with what their former selves used.
    unsettled: BTreeMap<Name, Former>,
    pub(super) void: Void,
    timeouts: u64,
}

/// Clusters that were sent before the client has asked for assignments: whatever versions of theirs it claims then, they
/// must be sent.
#[derive(Debug, Default)]
pub(super) struct Void {
    /// The first response. Usually it is the only one, and that of many streams.
    first: Option<Arc<[Sent]>>,
    later: BTreeSet<Name>,
}

impl Void {
    pub(super) fn add(&mut self, clusters: &Arc<[Sent]>) {
        match self.first {
            None => self.first = Some(Arc::clone(clusters)),
            Some(_) => self.later.extend(assignments(clusters).cloned()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.later.is_empty()
    }

    /// The assignments of these clusters.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.first.iter().flat_map(|clusters| assignments(clusters)).chain(&self.later)
    }
}

fn assignments(clusters: &[Sent]) -> impl Iterator<Item = &Name> {
    clusters.iter().filter_map(|item| item.resource.as_ref()?.refs.endpoints.as_ref())
}

/// What a stream asks for, of each type. In boxes: a client asks for half of the types.
pub(super) type Watches = TypeMap<Option<Box<Watch>>>;

/// What leads to clusters.
const LEADING: [ResourceType; 3] = [ResourceType::Listener, ResourceType::Route, ResourceType::VirtualHost];

impl Barriers {
    /// Barriers that opened, or removals that passed, their time limit since the last call.
    pub(super) fn take_timeouts(&mut self) -> u64 {
        std::mem::take(&mut self.timeouts)
    }

    /// Whether the endpoints of any new cluster are awaited.
    pub(super) fn is_warming(&self) -> bool {
        !self.warming.is_empty()
    }

    /// Whether a listener or a route must wait for the endpoints of a new cluster.
    pub(super) fn holds(&self, resource: &Resource) -> bool {
        self.is_warming() && resource.refs.clusters.iter().any(|c| self.warming.contains_key(c))
    }

    /// Opens what waited too long and forgets clusters that are no longer wanted.
    pub(super) fn expire(&mut self, watches: &Watches, snapshot: &Snapshot, now: Instant, settings: &Settings) {
        let clusters = &snapshot.views[ResourceType::Cluster];
        self.warming.retain(|name, _| clusters.get(name).is_some());
        let late: Vec<Name> = self
            .warming
            .iter()
            .filter(|(_, w)| w.since + settings.barrier_timeout <= now)
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in late {
            let waited_for = LEADING.into_iter().any(|t| {
                let waiting = watches[t].iter().flat_map(|w| w.lagging.keys());
                waiting.filter_map(|n| snapshot.views[t].get(n)).any(|r| r.refs.clusters.contains(&name))
            });
            self.timeouts += u64::from(waited_for);
            self.warming.remove(&name);
        }
    }

    /// Clusters are on their way to the client.
    pub(super) fn clusters_sent(&mut self, items: &[Sent], seq: u64, fresh: bool, now: Instant) {
        for item in items {
            self.removing.remove(&item.name);
            let Some(assignment) = item.resource.as_ref().and_then(|r| r.refs.endpoints.as_ref()) else {
                self.warming.remove(&item.name);
                continue;
            };
            match self.warming.get_mut(&item.name) {
                Some(warming) => (warming.assignment, warming.seq) = (Arc::clone(assignment), seq),
                // At start Envoy itself asks for listeners only when all clusters are warm.
                None if item.have.is_nothing() && !fresh => {
                    let warming = Warming { assignment: Arc::clone(assignment), seq, since: now };
                    self.warming.insert(Arc::clone(&item.name), warming);
                }
                None => {}
            }
        }
    }

    /// Assignments were acknowledged, or refused for good: nothing better will come.
    pub(super) fn endpoints_settled<'a>(&mut self, names: impl Iterator<Item = &'a Name>, seq: u64) {
        if !self.warming.is_empty() {
            let names: HashSet<&Name> = names.collect();
            self.warming.retain(|_, w| seq < w.seq || !names.contains(&w.assignment));
        }
    }

    /// A cluster was refused: nothing waits for it.
    pub(super) fn cluster_refused(&mut self, name: &str) {
        self.warming.remove(name);
    }

    /// Listeners are on their way to the client, which has these route configurations and virtual hosts.
    pub(super) fn listeners_sent(&mut self, items: &[Sent], watches: &Watches, snapshot: &Arc<Snapshot>) {
        for item in items.iter().filter(|i| !i.have.is_nothing()) {
            let before = self.unsettled.entry(Arc::clone(&item.name)).or_default();
            before.used.add(ResourceType::Listener, &item.have);
            let Have::Resource(old) = &item.have else { continue };
            for config in old.refs.routes.iter() {
                let Some(routes) = watches[ResourceType::Route].as_ref().filter(|w| w.subscribed(config)) else {
                    continue;
                };
                let current = snapshot.views[ResourceType::Route].get(config);
                let have = routes.lagging.get(config).map_or_else(|| Have::of(current), |lag| lag.have.clone());
                before.used.add(ResourceType::Route, &have);
                if let Some(lagging) = hosts::lagging(watches[ResourceType::VirtualHost].as_deref(), config) {
                    lagging.for_each(|have| before.used.add(ResourceType::VirtualHost, have));
                    before.add_hosts(config, snapshot);
                }
            }
        }
    }

    /// Forgets what the former selves of listeners used that serve now.
    pub(super) fn settle(&mut self, watches: &Watches, snapshot: &Snapshot) {
        self.unsettled.retain(|name, _| !settled(name, watches, snapshot));
    }

    /// What the client may still run, apart from what the snapshot says.
    pub(super) fn in_use(&mut self, watches: &Watches, snapshot: &Snapshot, now: Instant, limits: &Settings) -> InUse {
        self.settle(watches, snapshot);
        let mut used = InUse { any_cluster: resuming(watches, snapshot, now, limits), ..InUse::default() };
        for t in LEADING {
            let Some(watch) = &watches[t] else { continue };
            watch.lagging.values().for_each(|lag| used.add(t, &lag.have));
            watch.in_flight.iter().flat_map(|f| f.items.iter()).for_each(|i| used.add(t, &i.have));
        }
        self.unsettled.values().for_each(|former| former.add_to(&mut used));
        used
    }

    /// Whether a cluster that the snapshot dropped can go now. Called at every opportunity: it notes since when
    /// nothing uses the cluster.
    pub(super) fn may_remove(&mut self, name: &Name, used: &InUse, now: Instant, settings: &Settings) -> bool {
        let entry =
            self.removing.entry(Arc::clone(name)).or_insert(Removing { since: now, free_since: None, counted: false });
        if used.cluster(name) {
            entry.free_since = None;
            if !entry.counted && entry.since + settings.barrier_timeout <= now {
                entry.counted = true;
                self.timeouts += 1;
            }
            return false;
        }
        *entry.free_since.get_or_insert(now) + settings.removal_linger <= now
    }

    /// Forgets removals that are no longer wanted.
    pub(super) fn retain_removing(&mut self, wanted: impl Fn(&str) -> bool) {
        self.removing.retain(|name, _| wanted(name));
    }

    /// When something may move without a message or a change.
    pub(super) fn next_deadline(&self, settings: &Settings) -> Option<Instant> {
        let opening = self.warming.values().map(|w| w.since + settings.barrier_timeout);
        let removal = self.removing.values().filter_map(|r| match r.free_since {
            Some(free) => Some(free + settings.removal_linger),
            None => (!r.counted).then(|| r.since + settings.barrier_timeout),
        });
        opening.chain(removal).min()
    }
}

/// Whether a reconnected client may not have told yet which listeners and routes it has.
fn resuming(watches: &Watches, snapshot: &Snapshot, now: Instant, limits: &Settings) -> bool {
    let Some(clusters) = &watches[ResourceType::Cluster] else { return false };
    let told = watches[ResourceType::Listener].is_some() && watches[ResourceType::Route].is_some();
    !(told && hosts::told(watches, snapshot))
        && now < clusters.created + limits.barrier_timeout
        && clusters.lagging.values().any(|lag| matches!(lag.have, Have::Unknown))
}

/// Whether a listener's newest version serves: it is acknowledged, and so is everything that it asks for. (Envoy
/// acknowledges a listener that still warms on an unanswered RDS or a missing secret.)
fn settled(name: &str, watches: &Watches, snapshot: &Snapshot) -> bool {
    let Some(watch) = &watches[ResourceType::Listener] else { return true };
    if watch.lagging.contains_key(name) || watch.is_in_flight(name) {
        return false;
    }
    let Some(listener) = snapshot.views[ResourceType::Listener].get(name) else { return true };
    let routes = watches[ResourceType::Route].as_deref();
    listener.refs.routes.iter().all(|r| answered(routes, r) && hosts::answered(watches, snapshot, r))
        && listener.refs.secrets.iter().all(|s| {
            snapshot.views[ResourceType::Secret].get(s).is_some()
                && answered(watches[ResourceType::Secret].as_deref(), s)
        })
}

/// Whether the client has some version of what it asks for, or was told that there is none.
fn answered(watch: Option<&Watch>, name: &str) -> bool {
    watch.is_some_and(|w| {
        let waits = w.lagging.get(name).is_some_and(|lag| lag.have.is_nothing());
        w.subscribed(name) && !waits && !w.in_flight_as(name).any(|i| i.have.is_nothing())
    })
}
