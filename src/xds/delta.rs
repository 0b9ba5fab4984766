//! Delta ADS: how a request changes a stream's state (contract §2.5).

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashSet};

use super::{
    Request,
    acknowledge::Nonce,
    barriers::Void,
    machine::{Machine, Received},
    resumptions::Mark,
    subscription::{Have, Lag, Watch},
};
use crate::snapshot::{Name, Resource, ResourceType, Version, View};

const WILDCARD: &str = "*";

/// Names of a request. Their hashes differ from process to process, as whoever sends them may be hostile.
type Names<'a> = HashSet<&'a str, RandomState>;

/// What a client says it has, by name. `None` is a version that is none of ours.
pub(super) type Claims<'a> = HashMap<&'a str, Option<Version>, RandomState>;

/// A lookup costs as much as a walk past this many resources.
const WALK: usize = 8;

impl Machine {
    /// Takes a delta request of a type that is served.
    ///
    /// An acknowledgement of an unknown nonce is ignored, but not the names beside it: unlike in
    /// state-of-the-world they are changes, which would be lost.
    pub(super) fn delta_request(&mut self, t: ResourceType, request: &Request<'_>, now: Instant) -> Received {
        let received = self.delta_nonce(t, request);
        self.hosts.returned |= self.watches[t].is_none() && !request.versions.is_empty();
        if t == ResourceType::Route {
            self.routes_asked(request);
        }
        match self.watches[t] {
            None if t == ResourceType::VirtualHost => self.watch_hosts(request, now),
            // Envoy names virtual hosts only to ask for them on demand, which is not served.
            Some(_) if t == ResourceType::VirtualHost => {}
            None => self.subscribe_first(t, request, now),
            Some(_) => self.change_subscription(t, request),
        }
        if t == ResourceType::Route {
            self.follow_routes();
        }
        received
    }

    fn delta_nonce(&mut self, t: ResourceType, request: &Request<'_>) -> Received {
        // The first request of a type on a stream is a subscription, whatever nonce it carries.
        if request.nonce.is_empty() || self.watches[t].is_none() {
            return Received::Subscription;
        }
        let refused = request.refused.as_deref();
        match self.acknowledge(t, request.nonce, refused) {
            Nonce::Unknown => Received::Stale,
            _ if refused.is_some() => Received::Nack,
            _ => Received::Ack,
        }
    }

    fn subscribe_first(&mut self, t: ResourceType, request: &Request<'_>, now: Instant) {
        let mut watch = Watch::new(now, &self.names);
        let everything = request.names.contains(&WILDCARD) || request.names.is_empty() && t.is_wildcard();
        watch.wildcard = everything && t != ResourceType::Secret;
        // From now on, clusters that are sent make their assignments lag.
        let void = if t == ResourceType::Endpoint { std::mem::take(&mut self.barriers.void) } else { Void::default() };
        let mark = if void.is_empty() { self.mark(t, request) } else { None };
        if let Some(names) = mark.and_then(|mark| self.resumptions.recall(t, &self.snapshot, mark)) {
            self.watches[t] = Some(Box::new(Watch { names, fresh: false, ..watch }));
            return;
        }
        self.take_request(t, request, &void, &mut watch);
        if let Some(mark) = mark.filter(|_| watch.lagging.is_empty()) {
            self.resumptions.keep(t, &self.snapshot, mark, &watch.names);
        }
        self.watches[t] = Some(Box::new(watch));
    }

    /// What a client asks for first, and what of it it has, compared with the snapshot.
    fn take_request(&mut self, t: ResourceType, request: &Request<'_>, void: &Void, watch: &mut Watch) {
        let subscribe = &request.names;
        let claims = claims(&request.versions);
        // A client that has nothing waits for its first answer even when there is nothing. One that has something
        // has been answered before, and waits for nothing (envoy-increments §4).
        watch.answer_due = watch.wildcard && claims.is_empty();
        watch.fresh = claims.is_empty();
        let void: Names<'_> = void.names().filter(|_| !claims.is_empty()).map(|name| &**name).collect();
        // Most of what a reconnecting client claims is right. It is found in one walk and costs no entry of its own.
        let snapshot = Arc::clone(&self.snapshot);
        let view = &snapshot.views[t];
        let mut right = 0;
        let mut is_right = |machine: &mut Self, resource: &Arc<Resource>| {
            let is_right =
                claims.get(&*resource.name) == Some(&Some(resource.version)) && !void.contains(&*resource.name);
            if is_right {
                right += 1;
                machine.note_has(t, &resource.name, resource.version);
            }
            is_right
        };
        let mut lagging = Vec::new();
        if watch.wildcard {
            view.for_each(|r| {
                if !is_right(self, r) {
                    lagging.push((Arc::clone(&r.name), Lag::default()));
                }
            });
        }
        // What a wildcard client has it need not have asked for by name.
        let known = claims.keys().filter(|_| !watch.wildcard);
        let mut asked = names(subscribe.iter().chain(known));
        request.unsubscribed.iter().for_each(|n| _ = asked.remove(n));
        let mut asked_for = Vec::with_capacity(asked.len());
        each(view, asked, |name, resource| {
            if watch.wildcard || !resource.is_some_and(|r| is_right(self, r)) {
                lagging.push((Arc::clone(&name), Lag { forced: true, ..Lag::default() }));
            }
            asked_for.push(name);
        });
        // Of equal names the last one counts: it was asked for.
        watch.lagging = match watch.fresh {
            true => self.openings.lagging(t, view, lagging),
            false => lagging.into_iter().collect(),
        };
        watch.names.add(asked_for);
        if right < claims.len() {
            let counts = claims.iter().filter(|(name, _)| !void.contains(*name));
            counts.for_each(|(name, version)| self.resume(t, watch, name, *version));
        }
    }

