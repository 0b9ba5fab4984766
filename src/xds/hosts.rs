//! VHDS: virtual hosts as resources of their own (envoy-increments §1).
//!
//! Envoy asks for them once, without names, and means those of all route configurations that it has and that have none
//! inline. So their watch follows that of the route configurations:
//!
//! ```text
//!  a route configuration is sent to a client without it ──► all its virtual hosts follow, in one response
//!  the client asks for it no longer                     ──► they are taken back, or its list of versions would lie
//! ```
//!
//! Such a list can be wrong only where a client has a route configuration: of one that it does not have nothing is
//! believed. Therefore no stream may end with a client that was given one while its list held virtual hosts of the one before:
//! these are taken back first ([`Machine::routes_held`]). And nothing is taken back in a response that may be refused because of
//! another route configuration ([`one_config`]): Envoy would do it, and go on saying that it has them.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Request,
    barriers::Watches,
    delta::{Claims, claims},
    machine::Machine,
    resumptions::Mark,
    subscription::{Have, InFlight, Lag, Sent, Watch},
};
use crate::snapshot::{Name, ResourceType, Snapshot, Version, host_name_parts};

const HOST: ResourceType = ResourceType::VirtualHost;

/// How long a client that comes back may take to tell its virtual hosts once it has asked for route configurations. Envoy
/// sends all that it asks for at once.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// What one stream knows of virtual hosts beside their watch.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Versions that the client says it has, until it is known which route configurations it has.
    claims: Option<Vec<(Box<str>, Option<Version>)>>,
    /// Route configurations that serve from their first virtual hosts on: these go in one response.
    first: BTreeSet<Name>,
    /// The client has something from an earlier stream, perhaps virtual hosts too.
    pub(super) returned: bool,
    /// Until when route configurations wait for it to tell of these.
    pub(super) awaited_until: Option<Instant>,
}

impl Machine {
    /// The only subscription of a stream.
    pub(super) fn watch_hosts(&mut self, request: &Request<'_>, now: Instant) {
        self.hosts.awaited_until = None;
        let mut watch = Watch { by_config: true, fresh: request.versions.is_empty(), ..Watch::new(now, &self.names) };
        let mark = self.host_mark(request);
        if let Some(names) = mark.and_then(|mark| self.resumptions.recall(HOST, &self.snapshot, mark)) {
            watch.names = names;
            self.watches[HOST] = Some(Box::new(watch));
            return;
        }
        let claims = claims(&request.versions);
        self.watches[HOST] = Some(Box::new(watch));
        if self.watches[ResourceType::Route].is_some() {
            self.take_claims(&claims);
            if let (Some(mark), Some(watch)) = (mark, self.watches[HOST].as_ref().filter(|w| w.lagging.is_empty())) {
                self.resumptions.keep(HOST, &self.snapshot, mark, &watch.names);
            }
        } else {
            self.hosts.claims = Some(claims.into_iter().map(|(name, version)| (name.into(), version)).collect());
        }
    }

    /// As [`Self::mark`]: a client that has all route configurations that it asks for.
    fn host_mark(&self, request: &Request<'_>) -> Option<Mark> {
        let routes = self.watches[ResourceType::Route].as_ref()?;
        let is_usual = routes.lagging.is_empty() && self.hosts.first.is_empty() && request.names.is_empty();
        Some(self.mark(HOST, request).filter(|_| is_usual)?.of(&routes.names))
    }

    /// Whether a reconnecting client has a route configuration in another form. Were that replaced by one without
    /// virtual hosts, requests would fail until these arrive: such a client goes on with whole ones.
    pub(super) fn has_whole_routes(&self, t: ResourceType, request: &Request<'_>) -> bool {
        let (routes, hosts) = (&self.snapshot.views[ResourceType::Route], &self.snapshot.views[HOST]);
        let is_other = |(name, version): &(&str, &str)| {
            let current = routes.get(name).filter(|_| hosts.hosts_of(name).next().is_some());
            current.is_some_and(|config| Version::parse(version) != Some(config.version))
        };
        let first = t == ResourceType::Route && self.watches[t].is_none();
        first && request.versions.iter().any(is_other)
    }

    /// The client asks for route configurations, some of them again: it has dropped these meanwhile, or takes them for new,
    /// and has no virtual hosts of them.
    pub(super) fn routes_asked(&mut self, request: &Request<'_>) {
        let (Some(routes), Some(hosts)) = (&self.watches[ResourceType::Route], &self.watches[HOST]) else { return };
        let again = request.names.iter().filter(|name| routes.names.contains(name) && hosts.names.contains(name));
        let again: Vec<Name> = again.map(|name| Name::from(*name)).collect();
        again.iter().for_each(|config| self.drop_hosts(config));
    }

