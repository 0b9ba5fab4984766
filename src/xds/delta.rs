//! Delta ADS: how a request changes a stream's state (contract §2.5).

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::{
    acknowledge::Nonce,
    machine::{Machine, Received},
    subscription::{Have, Lag, Watch},
};
use crate::snapshot::{Name, ResourceType, Version};

const WILDCARD: &str = "*";

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
        // What a wildcard client has it need not have asked for by name.
        let known = versions.keys().filter(|_| !watch.wildcard);
        let asked = subscribe.iter().chain(known).filter(|n| *n != WILDCARD && !n.is_empty());
        let left = |n: &&String| !request.resource_names_unsubscribe.contains(n);
        let names = watch.names.add(asked.filter(left).map(|n| self.intern(t, n)));
        if watch.wildcard {
            watch.ask_all(&self.snapshot.views[t]);
        }
        names.into_iter().for_each(|n| watch.ask(n));
        for (name, version) in versions {
            self.resume(t, &mut watch, name, version);
        }
        self.watches[t] = Some(watch);
    }

    /// The client says that it has a resource from an earlier stream.
    pub(super) fn resume(&mut self, t: ResourceType, watch: &mut Watch, name: &str, version: &str) {
        let void = t == ResourceType::Endpoint && self.barriers.is_void(name);
        if name.is_empty() || !watch.subscribed(name) || void {
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
        let names: Vec<Name> = request
            .resource_names_subscribe
            .iter()
            .filter(|n| *n != WILDCARD && !n.is_empty())
            .map(|n| self.intern(t, n))
            .collect();
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
        watch.names.add(names.iter().cloned());
        for name in names {
            let have = Have::of(view.get(&name));
            let lag = watch.lagging.entry(name).or_insert(Lag { have, ..Lag::default() });
            lag.forced = true;
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

#[cfg(test)]
mod tests;