    /// What a request is known again by: nothing while it matters to others who has what.
    pub(super) fn mark(&self, t: ResourceType, request: &Request<'_>) -> Option<Mark> {
        if self.last_good.is_empty() { self.resumptions.mark(t, request) } else { None }
    }

    /// The client says that it has a resource from an earlier stream.
    pub(super) fn resume(&mut self, t: ResourceType, watch: &mut Watch, name: &str, has: Option<Version>) {
        if name.is_empty() || !watch.subscribed(name) {
            return;
        }
        // Whether it may have a secret is asked when there is something to send.
        let current = self.snapshot.views[t].get(name).cloned();
        let stand_in = current.as_ref().and_then(|r| self.last_good.stand_in(t, r));
        let have = match (current, stand_in) {
            (Some(r), _) if has == Some(r.version) => {
                watch.lagging.remove(name);
                return self.note_has(t, &r.name, r.version);
            }
            (_, Some(good)) if has == Some(good.version) => Have::of(Some(good)),
            _ => Have::Unknown,
        };
        watch.lagging.insert(self.intern(t, name), Lag { have, ..Lag::default() });
    }

    fn change_subscription(&mut self, t: ResourceType, request: &Request<'_>) {
        if request.names.is_empty() && request.unsubscribed.is_empty() {
            return;
        }
        self.unsubscribe(t, &request.unsubscribed);
        let everything = request.names.contains(&WILDCARD) && t != ResourceType::Secret;
        let view = &self.snapshot.views[t];
        let Some(watch) = &mut self.watches[t] else { return };
        if everything && !watch.wildcard {
            watch.wildcard = true;
            watch.answer_due = true;
            let known: BTreeSet<Name> =
                watch.names.iter().filter(|n| !watch.lagging.contains_key(*n)).cloned().collect();
            watch.ask_all(view);
            watch.lagging.retain(|n, _| !known.contains(n));
        }
        // Names that it has already are sent again: the client may have dropped them meanwhile.
        let mut asked_for = Vec::new();
        each(view, names(request.names.iter()), |name, resource| {
            let have = Have::of(resource.filter(|_| watch.subscribed(&name)));
            watch.lagging.entry(Arc::clone(&name)).or_insert(Lag { have, ..Lag::default() }).forced = true;
            asked_for.push(name);
        });
        watch.names.add(asked_for);
    }

    fn unsubscribe(&mut self, t: ResourceType, names: &[&str]) {
        let Some(watch) = &mut self.watches[t] else { return };
        let gone: BTreeSet<Name> = names.iter().map(|n| Name::from(*n)).collect();
        let had: Vec<Name> = gone.iter().filter(|n| watch.names.contains(n)).map(Arc::clone).collect();
        watch.names.remove(&gone);
        if gone.contains(WILDCARD) {
            watch.wildcard = false;
        }
        if watch.wildcard {
            // It stays in the wildcard's set; the client waits to be told what it is now.
            had.into_iter().for_each(|n| watch.ask(n));
        }
        self.forget_unsubscribed(t);
    }
}

/// The names of resources among those of a request.
fn names<'a>(all: impl Iterator<Item = &'a &'a str>) -> Names<'a> {
    all.copied().filter(|n| *n != WILDCARD && !n.is_empty()).collect()
}

/// What a client says it has.
pub(super) fn claims<'a>(versions: &[(&'a str, &str)]) -> Claims<'a> {
    versions.iter().map(|(name, version)| (*name, Version::parse(version))).collect()
}

/// Calls `visit` with each name, as it is shared, and its resource. When there are many, one walk through the view costs
/// less than to look up each.
fn each(view: &View, mut asked: Names<'_>, mut visit: impl FnMut(Name, Option<&Arc<Resource>>)) {
    if asked.len() >= view.entries() / WALK {
        view.for_each(|r| {
            if asked.remove(&*r.name) {
                visit(Arc::clone(&r.name), Some(r));
            }
        });
    }
    for name in asked {
        let resource = view.get(name);
        visit(resource.map_or_else(|| name.into(), |r| Arc::clone(&r.name)), resource);
    }
}

#[cfg(test)]
mod tests;
