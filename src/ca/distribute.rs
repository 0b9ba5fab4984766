//! What workloads verify each other with, as ConfigMaps in every namespace (contract §4.5). One replica writes them.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
    runtime::{
        controller::{Action, Config, Controller},
        reflector::ObjectRef,
        watcher,
    },
};
use tokio_stream::wrappers::WatchStream;

use super::authority::{Authority, Current};

/// Namespaces of the cluster itself, where no workloads of the mesh run (contract §4.5).
const LEFT_OUT: [&str; 3] = ["kube-public", "kube-node-lease", "local-path-storage"];
const LABEL: (&str, &str) = ("istio.io/config", "true");
const ROOTS: &str = "root-cert.pem";
const CRL: &str = "ca-crl.pem";
/// The ConfigMap with revoked certificates.
const CRL_MAP: &str = "istio-ca-crl";
/// Who owns the fields that are written.
const MANAGER: &str = "mizzen-ca";
/// How many are written at once.
const AT_ONCE: u16 = 16;
/// How soon a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the ConfigMap with the roots (`PILOT_CA_CERT_CONFIGMAP`).
    pub roots_map: String,
    /// Whether revoked certificates are distributed, if there are any (`PILOT_ENABLE_CA_CRL`).
    pub with_crl: bool,
}

/// Why a ConfigMap is not as it should be.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the ConfigMap {namespace}/{name}")]
struct DistributeError {
    verb: &'static str,
    namespace: String,
    name: String,
    #[source]
    source: Box<kube::Error>,
}

struct Distributor {
    client: Client,
    settings: Settings,
    authority: Authority,
}

/// Writes them, and again when they are changed, when a namespace appears, and when the roots change, until dropped.
pub async fn run(client: Client, settings: Settings, authority: Authority) {
    let maps = |name: &str| {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        (Api::<ConfigMap>::all(client.clone()), config)
    };
    let namespace_of = |map: ConfigMap| map.namespace().map(|namespace| ObjectRef::<Namespace>::new(&namespace));
    let ((roots, roots_only), (crls, crls_only)) = (maps(&settings.roots_map), maps(CRL_MAP));
    let changed = WatchStream::from_changes(authority.clone()).map(|_| ());
    let mut controller = Controller::new(Api::<Namespace>::all(client.clone()), watcher::Config::default())
        .with_config(Config::default().concurrency(AT_ONCE))
        .watches(roots, roots_only, namespace_of)
        .reconcile_all_on(changed);
    if settings.with_crl {
        controller = controller.watches(crls, crls_only, namespace_of);
    }
    let distributor = Arc::new(Distributor { client, settings, authority });
    let again = |_: Arc<Namespace>, error: &DistributeError, _: Arc<Distributor>| {
        let reason = format!("{error}: {}", error.source);
        tracing::warn!(reason, "the root certificates are not where workloads look for them; it is tried again");
        Action::requeue(RETRY)
    };
    controller
        .run(|namespace, distributor| async move { distributor.settle(&namespace).await }, again, distributor)
        .for_each(|_| async {})
        .await;
}

impl Distributor {
    async fn settle(&self, namespace: &Namespace) -> Result<Action, DistributeError> {
        let name = namespace.name_any();
        let is_going = namespace.metadata.deletion_timestamp.is_some();
        if is_going || LEFT_OUT.contains(&name.as_str()) {
            return Ok(Action::await_change());
        }
        let Some(Current { signer, crl }) = self.authority.borrow().clone() else { return Ok(Action::await_change()) };
        self.ensure(&name, &self.settings.roots_map, ROOTS, signer.roots_pem()).await?;
        if let Some(crl) = crl.filter(|_| self.settings.with_crl) {
            self.ensure(&name, CRL_MAP, CRL, &crl).await?;
        }
        Ok(Action::await_change())
    }

    /// Writes nothing when it is as it should be.
    async fn ensure(&self, namespace: &str, name: &str, key: &str, value: &str) -> Result<(), DistributeError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let failed = |verb| {
            move |source| {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                DistributeError { verb, namespace, name, source: Box::new(source) }
            }
        };
        let there = api.get_opt(name).await.map_err(failed("get"))?;
        if there.as_ref().is_some_and(|map| is_right(map, key, value)) {
            return Ok(());
        }
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let (verb, written) = match there {
            // What else is in it stays. Not by server-side apply: istiod's own rules allow no `patch`.
            Some(mut map) => {
                put(&mut map, key, value);
                ("update", api.replace(name, &params, &map).await)
            }
            None => {
                let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
                let mut map = ConfigMap { metadata, ..ConfigMap::default() };
                put(&mut map, key, value);
                ("create", api.create(&params, &map).await)
            }
        };
        match written {
            Ok(_) => Ok(()),
            // Somebody else was first: the watch tells what it is now.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            // The namespace is gone, or is going.
            Err(kube::Error::Api(status)) if status.code == 404 || status.message.contains("being terminated") => {
                Ok(())
            }
            Err(error) => Err(failed(verb)(error)),
        }
    }
}

fn put(map: &mut ConfigMap, key: &str, value: &str) {
    let (label, yes) = LABEL;
    map.labels_mut().insert(label.to_owned(), yes.to_owned());
    map.data.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

fn is_right(map: &ConfigMap, key: &str, value: &str) -> bool {
    let (label, yes) = LABEL;
    map.data.as_ref().and_then(|data| data.get(key)).is_some_and(|v| v == value)
        && map.labels().get(label).is_some_and(|v| v == yes)
}