    /// The route configurations that cannot go to the client yet, because it may say that it has virtual hosts of them: of
    /// what it had before under this name. Were one sent, and the stream to end before its virtual hosts come, then nobody
    /// could tell these from those.
    pub(super) fn routes_held(&mut self, routes: &Watch, now: Instant) -> BTreeSet<Name> {
        let new = routes.lagging.iter().filter(|(_, lag)| lag.have.is_nothing() || lag.forced).map(|(name, _)| name);
        if let Some(hosts) = &self.watches[HOST] {
            let stale = hosts.lagging.iter().filter(|(name, lag)| !lag.have.is_nothing() && !hosts.subscribed(name));
            let stale: HashSet<&str> = stale.map(|(name, _)| host_name_parts(name).0).collect();
            return new.filter(|name| stale.contains(&***name)).cloned().collect();
        }
        let until = routes.created + TOLD_WITHIN;
        if !self.hosts.returned || until <= now {
            return BTreeSet::new();
        }
        let hosts = &self.snapshot.views[HOST];
        let held: BTreeSet<Name> = new.filter(|name| hosts.hosts_of(name).next().is_some()).cloned().collect();
        self.hosts.awaited_until = Some(until).filter(|_| !held.is_empty());
        held
    }

    /// Makes the virtual hosts that a client should have those of the route configurations that it asks for.
    pub(super) fn follow_routes(&mut self) {
        let Some(routes) = &self.watches[ResourceType::Route] else { return };
        let Some(hosts) = &self.watches[HOST] else {
            return self.hosts.first.retain(|config| routes.subscribed(config));
        };
        let dropped: Vec<Name> = hosts.names.iter().filter(|config| !routes.subscribed(config)).cloned().collect();
        dropped.iter().for_each(|config| self.drop_hosts(config));
        if let Some(claims) = self.hosts.claims.take() {
            self.take_claims(&claims.iter().map(|(name, version)| (&**name, *version)).collect());
        }
    }

    /// The client tells what it has, now that the route configurations are known that it has.
    fn take_claims(&mut self, claims: &Claims<'_>) {
        let Some(routes) = &self.watches[ResourceType::Route] else { return };
        let view = &self.snapshot.views[ResourceType::Route];
        let has =
            |config: &Name| routes.lagging.get(config).map_or(view.get(config).is_some(), |l| !l.have.is_nothing());
        let configs: Vec<Name> = routes.names.iter().filter(|config| has(config)).cloned().collect();
        let Some(mut watch) = self.watches[HOST].take() else { return };
        let claimed: BTreeSet<&str> = claims.keys().map(|name| host_name_parts(name).0).collect();
        let (mut right, mut owed, snapshot) = (0, Vec::new(), Arc::clone(&self.snapshot));
        for config in &configs {
            // One that was just sent to a client without it has no virtual hosts there, whatever is claimed.
            let is_claimed = claimed.contains(&**config) && !self.hosts.first.contains(config);
            let before = owed.len();
            for host in snapshot.views[HOST].hosts_of(config) {
                if is_claimed && claims.get(&*host.name) == Some(&Some(host.version)) {
                    right += 1;
                    self.note_has(HOST, &host.name, host.version);
                } else {
                    owed.push((Arc::clone(&host.name), Lag::default()));
                }
            }
            if !is_claimed && owed.len() > before {
                self.hosts.first.insert(Arc::clone(config));
            }
        }
        match watch.lagging.is_empty() {
            true => watch.lagging = self.openings.lagging(HOST, &snapshot.views[HOST], owed),
            false => owed.into_iter().for_each(|(name, lag)| _ = watch.lagging.entry(name).or_insert(lag)),
        }
        watch.names.add(configs);
        for (name, version) in claims.iter().filter(|_| right < claims.len()) {
            if watch.subscribed(name) && !self.hosts.first.contains(host_name_parts(name).0) {
                self.resume(HOST, &mut watch, name, *version);
            } else {
                // Of a route configuration that it had once: it does not have them any more, and would say so again.
                let claimed = Lag { have: Have::Unknown, ..Lag::default() };
                watch.lagging.entry((*name).into()).or_insert(claimed);
            }
        }
        self.watches[HOST] = Some(watch);
    }

