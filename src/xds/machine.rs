//! The state of one xDS stream: (state, request | snapshot | time) → responses. No I/O and no clock.
//!
//! Both protocols run on it; they differ in how they read a request ([`super::delta`], [`super::sotw`]) and in what
//! a response holds. A caller feeds [`Machine::set_snapshot`] and requests as they come, takes
//! [`Machine::next_response`] whenever the transport has room, until it is `None`, and calls again at
//! [`Machine::next_deadline`]. Nothing is queued: a response is made of the newest snapshot when it is taken.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    Permission, Request,
    barriers::{Barriers, InUse, Settings, Watches},
    batch::Batch,
    hosts::{Hosts, one_config},
    last_good::{Evidence, LastGood},
    names::NameSets,
    openings::Openings,
    resumptions::Resumptions,
    subscription::{Have, Lag, Sent, Watch},
    withheld::Withheld,
};
use crate::snapshot::{Generation, Name, Resource, ResourceType, Snapshot, TypeMap, Version};

/// Decides whether the peer may have a secret of this name.
pub type SecretGate = Box<dyn Fn(&str) -> Permission + Send + Sync>;

/// The two forms of ADS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `DeltaAggregatedResources`.
    Delta,
    /// `StreamAggregatedResources`, state of the world.
    Sotw,
}

/// A response, to be encoded for the wire.
#[derive(Clone, Debug)]
pub struct Response {
    /// The type of the resources.
    pub resource_type: ResourceType,
    /// What the client repeats in its acknowledgement.
    pub nonce: String,
    /// The hash of names and versions.
    pub version: Version,
    /// The resources.
    pub resources: Arc<[Arc<Resource>]>,
    /// Names that are gone (delta only).
    pub removed: Vec<Name>,
}

/// What a request was, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A subscription or a change of one.
    Subscription,
    /// An acknowledgement.
    Ack,
    /// A refusal.
    Nack,
    /// It named a nonce that is not, or no longer, awaited.
    Stale,
}

/// A resource was isolated as the one that the client refuses, or is no longer refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its name.
    pub name: Name,
    /// The refused version.
    pub version: Version,
    /// The last generation in which the client had what the snapshot said, 0 when it is not known: what changed
    /// since is the cause of a refusal.
    pub since: Generation,
    /// The client's reason; `None` withdraws.
    pub refused: Option<Arc<str>>,
}

pub(super) enum Step {
    Send(Arc<Resource>),
    /// Something else in its place, for now.
    StandIn(Arc<Resource>),
    Remove,
    /// The client has what it should have.
    Drop,
    Wait,
}

/// The state of one stream.
pub struct Machine {
    protocol: Protocol,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) watches: Watches,
    pub(super) barriers: Barriers,
    /// What streams share.
    pub(super) names: Arc<NameSets>,
    pub(super) openings: Arc<Openings>,
    pub(super) resumptions: Arc<Resumptions>,
    gate: SecretGate,
    /// Secrets that the client asked for and may not have, as far as is known.
    withheld: Withheld,
    pub(super) hosts: Hosts,
    pub(super) settings: Settings,
    pub(super) nonce_prefix: String,
    pub(super) seq: u64,
    pub(super) judgements: Vec<Judgement>,
    pub(super) last_good: LastGood,
    pub(super) evidence: Vec<Evidence>,
}

impl Machine {
    /// A stream that just began. `nonce_prefix` sets its nonces apart from those of other streams.
    #[must_use]
    pub fn new(
        protocol: Protocol,
        snapshot: Arc<Snapshot>,
        gate: SecretGate,
        settings: Settings,
        nonce_prefix: String,
    ) -> Self {
        Self {
            protocol,
            snapshot,
            watches: TypeMap::default(),
            barriers: Barriers::default(),
            names: Arc::default(),
            openings: Arc::default(),
            resumptions: Arc::default(),
            gate,
            withheld: Withheld::default(),
            hosts: Hosts::default(),
            settings,
            nonce_prefix,
            seq: 0,
            judgements: Vec::new(),
            last_good: LastGood::default(),
            evidence: Vec::new(),
        }
    }

    /// Shares lists of names, first answers and what reconnecting clients claim with other streams. To be called before the
    /// first request.
    #[must_use]
    pub fn sharing(mut self, names: &Arc<NameSets>, openings: &Arc<Openings>, resumptions: &Arc<Resumptions>) -> Self {
        self.names = Arc::clone(names);
        self.openings = Arc::clone(openings);
        self.resumptions = Arc::clone(resumptions);
        self
    }

