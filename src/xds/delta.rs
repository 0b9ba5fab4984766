//! Delta ADS: how a request changes a stream's state (contract §2.5).

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::{
    acknowledge::Nonce,
    machine::{Machine, Received},
    subscription::{Have, Lag, NameSet, Watch},
};
use crate::snapshot::{Name, Resource, ResourceType, Version, View};

const WILDCARD: &str = "*";

/// A lookup costs as much as a walk past this many resources.
const WALK: usize = 8;

impl Machine {
    /// Takes a delta request of a type that is served.
    ///
    /// An acknowledgement of an unknown nonce is ignored, but not the names beside it: unlike in
    /// state-of-the-world they are changes, which would be lost.
    pub fn delta_request(&mut self, t: ResourceType, request: &DeltaDiscoveryRequest, now: Instant) -> Received {
        let received = self.delta_nonce(t, request);
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

    fn delta_nonce(&mut self, t: ResourceType, request: &DeltaDiscoveryRequest) -> Received {
        // The first request of a type on a stream is a subscription, whatever nonce it carries.
        if request.response_nonce.is_empty() || self.watches[t].is_none() {
            return Received::Subscription;
        }
        let refused = request.error_detail.as_ref().map(|e| e.message.as_str());
        match self.acknowledge(t, &request.response_nonce, refused) {
            Nonce::Unknown => Received::Stale,
            _ if refused.is_some() => Received::Nack,
            _ => Received::Ack,
        }
    }

    fn subscribe_first(&mut self, t: ResourceType, request: &DeltaDiscoveryRequest, now: Instant) {
        let subscribe = &request.resource_names_subscribe;
        let versions = &request.initial_resource_versions;
        let mut watch = Watch::new(now);
        let everything = subscribe.iter().any(|n| n == WILDCARD) || subscribe.is_empty() && t.is_wildcard();
        watch.wildcard = everything && t != ResourceType::Secret;
        // A client that has nothing waits for its first answer even when there is nothing. One that has something
        // has been answered before, and waits for nothing (envoy-increments §4).
        watch.answer_due = watch.wildcard && versions.is_empty();
        watch.fresh = versions.is_empty();
        // Most of what a reconnecting client claims is right. It is found in one walk and costs no entry of its own.
        let snapshot = Arc::clone(&self.snapshot);
        let view = &snapshot.views[t];
        let mut right = 0;
        let mut is_right = |machine: &mut Self, resource: &Arc<Resource>| {
            let claimed = versions.get(&*resource.name).and_then(|v| Version::parse(v));
            let is_right = claimed == Some(resource.version) && !machine.is_void(t, &resource.name);
            if is_right {
                right += 1;
                machine.note_has(t, &resource.name, resource.version);
            }
            is_right
        };
        if watch.wildcard {
            view.for_each(|r| {
                if !is_right(self, r) {
                    watch.lagging.entry(Arc::clone(&r.name)).or_default();
                }
            });
        }
        // What a wildcard client has it need not have asked for by name.
        let known = versions.keys().filter(|_| !watch.wildcard);
        let mut asked = names(subscribe.iter().chain(known));
        request.resource_names_unsubscribe.iter().for_each(|n| _ = asked.remove(n.as_str()));
        let mut asked_for = Vec::with_capacity(asked.len());
        each(view, asked, |name, resource| {
            if watch.wildcard || !resource.is_some_and(|r| is_right(self, r)) {
                watch.ask(Arc::clone(&name));
            }
            asked_for.push(name);
        });
        watch.names = NameSet::of(asked_for);
        if right < versions.len() {
            for (name, version) in versions {
                self.resume(t, &mut watch, name, version);
            }
        }
        self.watches[t] = Some(watch);
    }

    /// Whether what the client has under a name counts for nothing, whatever version it claims.
    fn is_void(&self, t: ResourceType, name: &str) -> bool {
        t == ResourceType::Endpoint && self.barriers.is_void(name)
    }

    /// The client says that it has a resource from an earlier stream.
    pub(super) fn resume(&mut self, t: ResourceType, watch: &mut Watch, name: &str, version: &str) {
        if name.is_empty() || !watch.subscribed(name) || self.is_void(t, name) {
            return;
        }
        // Whether it may have a secret is asked when there is something to send.
        let (has, current) = (Version::parse(version), self.snapshot.views[t].get(name).cloned());
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

    fn change_subscription(&mut self, t: ResourceType, request: &DeltaDiscoveryRequest) {
        if request.resource_names_subscribe.is_empty() && request.resource_names_unsubscribe.is_empty() {
            return;
        }
        self.unsubscribe(t, &request.resource_names_unsubscribe);
        let everything = request.resource_names_subscribe.iter().any(|n| n == WILDCARD) && t != ResourceType::Secret;
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
        each(view, names(request.resource_names_subscribe.iter()), |name, resource| {
            let have = Have::of(resource.filter(|_| watch.subscribed(&name)));
            watch.lagging.entry(Arc::clone(&name)).or_insert(Lag { have, ..Lag::default() }).forced = true;
            asked_for.push(name);
        });
        if watch.names.len() == 0 {
            watch.names = NameSet::of(asked_for);
        } else {
            watch.names.add(asked_for);
        }
    }

    fn unsubscribe(&mut self, t: ResourceType, names: &[String]) {
        let Some(watch) = &mut self.watches[t] else { return };
        let gone: BTreeSet<Name> = names.iter().map(|n| Name::from(n.as_str())).collect();
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
fn names<'a>(all: impl Iterator<Item = &'a String>) -> HashSet<&'a str> {
    all.map(String::as_str).filter(|n| *n != WILDCARD && !n.is_empty()).collect()
}

/// Calls `visit` with each name, as it is shared, and its resource. When there are many, one walk through the view costs
/// less than to look up each.
fn each(view: &View, mut asked: HashSet<&str>, mut visit: impl FnMut(Name, Option<&Arc<Resource>>)) {
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
