//! Makes responses: what is on its way from then on, and what must follow it.

use std::{sync::Arc, time::Instant};

use super::{
    Response,
    batch::Batch,
    machine::Machine,
    subscription::{Have, InFlight, Lag, Lagging, Sent},
};
use crate::snapshot::{Name, Resource, ResourceType, Version};

impl Machine {
    /// Makes a response of items that lag no longer.
    pub(super) fn send(&mut self, t: ResourceType, items: Vec<Sent>, now: Instant) -> Response {
        let full = self.is_full_set(t);
        let removed: Vec<Name> =
            items.iter().filter(|i| i.resource.is_none() && !full).map(|i| Arc::clone(&i.name)).collect();
        let resources: Arc<[_]> = match full {
            // The items are no longer lagging: this is what the client will have.
            true => self.contents(t).into_values().collect(),
            false => items.iter().filter_map(|i| i.resource.clone()).collect(),
        };
        let version = version_of(&resources, &removed);
        Response { resource_type: t, nonce: self.note_sent(t, items.into(), now), version, resources, removed }
    }

    /// Makes the response that a batch is.
    pub(super) fn send_batch(&mut self, t: ResourceType, batch: &Batch, now: Instant) -> Response {
        if let Some(watch) = &mut self.watches[t] {
            watch.lagging = Lagging::default();
        }
        let (nonce, resources) = (self.note_sent(t, Arc::clone(&batch.items), now), Arc::clone(&batch.resources));
        Response { resource_type: t, nonce, version: batch.version, resources, removed: Vec::new() }
    }

    /// A response is on its way: its nonce.
    fn note_sent(&mut self, t: ResourceType, items: Arc<[Sent]>, now: Instant) -> String {
        self.seq += 1;
        self.order_dependants(t, &items, now);
        let (seq, nonce, full) = (self.seq, self.nonce(self.seq), self.is_full_set(t));
        if let Some(watch) = &mut self.watches[t] {
            watch.answer_due = false;
            (watch.fresh, watch.resumes) = (false, false);
            watch.status.nonce_sent.clone_from(&nonce);
            watch.status.last_sent = Some(now);
            let conclusive = !full || watch.in_flight.is_empty();
            watch.await_answer(InFlight { first: seq, seq, items, conclusive }, self.settings.unanswered);
        }
        nonce
    }

    /// Makes what depends on a response follow it or wait for it.
    fn order_dependants(&mut self, t: ResourceType, items: &Arc<[Sent]>, now: Instant) {
        let (seq, fresh) = (self.seq, self.watches[t].as_ref().is_some_and(|w| w.fresh));
        match t {
            ResourceType::Cluster => {
                self.barriers.clusters_sent(items, seq, fresh, now);
                self.void_endpoints(items);
            }
            ResourceType::Listener => self.barriers.listeners_sent(items, &self.watches, &self.snapshot),
            ResourceType::Route => self.routes_sent(items),
            ResourceType::VirtualHost => self.hosts_sent(items),
            _ => {}
        }
    }

    /// A cluster that was sent warms until its assignment is sent after it, even if that did not change
    /// (envoy-increments §4).
    fn void_endpoints(&mut self, clusters: &Arc<[Sent]>) {
        let view = &self.snapshot.views[ResourceType::Endpoint];
        let Some(watch) = &mut self.watches[ResourceType::Endpoint] else { return self.barriers.void.add(clusters) };
        for name in clusters.iter().filter_map(|i| i.resource.as_ref()?.refs.endpoints.clone()) {
            if watch.subscribed(&name) {
                let have = Have::of(view.get(&name));
                watch.lagging.entry(name).or_insert(Lag { have, ..Lag::default() }).forced = true;
            }
        }
    }
}

/// Two responses of a type have the same version exactly when they say the same.
pub(super) fn version_of(resources: &[Arc<Resource>], removed: &[Name]) -> Version {
    let mut bytes = Vec::with_capacity(resources.len() * 96);
    let mut put = |name: &Name, version: Version| {
        bytes.extend_from_slice(&name.len().to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&version.0.to_be_bytes());
    };
    resources.iter().for_each(|r| put(&r.name, r.version));
    removed.iter().for_each(|n| put(n, Version::default()));
    Version::of(&bytes)
}
