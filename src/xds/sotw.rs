//! State-of-the-world ADS: how a request changes a stream's state (contract §2.4).

use std::{collections::BTreeSet, time::Instant};

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

use super::{
    acknowledge::Nonce,
    machine::{Machine, Received},
    subscription::Watch,
};
use crate::snapshot::{Name, ResourceType};

impl Machine {
    /// Takes a state-of-the-world request of a type that is served.
    pub fn sotw_request(&mut self, t: ResourceType, request: &DiscoveryRequest, now: Instant) -> Received {
        if t == ResourceType::VirtualHost {
            // Envoy discovers virtual hosts over incremental streams only.
            return Received::Subscription;
        }
        let refused = request.error_detail.as_ref().map(|e| e.message.as_str());
        let known = self.watches[t].is_some();
        let nonce = match (known, refused) {
            (true, _) if !request.response_nonce.is_empty() => self.acknowledge(t, &request.response_nonce, refused),
            // A refusal that refers to nothing this stream sent.
            (_, Some(_)) => return Received::Stale,
            // A client that asks for nothing, or no longer for anything.
            _ if request.resource_names.is_empty() && !t.is_wildcard() => {
                self.drop_watch(t);
                return Received::Subscription;
            }
            _ => {
                self.watch_anew(t, request, now);
                return Received::Subscription;
            }
        };
        match nonce {
            Nonce::Unknown => return Received::Stale,
            // Names beside an old nonce may be outdated.
            Nonce::Older => {}
            Nonce::Newest | Nonce::Repeated => self.set_names(t, &request.resource_names),
        }
        if refused.is_some() { Received::Nack } else { Received::Ack }
    }

    fn watch_anew(&mut self, t: ResourceType, request: &DiscoveryRequest, now: Instant) {
        self.drop_watch(t);
        let mut watch = Watch::new(now);
        watch.wildcard = t.is_wildcard();
        watch.answer_due = true;
        if watch.wildcard {
            watch.ask_all(&self.snapshot.views[t]);
        } else {
            let names = request.resource_names.iter().filter(|n| !n.is_empty());
            let names = watch.names.add(names.map(|n| self.intern(t, n)));
            names.into_iter().for_each(|n| watch.ask(n));
        }
        self.watches[t] = Some(watch);
    }

    /// Takes the full list of names. Only the new ones are answered.
    fn set_names(&mut self, t: ResourceType, names: &[String]) {
        if t.is_wildcard() {
            return;
        }
        if names.is_empty() {
            return self.drop_watch(t);
        }
        let wanted: BTreeSet<Name> = names.iter().filter(|n| !n.is_empty()).map(|n| self.intern(t, n)).collect();
        let Some(watch) = &mut self.watches[t] else { return };
        let gone = watch.names.iter().filter(|n| !wanted.contains(*n)).cloned().collect();
        watch.names.remove(&gone);
        let added = watch.names.add(wanted);
        watch.answer_due |= !added.is_empty();
        added.into_iter().for_each(|n| watch.ask(n));
        self.forget_unsubscribed(t);
    }
}

#[cfg(test)]
mod tests;
