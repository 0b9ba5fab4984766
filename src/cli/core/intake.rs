//! From sources to the engine.

use std::sync::Arc;

use crate::{
    engine::Engine,
    reconcilers::intake::Reconcilers,
    sources::{Delivery, Intake},
    telemetry::metrics::{KindEvent, Metrics},
};

/// Converts what is delivered and changes the engine's inputs.
pub(super) struct ToEngine {
    pub(super) reconcilers: Arc<Reconcilers>,
    pub(super) engine: Engine,
    pub(super) metrics: Arc<Metrics>,
}

impl Intake for ToEngine {
    fn deliver(&self, delivery: Delivery) {
        let changes = match &delivery {
            Delivery::Apply(object) => {
                self.count(object.kind(), "update");
                self.reconcilers.apply(object)
            }
            Delivery::Delete(object) => self.reconcilers.delete(object),
            Delivery::Reset { kind, live, kept } => {
                self.count(*kind, "reset");
                self.reconcilers.reset(*kind, live, kept)
            }
            // Taken care of before they get here.
            Delivery::Problem(_) | Delivery::ProblemGone(_) => return,
        };
        self.engine.change(move |db| changes.apply(db));
    }
}

impl ToEngine {
    fn count(&self, kind: crate::api::Kind, event: &str) {
        let label = KindEvent { r#type: kind.kind().into(), event: event.into() };
        let family = if kind.is_custom() { &self.metrics.config_events } else { &self.metrics.registry_events };
        family.get_or_create(&label).inc();
    }
}
