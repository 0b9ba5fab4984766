//! From sources to the engine.

use std::{sync::Arc, time::Instant};

use super::feedback::ChangeTimes;
use crate::{
    api::Kind,
    engine::Engine,
    reconcilers::intake::Reconcilers,
    sources::{Delivery, Intake},
    telemetry::metrics::{KindEvent, Metrics, Type},
};

/// Converts what is delivered and changes the engine's inputs.
pub(super) struct ToEngine {
    pub(super) reconcilers: Arc<Reconcilers>,
    pub(super) engine: Engine,
    pub(super) metrics: Arc<Metrics>,
    pub(super) times: Arc<ChangeTimes>,
}

impl Intake for ToEngine {
    fn deliver(&self, delivery: Delivery) {
        let delivered = Instant::now();
        let (kind, event, changes) = match &delivery {
            Delivery::Apply(object) => (Some(object.kind()), "update", self.reconcilers.apply(object)),
            Delivery::Delete(object) => (kind_of(object.kind), "delete", self.reconcilers.delete(object)),
            Delivery::Reset { kind, live, kept } => (Some(*kind), "reset", self.reconcilers.reset(*kind, live, kept)),
            // Taken care of before they get here.
            Delivery::Problem(_) | Delivery::ProblemGone(_) => return,
        };
        let Some(kind) = kind else { return };
        self.count(kind, event);
        let (metrics, times) = (self.metrics.clone(), self.times.clone());
        self.engine.change(move |db| {
            if changes.take_effect(db) {
                times.taken(delivered);
                count_change(&metrics, kind, event);
            }
        });
    }
}

impl ToEngine {
    fn count(&self, kind: Kind, event: &str) {
        let label = KindEvent { r#type: kind.kind().into(), event: event.into() };
        let family = if kind.is_custom() { &self.metrics.config_events } else { &self.metrics.registry_events };
        family.get_or_create(&label).inc();
    }
}

fn kind_of(name: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|kind| kind.kind() == name)
}

/// Counts a change that made a difference, under the reasons and types of contract §2.6 and §8.
fn count_change(metrics: &Metrics, kind: Kind, event: &str) {
    let (trigger, update) = match kind {
        Kind::EndpointSlice | Kind::Pod | Kind::WorkloadEntry => ("endpoint", Some("eds")),
        Kind::Service | Kind::ServiceEntry if event == "delete" => ("service", Some("svcdelete")),
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
