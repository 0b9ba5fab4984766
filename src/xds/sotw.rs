//! State-of-the-world ADS: how a request changes a stream's state (contract §2.4).

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{
    Request,
    acknowledge::Nonce,
    barriers::Void,
    machine::{Machine, Received},
    subscription::Watch,
};
use crate::snapshot::{Name, ResourceType};

impl Machine {
    /// Takes a state-of-the-world request of a type that is served.
    pub(super) fn sotw_request(&mut self, t: ResourceType, request: &Request<'_>, now: Instant) -> Received {
        if t == ResourceType::VirtualHost {
            // Envoy discovers virtual hosts over incremental streams only.
            return Received::Subscription;
        }
        let refused = request.refused.as_deref();
        let known = self.watches[t].is_some();
        let nonce = match (known, refused) {
            (true, _) if !request.nonce.is_empty() => self.acknowledge(t, request.nonce, refused),
            // A refusal that refers to nothing this stream sent.
            (_, Some(_)) => return Received::Stale,
            // A client that asks for nothing, or no longer for anything.
            _ if request.names.is_empty() && !t.is_wildcard() => {
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
            Nonce::Newest | Nonce::Repeated => self.set_names(t, &request.names),
        }
        if refused.is_some() { Received::Nack } else { Received::Ack }
    }

    fn watch_anew(&mut self, t: ResourceType, request: &Request<'_>, now: Instant) {
        self.drop_watch(t);
        if t == ResourceType::Endpoint {
            self.barriers.void = Void::default();
        }
        let mut watch = Watch::new(now, &self.names);
        watch.wildcard = t.is_wildcard();
        watch.answer_due = true;
        watch.resumes = !request.version.is_empty();
        watch.fresh = !watch.resumes;
        if watch.wildcard {
            watch.ask_all(&self.snapshot.views[t]);
        } else {
            let names = request.names.iter().filter(|n| !n.is_empty());
            let names = watch.names.add(names.map(|n| self.intern(t, n)));
            names.iter().for_each(|n| watch.ask(Arc::clone(n)));
        }
        self.watches[t] = Some(Box::new(watch));
    }

    /// Whether the first answer to a client that resumes has to wait. A full set takes from it what it does not hold, and
    /// nobody knows what the client has and uses.
    ///
    /// Clusters go last when none is new to the client, which tells by the endpoints that it asks for, and some are gone:
    /// its routes must have let go of them. Listeners and routes wait until all that they lead to is there.
    pub(super) fn must_resume_later(&self, t: ResourceType, now: Instant) -> bool {
        let Some(watch) = self.watches[t].as_ref().filter(|w| w.resumes) else { return false };
        match t {
            ResourceType::Cluster => {
                now < watch.created + self.settings.barrier_timeout && self.clusters_go_last().unwrap_or(true)
            }
            ResourceType::Listener => {
                let mut held = false;
                self.snapshot.views[t].for_each(|r| held |= self.barriers.holds(r));
                held
            }
            ResourceType::Route => {
                let view = &self.snapshot.views[t];
                watch.names.iter().filter_map(|name| view.get(name)).any(|r| self.barriers.holds(r))
            }
            _ => false,
        }
    }

    /// Until when clusters wait for what a client that resumes has yet to say or to take.
    pub(super) fn resuming_until(&self) -> Option<Instant> {
        let watch = self.watches[ResourceType::Cluster].as_ref().filter(|w| w.resumes)?;
        Some(watch.created + self.settings.barrier_timeout)
    }

    /// `None` before it is known.
    fn clusters_go_last(&self) -> Option<bool> {
        let listeners = self.watches[ResourceType::Listener].as_ref()?;
        let Some(endpoints) = &self.watches[ResourceType::Endpoint] else { return Some(false) };
        let (clusters, assignments) =
            (&self.snapshot.views[ResourceType::Cluster], &self.snapshot.views[ResourceType::Endpoint]);
        let mut has_all = true;
        clusters.for_each(|c| has_all &= c.refs.endpoints.as_ref().is_none_or(|e| endpoints.names.contains(e)));
        let some_are_gone = endpoints.names.iter().any(|name| assignments.get(name).is_none());
        let let_go = listeners.at_rest() && self.watches[ResourceType::Route].as_deref().is_none_or(Watch::at_rest);
        Some(has_all && some_are_gone && !let_go)
    }

    /// Takes the full list of names. Only the new ones are answered.
    fn set_names(&mut self, t: ResourceType, names: &[&str]) {
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
        added.iter().for_each(|n| watch.ask(Arc::clone(n)));
        self.forget_unsubscribed(t);
    }
}

#[cfg(test)]
mod tests;
