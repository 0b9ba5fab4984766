//! What the API server verifies the injector with, and when Pods are refused that were not shown to it: fields of
//! MutatingWebhookConfigurations, which one replica keeps right (contract §4.5, §5.1).
//!
//! A configuration is ours by its label `istio.io/rev`, and a webhook by the end of its name. One that is installed with
//! `failurePolicy: Ignore` gets `Fail` only after the injector has answered at the address that the API server will ask:
//! until then Pods would be refused for nothing.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::PostParams,
    runtime::{
        controller::{Action, Controller},
        watcher,
    },
};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use super::probe::{self, ProbeError};
use crate::telemetry::metrics::{Metrics, WebhookFailure, WebhookLabel};

/// How the names of webhooks end that inject.
const INJECTORS: &str = "sidecar-injector.istio.io";
const LABEL: &str = "istio.io/rev";
/// Who owns the fields that are written.
const MANAGER: &str = "mizzen-webhooks";
/// How soon something that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Certificates, PEM; `None` before they are known.
pub type Bundle = watch::Receiver<Option<Arc<str>>>;

/// Why a configuration is not as it should be.
#[derive(Debug, thiserror::Error)]
enum PatchError {
    #[error("cannot update the MutatingWebhookConfiguration {name}")]
    Update {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("webhook {webhook} of the MutatingWebhookConfiguration {name} keeps failurePolicy Ignore")]
    Silent {
        name: String,
        webhook: String,
        #[source]
        source: ProbeError,
    },
}

impl PatchError {
    /// The configuration, and in a word what went wrong.
    fn labels(&self) -> (&str, &'static str) {
        match self {
            Self::Update { name, source } => match &**source {
                kube::Error::Api(status) if status.code == 403 => (name, "forbidden"),
                kube::Error::Api(status) if status.code == 409 => (name, "conflict"),
                _ => (name, "update"),
            },
            Self::Silent { name, .. } => (name, "no_answer"),
        }
    }
}

struct Patcher {
    api: Api<MutatingWebhookConfiguration>,
    bundle: Bundle,
    metrics: Arc<Metrics>,
}

/// Keeps the configurations of a revision right until dropped: when they change, and when the certificates do.
pub async fn run(client: Client, revision: String, bundle: Bundle, metrics: Arc<Metrics>) {
    let revision = if revision.is_empty() { "default" } else { &revision };
    let ours = watcher::Config::default().labels(&format!("{LABEL}={revision}"));
    let api: Api<MutatingWebhookConfiguration> = Api::all(client);
    let changed = WatchStream::from_changes(bundle.clone()).map(|_| ());
    let controller = Controller::new(api.clone(), ours).reconcile_all_on(changed);
    let patcher = Arc::new(Patcher { api, bundle, metrics });
    let again = |_: Arc<MutatingWebhookConfiguration>, error: &PatchError, patcher: Arc<Patcher>| {
        patcher.failed(error);
        Action::requeue(RETRY)
    };
    controller
        .run(|config, patcher| async move { patcher.settle(&config).await }, again, patcher)
        .for_each(|_| async {})
        .await;
}

impl Patcher {
    async fn settle(&self, config: &MutatingWebhookConfiguration) -> Result<Action, PatchError> {
        let Some(bundle) = self.bundle.borrow().clone() else { return Ok(Action::await_change()) };
        let mut mended = config.clone();
        if set_bundle(&mut mended, &bundle) {
            // What is written comes back as a change.
            return self.replace(mended, "caBundle").await;
        }
        let mut silent = None;
        for webhook in ours(&mut mended).filter(|webhook| webhook.failure_policy.as_deref() == Some("Ignore")) {
            match probe::answers(&webhook.client_config, &bundle).await {
                Ok(()) => webhook.failure_policy = Some("Fail".to_owned()),
                Err(source) => {
                    let (name, webhook) = (config.name_any(), webhook.name.clone());
                    silent = Some(PatchError::Silent { name, webhook, source });
                }
            }
        }
        if mended != *config {
            self.replace(mended, "failurePolicy").await?;
        }
        silent.map_or_else(|| Ok(Action::await_change()), Err)
    }

    /// Optimistically: whoever was in between is not overwritten, and their change comes as one.
    async fn replace(&self, config: MutatingWebhookConfiguration, field: &str) -> Result<Action, PatchError> {
        let name = config.name_any();
        self.metrics.webhook_patches.get_or_create(&WebhookLabel { name: name.as_str().into() }).inc();
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match self.api.replace(&name, &params, &config).await {
            Ok(_) => {
                tracing::info!(configuration = name, field, "the webhook configuration is mended");
                Ok(Action::await_change())
            }
            // It is gone.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Action::await_change()),
            Err(source) => Err(PatchError::Update { name, source: Box::new(source) }),
        }
    }

    fn failed(&self, error: &PatchError) {
        let (name, reason) = error.labels();
        let label = WebhookLabel { name: name.into() };
        self.metrics.webhook_patch_retries.get_or_create(&label).inc();
        if reason == "conflict" {
            return;
        }
        let failure = WebhookFailure { name: name.into(), reason: reason.into() };
        self.metrics.webhook_patch_failures.get_or_create(&failure).inc();
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
        let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        tracing::warn!(reason, "a webhook configuration is not as it should be; it is tried again");
    }
}

fn ours(config: &mut MutatingWebhookConfiguration) -> impl Iterator<Item = &mut MutatingWebhook> {
    config.webhooks.iter_mut().flatten().filter(|webhook| webhook.name.ends_with(INJECTORS))
}

/// Whether something had to be set.
fn set_bundle(config: &mut MutatingWebhookConfiguration, bundle: &str) -> bool {
    let mut changed = false;
    for webhook in ours(config) {
        let now = &mut webhook.client_config.ca_bundle;
        if now.as_ref().is_none_or(|bytes| bytes.0 != bundle.as_bytes()) {
            *now = Some(ByteString(bundle.as_bytes().to_vec()));
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhooks_that_inject_get_the_bundle() {
        let text = "{metadata: {name: x}, webhooks: [\
            {name: namespace.sidecar-injector.istio.io, clientConfig: {caBundle: b2xk}, sideEffects: None, admissionReviewVersions: [v1]}, \
            {name: other.example.com, clientConfig: {}, sideEffects: None, admissionReviewVersions: [v1]}]}";
        let mut config: MutatingWebhookConfiguration = serde_yaml_ng::from_str(text).expect("a configuration");
        assert!(set_bundle(&mut config, "new"));
        let bundles: Vec<_> = config.webhooks.iter().flatten().map(|w| w.client_config.ca_bundle.clone()).collect();
        assert_eq!(bundles, [Some(ByteString(b"new".to_vec())), None]);
        assert!(!set_bundle(&mut config, "new"), "nothing is written twice");
    }
}