    /// The client asks for a route configuration no longer, and forgets its virtual hosts but not their versions.
    fn drop_hosts(&mut self, config: &Name) {
        self.hosts.first.remove(config);
        let Some(watch) = &mut self.watches[HOST] else { return };
        for host in self.snapshot.views[HOST].hosts_of(config) {
            let have = Have::Resource(Arc::clone(host));
            watch.lagging.entry(Arc::clone(&host.name)).or_insert(Lag { have, ..Lag::default() });
        }
        watch.names.remove(&BTreeSet::from([Arc::clone(config)]));
        let is_of_it = |name: &Name| host_name_parts(name).0 == &**config;
        watch.lagging.retain(|name, lag| !is_of_it(name) || !lag.have.is_nothing());
        watch.lagging.iter_mut().filter(|(name, _)| is_of_it(name)).for_each(|(_, lag)| lag.forced = false);
        watch.suspects.iter_mut().for_each(|group| group.retain(|name| !is_of_it(name)));
        let refused: Vec<_> = watch.refused.extract_if(.., |name, _| is_of_it(name)).collect();
        self.withdraw(HOST, refused);
    }

    /// Route configurations are on their way: a client that did not have one has none of its virtual hosts, whatever
    /// versions it claims.
    pub(super) fn routes_sent(&mut self, items: &[Sent]) {
        for item in items.iter().filter(|i| i.resource.is_some() && (i.have.is_nothing() || i.forced)) {
            let mut hosts = self.snapshot.views[HOST].hosts_of(&item.name).peekable();
            if hosts.peek().is_none() {
                continue;
            }
            let Some(watch) = &mut self.watches[HOST] else {
                self.hosts.first.insert(Arc::clone(&item.name));
                continue;
            };
            let had = watch.names.contains(&item.name) && !item.have.is_nothing();
            watch.names.add([Arc::clone(&item.name)]);
            for host in hosts {
                let have = if had { Have::Resource(Arc::clone(host)) } else { Have::Nothing };
                watch.lagging.entry(Arc::clone(&host.name)).or_insert(Lag { have, ..Lag::default() }).forced = true;
            }
            self.hosts.first.insert(Arc::clone(&item.name));
        }
    }

    /// Virtual hosts are on their way.
    pub(super) fn hosts_sent(&mut self, items: &[Sent]) {
        if !self.hosts.first.is_empty() {
            items.iter().for_each(|i| _ = self.hosts.first.remove(host_name_parts(&i.name).0));
        }
    }

    /// Whether a virtual host that is gone stays: the route configuration is gone as a whole, or becomes another, and
    /// is in use until the client asks for it no longer, or has the other.
    pub(super) fn keeps_host(&self, watch: &Watch, name: &str) -> bool {
        let config = host_name_parts(name).0;
        if !watch.subscribed(name) {
            return false;
        }
        let routes = self.watches[ResourceType::Route].as_deref();
        let had = |w: &Watch| {
            let lag = w.lagging.get(config).map(|lag| &lag.have);
            lag.into_iter().chain(w.in_flight_as(config).map(|i| &i.have)).any(|have| matches!(have, Have::Unknown))
        };
        routes.is_some_and(had) || self.snapshot.views[ResourceType::Route].get(config).is_none()
    }

    /// The names that cannot go now because of others: what serves from its first virtual host on, and domains that move
    /// from one to another, wait until all of them can go.
    pub(super) fn held_together(&self, t: ResourceType, watch: &Watch) -> BTreeSet<Name> {
        if t != HOST || watch.fresh || !self.barriers.is_warming() {
            return BTreeSet::new();
        }
        let waits = |name: &Name| {
            let target = self.target(HOST, name).filter(|_| watch.subscribed(name));
            target.is_some_and(|r| watch.refused.get(name) != Some(&r.version) && self.barriers.holds(r))
        };
        let mut held: BTreeSet<Name> = watch.lagging.keys().filter(|name| waits(name)).cloned().collect();
        let of_first: BTreeSet<&str> =
            held.iter().map(|n| host_name_parts(n).0).filter(|config| self.hosts.first.contains(*config)).collect();
        let together = watch.lagging.keys().filter(|name| of_first.contains(host_name_parts(name).0));
        let together: Vec<Name> = together.cloned().collect();
        held.extend(together);
        let links: Vec<(Name, Name)> = watch
            .lagging
            .iter()
            .flat_map(|(name, lag)| self.rivals(name, lag).map(|r| (Arc::clone(name), r)))
            .collect();
        loop {
            let before = held.len();
            for (a, b) in &links {
                if watch.lagging.contains_key(b) && (held.contains(a) || held.contains(b)) {
                    held.extend([Arc::clone(a), Arc::clone(b)]);
                }
            }
            if held.len() == before {
                return held;
            }
        }
    }

