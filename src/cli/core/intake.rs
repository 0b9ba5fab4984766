//! From sources to the engine.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use super::feedback::ChangeTimes;
use crate::{
    api::Kind,
    engine::Engine,
    model::ObjectRef,
    reconcilers::intake::{Changes, Reconcilers, object_ref},
    sources::{Delivery, Intake, SourceProblem},
    status::identities::{self, Event, Identities, Identity},
    telemetry::metrics::{KindEvent, Metrics, Type},
};

/// Converts what is delivered and changes the engine's inputs.
pub(super) struct ToEngine {
    pub(super) reconcilers: Arc<Reconcilers>,
    pub(super) engine: Engine,
    pub(super) metrics: Arc<Metrics>,
    pub(super) times: Arc<ChangeTimes>,
    /// Which versions of objects are read, for their status; `None` without a cluster.
    pub(super) identities: Option<Arc<Identities>>,
    /// Becomes true with the first full list of ConfigMaps: what is told of the mesh is known then.
    pub(super) mesh_read: watch::Sender<bool>,
}

/// A delivery as changes of inputs.
struct Converted {
    kind: Kind,
    /// It is a full list.
    is_reset: bool,
    changes: Changes,
}

impl Intake for ToEngine {
    fn deliver(&self, delivery: Delivery) {
        self.deliver_all(vec![delivery]);
    }

    fn deliver_all(&self, deliveries: Vec<Delivery>) {
        let delivered = Instant::now();
        let all: Vec<_> = deliveries.iter().filter_map(|delivery| self.convert(delivery)).collect();
        let identities = self.identities.clone();
        let seen: Vec<Event> = match &identities {
            Some(_) => deliveries.iter().filter_map(event).collect(),
            None => Vec::new(),
        };
        if all.is_empty() && seen.is_empty() {
            return;
        }
        let reads_mesh = all.iter().any(|c| c.is_reset && c.kind == Kind::ConfigMap);
        let (metrics, times) = (self.metrics.clone(), self.times.clone());
        self.engine.change(move |db| {
            if let Some(identities) = identities {
                seen.into_iter().for_each(|event| identities.take(event));
            }
            for Converted { kind, changes, .. } in all {
                let deleted = changes.deleted > 0;
                if changes.take_effect(db) {
                    times.taken(delivered);
                    count_change(&metrics, kind, deleted);
                }
            }
        });
        if reads_mesh {
            self.mesh_read.send_replace(true);
        }
    }
}

impl ToEngine {
    fn convert(&self, delivery: &Delivery) -> Option<Converted> {
        // How many of what is delivered may be updates.
        let (kind, objects, changes) = match delivery {
            Delivery::Apply(object) => (object.kind(), 1, self.reconcilers.apply(object)),
            Delivery::Delete(object) => (kind_of(object.kind)?, 0, self.reconcilers.delete(object)),
            // A full list tells of what is new or gone; most of the others are as they were.
            Delivery::Reset { kind, live, kept } => (*kind, 0, self.reconcilers.reset(*kind, live, kept)),
            // What was known of it stays.
            Delivery::Unreadable { .. } | Delivery::Problem(_) | Delivery::ProblemGone(_) => return None,
        };
        let (added, deleted) = (changes.added, changes.deleted);
        for (event, count) in [("add", added), ("update", u64::saturating_sub(objects, added)), ("delete", deleted)] {
            self.count(kind, event, count);
        }
        let is_reset = matches!(delivery, Delivery::Reset { .. });
        Some(Converted { kind, is_reset, changes })
    }

    fn count(&self, kind: Kind, event: &str, count: u64) {
        if count == 0 {
            return;
        }
        let label = KindEvent { r#type: kind.kind().into(), event: event.into() };
        let family = if kind.is_custom() { &self.metrics.config_events } else { &self.metrics.registry_events };
        family.get_or_create(&label).inc_by(count);
    }
}

/// What a delivery says of the versions of objects that have conditions.
fn event(delivery: &Delivery) -> Option<Event> {
    match delivery {
        Delivery::Apply(object) => Some(Event::Seen(object_ref(object), Identity::of(object)?)),
        Delivery::Delete(object) => Some(Event::Gone(object.clone())),
        Delivery::Reset { kind, live, kept } => {
            let known = live.iter().filter_map(|object| Some((object_ref(object), Identity::of(object)?)));
            kind.is_custom().then(|| Event::Reset(*kind, known.collect(), kept.clone()))
        }
        Delivery::Unreadable { object, uid, generation } => {
            let identity = Identity { uid: uid.clone(), generation: *generation, is_read: false };
            has_conditions(object).then(|| Event::Seen(object.clone(), identity))
        }
        Delivery::Problem(SourceProblem { key, .. }) | Delivery::ProblemGone(key) => {
            key.object.clone().filter(has_conditions).map(Event::Touched)
        }
    }
}

fn has_conditions(object: &ObjectRef) -> bool {
    identities::kind_of(object.kind).is_some()
}

fn kind_of(name: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|kind| kind.kind() == name)
}

/// Counts a change that made a difference, under the reasons and types of contract §2.6 and §8.
fn count_change(metrics: &Metrics, kind: Kind, deleted: bool) {
    let (trigger, update) = match kind {
        Kind::EndpointSlice | Kind::Pod | Kind::WorkloadEntry => ("endpoint", Some("eds")),
        Kind::Service | Kind::ServiceEntry if deleted => ("service", Some("svcdelete")),
        Kind::Service | Kind::ServiceEntry => ("service", Some("svc")),
        Kind::Secret => ("secret", None),
        Kind::ConfigMap => ("global", None),
        Kind::Namespace => ("namespace", None),
        Kind::Node => ("proxy", None),
        _ => ("config", Some("config")),
    };
    metrics.push_triggers.get_or_create(&Type::new(trigger)).inc();
    if let Some(update) = update {
        metrics.inbound_updates.get_or_create(&Type::new(update)).inc();
    }
}