    /// What the client is to have.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// The form of ADS that it speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Takes a request of a type that is served.
    pub fn request(&mut self, t: ResourceType, request: &Request<'_>, now: Instant) -> Received {
        match self.protocol {
            Protocol::Delta => self.delta_request(t, request, now),
            Protocol::Sotw => self.sotw_request(t, request, now),
        }
    }

    /// Replaces the snapshot. Costs what differs, nothing when it is the same.
    pub fn set_snapshot(&mut self, new: &Arc<Snapshot>) {
        if Arc::ptr_eq(&self.snapshot, new) {
            return;
        }
        let old = std::mem::replace(&mut self.snapshot, Arc::clone(new));
        let changes = new.changed_since(&old);
        for (t, watch) in self.watches.iter_mut() {
            let Some(watch) = watch else { continue };
            if t == ResourceType::Endpoint
                && watch.lagging.is_empty()
                && let Some(batch) = Batch::of(&changes, &old, new).filter(|batch| batch.is_for(watch))
            {
                watch.lagging = batch.into();
                continue;
            }
            for (name, before) in &changes.names[t] {
                if !watch.subscribed(name) {
                    continue;
                }
                match (t == ResourceType::Secret).then(|| self.withheld.take(name)).flatten() {
                    Some(lag) => watch.take_up(Arc::clone(name), lag),
                    None => watch.note_change(Arc::clone(name), before.as_ref(), old.generation),
                }
            }
        }
    }

    /// Secrets that the client may not have are looked at again.
    pub(super) fn retry_withheld(&mut self) {
        let released = self.withheld.release(&self.gate);
        if let Some(watch) = &mut self.watches[ResourceType::Secret] {
            released.into_iter().for_each(|(name, lag)| watch.take_up(name, lag));
        }
    }

    /// The next response, if one is due. Call when the transport has room, until it is `None`.
    pub fn next_response(&mut self, now: Instant) -> Option<Response> {
        self.barriers.expire(&self.watches, &self.snapshot, now, &self.settings);
        self.hosts.awaited_until = self.hosts.awaited_until.filter(|until| now < *until);
        ResourceType::ALL.into_iter().find_map(|t| self.next_of(t, now))
    }

