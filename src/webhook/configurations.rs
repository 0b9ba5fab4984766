//! What the API server verifies webhooks with, and when it refuses what it could not ask about: fields of webhook
//! configurations, which one replica keeps right (contract §4.5, §5.1, §10).
//!
//! A configuration is ours by its label `istio.io/rev`, and a webhook by the end of its name. One that is installed with
//! `failurePolicy: Ignore` gets `Fail` only after a proof that it works: until then everything would be refused for
//! nothing.

mod injectors;
mod probe;
mod refusal;
mod troubles;
mod validators;

use std::{fmt::Debug, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use k8s_openapi::{
    ByteString, ClusterResourceScope,
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::PostParams,
    runtime::{
        controller::{Action, Controller},
        watcher,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use self::{probe::ProbeError, refusal::RefusalError, troubles::Troubles};
use super::request::chain;
use crate::telemetry::metrics::Metrics;

/// The label by which a configuration is a revision's.
const LABEL: &str = "istio.io/rev";
/// Who owns the fields that are written.
const MANAGER: &str = "mizzen-webhooks";

/// Certificates, PEM; `None` before they are known.
pub type Bundle = watch::Receiver<Option<Arc<str>>>;

/// Whose configurations are kept right, and how.
#[derive(Clone)]
pub struct Keeper {
    /// The cluster.
    pub client: Client,
    /// The namespace of the control plane.
    pub namespace: String,
    /// The revision; empty is the default one.
    pub revision: String,
    /// What the control plane is verified with.
    pub bundle: Bundle,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// Why a webhook is not known to work.
#[derive(Debug, thiserror::Error)]
enum ProofError {
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Refusal(#[from] RefusalError),
}

/// Why a configuration is not as it should be.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("cannot update the {kind} {name}")]
    Update {
        kind: &'static str,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("webhook {webhook} of the {kind} {name} keeps failurePolicy Ignore")]
    Unproven {
        kind: &'static str,
        name: String,
        webhook: String,
        #[source]
        source: ProofError,
    },
}

impl KeepError {
    /// In a word what went wrong.
    fn word(&self) -> &'static str {
        match self {
            Self::Update { source, .. } => match &**source {
                kube::Error::Api(status) if status.code == 403 => "forbidden",
                kube::Error::Api(status) if status.code == 409 => "conflict",
                _ => "update",
            },
            Self::Unproven { .. } => "no_answer",
        }
    }
}

/// What is counted.
#[derive(Clone, Copy)]
enum Event {
    /// Something is to be written.
    Attempted,
    Written,
    /// It could not be done, in a word.
    Failed(&'static str),
    /// It is tried again.
    PutOff,
}

/// A webhook of ours in a configuration.
struct Hook<'a> {
    name: &'a str,
    client_config: &'a mut WebhookClientConfig,
    failure_policy: &'a mut Option<String>,
    /// Which objects are asked about.
    objects: Option<&'a LabelSelector>,
}

/// The webhooks of a configuration that are ours, by how their names end: Kubernetes has two types with the same fields.
macro_rules! hooks {
    ($configuration:expr, $ours:expr) => {{
        let ours = $configuration.webhooks.iter_mut().flatten().filter(|webhook| webhook.name.ends_with($ours));
        ours.map(|webhook| Hook {
            name: &webhook.name,
            client_config: &mut webhook.client_config,
            failure_policy: &mut webhook.failure_policy,
            objects: webhook.object_selector.as_ref(),
        })
        .collect()
    }};
}
use hooks;

/// A kind of webhook configurations.
trait Configuration:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + PartialEq
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    const KIND: &'static str;

    /// The webhooks that are ours.
    fn hooks(&mut self) -> Vec<Hook<'_>>;

    /// Whether a webhook works, so that it may be `Fail`.
    fn prove(keeper: &Keeper, hook: &Hook<'_>, bundle: &str) -> impl Future<Output = Result<(), ProofError>> + Send;

    fn count(metrics: &Metrics, name: &str, event: Event);
}

impl Keeper {
    /// Keeps the configurations of injection right until dropped: when they change, and when the certificates do.
    #[must_use]
    pub fn keep_injectors(self) -> BoxFuture<'static, ()> {
        keep::<MutatingWebhookConfiguration>(self).boxed()
    }

    /// The same for those of validation.
    #[must_use]
    pub fn keep_validators(self) -> BoxFuture<'static, ()> {
        keep::<ValidatingWebhookConfiguration>(self).boxed()
    }
}

struct Keeping<K> {
    api: Api<K>,
    keeper: Keeper,
    troubles: Troubles,
}

async fn keep<K: Configuration>(keeper: Keeper) {
    let revision = if keeper.revision.is_empty() { "default" } else { &keeper.revision };
    let ours = watcher::Config::default().labels(&format!("{LABEL}={revision}"));
    let api: Api<K> = Api::all(keeper.client.clone());
    let changed = WatchStream::from_changes(keeper.bundle.clone()).map(|_| ());
    let controller = Controller::new(api.clone(), ours).reconcile_all_on(changed);
    let keeping = Arc::new(Keeping { api, keeper, troubles: Troubles::default() });
    let again = |config: Arc<K>, error: &KeepError, keeping: Arc<Keeping<K>>| keeping.failed(&config, error);
    controller
        .run(|config, keeping| async move { keeping.settle(&config).await }, again, keeping)
        .for_each(|_| async {})
        .await;
}

impl<K: Configuration> Keeping<K> {
    async fn settle(&self, config: &K) -> Result<Action, KeepError> {
        let Some(bundle) = self.keeper.bundle.borrow().clone() else { return Ok(Action::await_change()) };
        let mut mended = config.clone();
        if set_bundle(mended.hooks(), &bundle) {
            // What is written comes back as a change.
            return self.replace(mended, "caBundle").await;
        }
        let mut unproven = None;
        for hook in mended.hooks().into_iter().filter(|hook| hook.failure_policy.as_deref() == Some("Ignore")) {
            match K::prove(&self.keeper, &hook, &bundle).await {
                Ok(()) => *hook.failure_policy = Some("Fail".to_owned()),
                Err(source) => {
                    let (name, webhook) = (config.name_any(), hook.name.to_owned());
                    unproven = Some(KeepError::Unproven { kind: K::KIND, name, webhook, source });
                }
            }
        }
        if mended != *config {
            self.replace(mended, "failurePolicy").await?;
        }
        match unproven {
            Some(error) => Err(error),
            None => {
                self.troubles.over(&config.name_any());
                Ok(Action::await_change())
            }
        }
    }

    /// Optimistically: whoever was in between is not overwritten, and their change comes as one.
    async fn replace(&self, config: K, field: &str) -> Result<Action, KeepError> {
        let name = config.name_any();
        K::count(&self.keeper.metrics, &name, Event::Attempted);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match self.api.replace(&name, &params, &config).await {
            Ok(_) => {
                K::count(&self.keeper.metrics, &name, Event::Written);
                tracing::info!(configuration = name, field, "the webhook configuration is mended");
                Ok(Action::await_change())
            }
            // It is gone.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Action::await_change()),
            Err(source) => Err(KeepError::Update { kind: K::KIND, name, source: Box::new(source) }),
        }
    }

    fn failed(&self, config: &K, error: &KeepError) -> Action {
        let (name, word) = (config.name_any(), error.word());
        K::count(&self.keeper.metrics, &name, Event::PutOff);
        let reason = chain(error);
        let (pause, is_new) = self.troubles.meet(&name, &reason);
        if word != "conflict" {
            K::count(&self.keeper.metrics, &name, Event::Failed(word));
            if is_new {
                tracing::warn!(reason, "a webhook configuration is not as it should be; it is tried again");
            }
        }
        Action::requeue(pause)
    }
}

/// Whether something had to be set.
fn set_bundle(hooks: Vec<Hook<'_>>, bundle: &str) -> bool {
    let mut changed = false;
    for hook in hooks {
        let now = &mut hook.client_config.ca_bundle;
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

    fn bundles<K: Configuration>(ours: &str) -> Vec<Option<ByteString>> {
        let hook = |name: &str| {
            format!(
                "{{name: {name}, clientConfig: {{caBundle: b2xk}}, sideEffects: None, admissionReviewVersions: [v1]}}"
            )
        };
        let text = format!("{{metadata: {{name: x}}, webhooks: [{}, {}]}}", hook(ours), hook("other.example.com"));
        let mut config: K = serde_yaml_ng::from_str(&text).expect("a configuration");
        assert!(set_bundle(config.hooks(), "new"));
        assert!(!set_bundle(config.hooks(), "new"), "nothing is written twice");
        let written = serde_json::to_value(&config).expect("plain data");
        let of = |i: usize| serde_json::from_value(written["webhooks"][i]["clientConfig"]["caBundle"].clone());
        vec![of(0).expect("bytes"), of(1).expect("bytes")]
    }

    #[test]
    fn only_webhooks_of_ours_get_the_bundle() {
        let expected = [b"new", b"old"].map(|bytes| Some(ByteString(bytes.to_vec())));
        assert_eq!(bundles::<MutatingWebhookConfiguration>("namespace.sidecar-injector.istio.io"), expected);
        assert_eq!(bundles::<ValidatingWebhookConfiguration>("rev.validation.istio.io"), expected);
        assert_eq!(bundles::<ValidatingWebhookConfiguration>("validation.istio.io"), expected);
    }
}