    /// The virtual hosts that one shares domains with, now or as the client has it.
    fn rivals<'a>(&'a self, name: &str, lag: &'a Lag) -> impl Iterator<Item = Name> + 'a {
        let had = match &lag.have {
            Have::Resource(resource) => Some(resource),
            Have::Nothing | Have::Unknown => None,
        };
        self.target(HOST, name).into_iter().chain(had).flat_map(|r| r.refs.hosts.iter().cloned())
    }

    /// One that was refused may have been so because of a domain that an accepted one gave up.
    pub(super) fn retry_rivals(&mut self, accepted: &InFlight) {
        let Some(watch) = &self.watches[HOST] else { return };
        if watch.refused.is_empty() {
            return;
        }
        let of_item = |item: &Sent| -> Vec<Name> {
            let had = item.not_had(false);
            let given = item.resource.iter().flat_map(|r| r.refs.hosts.iter().cloned());
            given.chain(self.rivals(&item.name, &had)).collect()
        };
        let freed: BTreeSet<Name> = accepted.items.iter().flat_map(of_item).collect();
        let settled: BTreeSet<&Name> = accepted.items.iter().map(|i| &i.name).collect();
        let again = |name: &Name| {
            let lag = watch.lagging.get(name).cloned().unwrap_or_default();
            freed.contains(name) || self.rivals(name, &lag).any(|rival| settled.contains(&rival))
        };
        let again: BTreeSet<Name> = watch.refused.keys().filter(|name| again(name)).cloned().collect();
        let Some(watch) = &mut self.watches[HOST] else { return };
        again.iter().for_each(|name| watch.lagging.entry(Arc::clone(name)).or_default().forced = true);
        let withdrawn: Vec<_> = watch.refused.extract_if(.., |name, _| again.contains(name)).collect();
        self.withdraw(HOST, withdrawn);
    }
}

/// Leaves in a response with removals what is of one route configuration, unless it has nothing else; returns the rest. A
/// response that only removes is never refused, and one that removes nothing promises too little when it is.
pub(super) fn one_config(items: &mut Vec<Sent>) -> Vec<Sent> {
    let removal = items.iter().find(|i| i.resource.is_none()).map(|i| Name::from(host_name_parts(&i.name).0));
    match removal.filter(|_| items.iter().any(|i| i.resource.is_some())) {
        Some(config) => items.extract_if(.., |i| host_name_parts(&i.name).0 != &*config).collect(),
        None => Vec::new(),
    }
}

/// What a client has of the virtual hosts of a route configuration under the names that lag: under all others, it has what
/// the snapshot says. `None` if it does not discover them.
pub(super) fn lagging<'a>(watch: Option<&'a Watch>, config: &'a str) -> Option<impl Iterator<Item = &'a Have> + 'a> {
    let watch = watch.filter(|w| w.names.contains(config))?;
    Some(watch.lagging.iter().filter(move |(name, _)| host_name_parts(name).0 == config).map(|(_, lag)| &lag.have))
}

/// Whether a route configuration serves: the client has virtual hosts of it, if it discovers them.
pub(super) fn answered(watches: &Watches, snapshot: &Snapshot, config: &str) -> bool {
    let mut hosts = snapshot.views[HOST].hosts_of(config).peekable();
    if hosts.peek().is_none() {
        return true;
    }
    let Some(watch) = watches[HOST].as_ref().filter(|w| w.names.contains(config)) else { return false };
    let in_flight = watch.in_flight.iter().flat_map(|f| f.items.iter()).filter(|i| i.have.is_nothing());
    let awaited: HashSet<&Name> = in_flight.map(|i| &i.name).collect();
    let lags = |name: &Name| watch.lagging.get(name).is_some_and(|lag| lag.have.is_nothing());
    // The first ones come together.
    hosts.any(|host| !awaited.contains(&host.name) && !lags(&host.name))
}

/// Whether a reconnected client has told which virtual hosts it has, if it has any.
pub(super) fn told(watches: &Watches, snapshot: &Snapshot) -> bool {
    let Some(routes) = &watches[ResourceType::Route] else { return true };
    watches[HOST].is_some() || !routes.names.iter().any(|config| snapshot.views[HOST].hosts_of(config).next().is_some())
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
