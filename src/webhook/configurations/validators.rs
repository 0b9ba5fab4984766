//! Configurations of validation. A validator works when the API server has refused an invalid object for its sake.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

use super::{Configuration, Event, Hook, Keeper, ProofError, hooks, refusal};
use crate::telemetry::metrics::{Metrics, ReasonLabel};

/// How the names of webhooks end that validate.
const OURS: &str = "validation.istio.io";

impl Configuration for ValidatingWebhookConfiguration {
    const KIND: &'static str = "ValidatingWebhookConfiguration";

    fn hooks(&mut self) -> Vec<Hook<'_>> {
        hooks!(self, OURS)
    }

    async fn prove(keeper: &Keeper, hook: &Hook<'_>, _: &str) -> Result<(), ProofError> {
        Ok(refusal::happens(&keeper.client, &keeper.namespace, hook.name, hook.objects).await?)
    }

    fn count(metrics: &Metrics, _: &str, event: Event) {
        match event {
            Event::Attempted | Event::PutOff => return,
            Event::Written => metrics.validation_config_updates.inc(),
            Event::Failed(reason) => {
                let label = ReasonLabel { reason: reason.into() };
                metrics.validation_config_update_errors.get_or_create(&label).inc()
            }
        };
    }
}
