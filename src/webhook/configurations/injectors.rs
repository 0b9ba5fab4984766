//! Configurations of injection. An injector works when it answers at the address that the API server will ask.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;

use super::{Configuration, Event, Hook, Keeper, ProofError, hooks, probe};
use crate::telemetry::metrics::{Metrics, WebhookFailure, WebhookLabel};

/// How the names of webhooks end that inject.
const OURS: &str = "sidecar-injector.istio.io";

impl Configuration for MutatingWebhookConfiguration {
    const KIND: &'static str = "MutatingWebhookConfiguration";

    fn hooks(&mut self) -> Vec<Hook<'_>> {
        hooks!(self, OURS)
    }

    async fn prove(_: &Keeper, hook: &Hook<'_>, bundle: &str) -> Result<(), ProofError> {
        Ok(probe::answers(hook.client_config, bundle).await?)
    }

    fn count(metrics: &Metrics, name: &str, event: Event) {
        let label = WebhookLabel { name: name.into() };
        match event {
            Event::Attempted => metrics.webhook_patches.get_or_create(&label).inc(),
            Event::Written => return,
            Event::Failed(reason) => {
                let failure = WebhookFailure { name: name.into(), reason: reason.into() };
                metrics.webhook_patch_failures.get_or_create(&failure).inc()
            }
            Event::PutOff => metrics.webhook_patch_retries.get_or_create(&label).inc(),
        };
    }
}