    /// When [`Self::next_response`] may have something without anything else happening.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let barriers = self.barriers.next_deadline(&self.settings);
        barriers.into_iter().chain(self.resuming_until()).chain(self.hosts.awaited_until).min()
    }

    /// Resources found to be refused, or no longer refused, since the last call.
    pub fn take_judgements(&mut self) -> Vec<Judgement> {
        std::mem::take(&mut self.judgements)
    }

    /// Secrets that were withheld since the last call, as the client may not have them.
    pub fn take_denied(&mut self) -> Vec<Name> {
        self.withheld.take_denied()
    }

    /// Barriers that passed their time limit since the last call.
    pub fn take_barrier_timeouts(&mut self) -> u64 {
        self.barriers.take_timeouts()
    }

    /// The stream ends: withdraws what it refused.
    pub fn end(&mut self) {
        for t in ResourceType::ALL {
            self.drop_watch(t);
        }
    }

    /// What the client has of a type, as far as this stream knows, by name.
    #[must_use]
    pub fn contents(&self, t: ResourceType) -> BTreeMap<Name, Arc<Resource>> {
        let Some(watch) = &self.watches[t] else { return BTreeMap::new() };
        let view = &self.snapshot.views[t];
        let mut held = BTreeMap::new();
        let mut add = |name: &Name, current: Option<&Arc<Resource>>| {
            if let Some(resource) = watch.held(name, current) {
                held.insert(Arc::clone(name), Arc::clone(resource));
            }
        };
        if watch.wildcard {
            view.for_each(|r| add(&r.name, Some(r)));
        }
        if watch.by_config {
            watch.names.iter().flat_map(|config| view.hosts_of(config)).for_each(|r| add(&r.name, Some(r)));
        } else {
            watch.names.iter().for_each(|n| add(n, self.target(t, n)));
        }
        watch.lagging.keys().for_each(|n| add(n, None));
        held
    }

    /// What the snapshot says of a name, as far as this peer may know.
    pub(super) fn target(&self, t: ResourceType, name: &str) -> Option<&Arc<Resource>> {
        let may_have = |_: &&Arc<Resource>| t != ResourceType::Secret || (self.gate)(name) == Permission::Granted;
        self.snapshot.views[t].get(name).filter(may_have)
    }

    /// The shared name, so that a stream's list of names costs no text of its own.
    pub(super) fn intern(&self, t: ResourceType, name: &str) -> Name {
        self.snapshot.views[t].get(name).map_or_else(|| name.into(), |r| Arc::clone(&r.name))
    }

    /// Forgets a type: the client no longer watches it.
    pub(super) fn drop_watch(&mut self, t: ResourceType) {
        if let Some(watch) = self.watches[t].take() {
            self.withdraw(t, watch.refused);
        }
    }

    /// After a change of names: forgets what nothing asks for.
    pub(super) fn forget_unsubscribed(&mut self, t: ResourceType) {
        if let Some(watch) = &mut self.watches[t] {
            let gone = watch.forget_unsubscribed();
            self.withdraw(t, gone);
        }
    }

    pub(super) fn withdraw(&mut self, t: ResourceType, names: impl IntoIterator<Item = (Name, Version)>) {
        self.judgements.extend(names.into_iter().map(|(name, version)| Judgement {
            resource_type: t,
            name,
            version,
            since: 0,
            refused: None,
        }));
    }

    fn next_of(&mut self, t: ResourceType, now: Instant) -> Option<Response> {
        let watch = self.watches[t].as_ref()?;
        if watch.lagging.is_empty() && !watch.answer_due
            || self.must_be_answered(t, watch)
            || self.must_finish_probe(t, watch)
            || self.must_resume_later(t, now)
        {
            return None;
        }
        if let Some(batch) = self.batch(t, watch) {
            return Some(self.send_batch(t, &batch, now));
        }
        while let Some(group) = self.watches[t].as_mut().and_then(|w| w.suspects.pop_front()) {
            let items = self.collect(t, Some(&group), now);
            if !items.is_empty() {
                return Some(self.send(t, items, now));
            }
        }
        let items = self.collect(t, None, now);
        let due = self.watches[t].as_ref().is_some_and(|w| w.answer_due);
        (due || !items.is_empty()).then(|| self.send(t, items, now))
    }

    /// What the client lags behind by, if it is a batch and nothing speaks against sending it as it is.
    fn batch(&self, t: ResourceType, watch: &Watch) -> Option<Arc<Batch>> {
        let as_it_is = watch.refused.is_empty() && watch.suspects.is_empty() && self.last_good.is_empty();
        let may_go = !self.barriers.is_warming() || !is_held_back(t, watch);
        // Route configurations may have to wait for what a client that has come back says of virtual hosts.
        let is_new = t != ResourceType::Route || !self.hosts.returned;
        watch.lagging.batch().filter(|_| as_it_is && may_go && is_new).cloned()
    }

    /// Whether the client has so much to answer that the latest state waits until it does. Clusters go on: Envoy answers none
    /// of them while one warms (envoy-increments §4), and a change of clusters may be what ends that.
    fn must_be_answered(&self, t: ResourceType, watch: &Watch) -> bool {
        t != ResourceType::Cluster && watch.in_flight.len() >= self.settings.unanswered
    }

    /// A full set repeats everything, so while a culprit is looked for, one set at a time is out.
    fn must_finish_probe(&self, t: ResourceType, watch: &Watch) -> bool {
        self.is_full_set(t) && !watch.suspects.is_empty() && !watch.in_flight.is_empty()
    }

    pub(super) fn is_full_set(&self, t: ResourceType) -> bool {
        self.protocol == Protocol::Sotw && t.is_wildcard()
    }

    /// Takes what can go now out of the lagging names, all or those of `only`.
    fn collect(&mut self, t: ResourceType, only: Option<&BTreeSet<Name>>, now: Instant) -> Vec<Sent> {
        let gone = self.gone(t, now);
        let Some(mut watch) = self.watches[t].take() else { return Vec::new() };
        let held = match t {
            ResourceType::Route => self.routes_held(&watch, now),
            _ => self.held_together(t, &watch),
        };
        // Taken and put back as a whole: at a start these are thousands, and all of them go.
        let lagging = std::mem::take(&mut watch.lagging);
        let (mut items, mut rest) = (Vec::with_capacity(lagging.len()), Vec::new());
        for (name, lag) in lagging.into_map() {
            if only.is_some_and(|only| !only.contains(&name)) || held.contains(&name) {
                rest.push((name, lag));
                continue;
            }
            let resource = match self.step(t, &watch, &name, &lag, &gone, now) {
                Step::Wait => {
                    rest.push((name, lag));
                    continue;
                }
                Step::Drop => {
                    if let Some(withdrawn) = watch.refused.remove_entry(&name) {
                        watch.forget_error();
                        self.withdraw(t, [withdrawn]);
                    }
                    continue;
                }
                Step::StandIn(good) => {
                    // The name keeps lagging behind what it stands for.
                    let have = Have::Resource(Arc::clone(&good));
                    rest.push((Arc::clone(&name), Lag { have, ..Lag::default() }));
                    Some(good)
                }
                Step::Send(resource) => Some(resource),
                Step::Remove => None,
            };
            items.push(Sent { name, resource, have: lag.have, forced: lag.forced, since: lag.since });
        }
        if t == ResourceType::VirtualHost {
            rest.extend(
                one_config(&mut items).into_iter().map(|item| (Arc::clone(&item.name), item.not_had(item.forced))),
            );
        }
        watch.lagging = rest.into_iter().collect();
        if t == ResourceType::Cluster {
            let view = &self.snapshot.views[t];
            self.barriers.retain_removing(|n| watch.lagging.contains_key(n) && view.get(n).is_none());
        }
        self.watches[t] = Some(watch);
        items
    }

    fn step(&mut self, t: ResourceType, watch: &Watch, name: &Name, lag: &Lag, gone: &Gone, now: Instant) -> Step {
        let held_back = is_held_back(t, watch);
        let target = self.target(t, name).filter(|_| watch.subscribed(name)).cloned();
        let stand_in = target.as_ref().and_then(|r| self.last_good.stand_in(t, r)).cloned();
        match (target, stand_in) {
            (Some(r), _) if watch.refused.get(name) == Some(&r.version) => Step::Wait,
            (Some(r), _) if !lag.forced && lag.have.version() == Some(r.version) => Step::Drop,
            (Some(_), Some(good)) => self.step_stand_in(watch, lag, good, held_back),
            (Some(r), None) if held_back && self.barriers.holds(&r) => Step::Wait,
            (Some(r), None) => Step::Send(r),
            (None, _) if t == ResourceType::VirtualHost && self.keeps_host(watch, name) => Step::Wait,
            (None, _) => self.step_absent(t, name, lag, gone, now),
        }
    }

    fn step_absent(&mut self, t: ResourceType, name: &Name, lag: &Lag, gone: &Gone, now: Instant) -> Step {
        if t == ResourceType::Secret && self.snapshot.views[t].get(name).is_some() {
            self.withheld.put(Arc::clone(name), lag.clone(), (self.gate)(name));
        }
        match (t, lag.forced, lag.have.is_nothing()) {
            _ if !self.reports_removals(t) => Step::Drop,
            (_, false, true) => Step::Drop,
            (_, true, true) => Step::Remove,
            (ResourceType::Cluster, ..) => {
                if self.barriers.may_remove(name, &gone.used, now, &self.settings) {
                    Step::Remove
                } else {
                    Step::Wait
                }
            }
            (ResourceType::Endpoint, false, _) if gone.assignments.contains(name) => Step::Wait,
            (ResourceType::Route, ..) if gone.used.route(name) => Step::Wait,
            _ => Step::Remove,
        }
    }

    /// Whether the absence of a resource is told. A secret that is gone or denied is omitted silently (contract
    /// §4.6) and an extension keeps its last configuration (contract §2.5).
    fn reports_removals(&self, t: ResourceType) -> bool {
        match self.protocol {
            Protocol::Delta => !matches!(t, ResourceType::Secret | ResourceType::ExtensionConfig),
            Protocol::Sotw => t.is_wildcard(),
        }
    }

    fn gone(&mut self, t: ResourceType, now: Instant) -> Gone {
        let ordered = matches!(t, ResourceType::Cluster | ResourceType::Endpoint | ResourceType::Route);
        let view = &self.snapshot.views[t];
        let removals = |w: &Watch| w.lagging.iter().any(|(n, l)| !l.have.is_nothing() && view.get(n).is_none());
        if !ordered || !self.watches[t].as_deref().is_some_and(removals) {
            return Gone::default();
        }
        let lags = self.watches[ResourceType::Cluster].iter().flat_map(|w| w.lagging.values());
        let assignments = lags.filter_map(|l| match &l.have {
            Have::Resource(r) => r.refs.endpoints.clone(),
            _ => None,
        });
        let assignments = assignments.collect();
        Gone { used: self.barriers.in_use(&self.watches, &self.snapshot, now, &self.settings), assignments }
    }

    pub(super) fn nonce(&self, seq: u64) -> String {
        format!("{}{seq}", self.nonce_prefix)
    }
}

/// Whether resources wait for the endpoints of the clusters that they lead to.
fn is_held_back(t: ResourceType, watch: &Watch) -> bool {
    matches!(t, ResourceType::Listener | ResourceType::Route | ResourceType::VirtualHost) && !watch.fresh
}

/// What decides when absent resources are removed.
#[derive(Default)]
struct Gone {
    used: InUse,
    /// Assignments of clusters that the client still has.
    assignments: HashSet<Name>,
}
