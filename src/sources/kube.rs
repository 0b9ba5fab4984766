//! Objects from a Kubernetes API server.
//!
//! ```text
//!  discovery + watch of CRDs ──► which kinds are served, in which version
//!                                   │ one task each
//!                                   ▼
//!  kube-runtime watcher ──► prune ──► decode ──► Watch (state machine) ──► Delivery
//! ```
//!
//! A kind whose CRD is absent is empty. A kind that may not be read keeps the process not ready and names the rule
//! that is missing. A relist is one reset.

mod discovery;
mod prune;
mod watch;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinError, JoinSet},
};

use self::{
    discovery::{Discovery, Presence},
    watch::Watch,
};
use super::{Delivery, Intake};
use crate::{
    api::Kind,
    telemetry::ready::{Guard, Readiness},
};

/// How long the API server may take to answer a request other than a watch before it counts as lost.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no API server to read from, or reading ended.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// The file given by `--kubeconfig` cannot be used.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The process does not run in a pod, and no other configuration was given.
    #[error("not in a cluster: give --kubeconfig FILE or --configDir DIR")]
    InCluster(#[source] kube::config::InClusterError),
    /// The client cannot be built from the configuration.
    #[error("cannot connect to the Kubernetes API server")]
    Client(#[source] Box<kube::Error>),
    /// A watch ended: a bug.
    #[error("the watch of a kind failed")]
    Task(#[source] JoinError),
}

/// Connects with the given kubeconfig, or as a pod.
///
/// # Errors
/// The configuration is absent or unusable. Nothing is sent yet.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, KubeError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let wrap = |source| KubeError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
            let file = Kubeconfig::read_from(path).map_err(wrap)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(wrap)?
        }
        None => Config::incluster().map_err(KubeError::InCluster)?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(|source| KubeError::Client(Box::new(source)))
}

/// What of a cluster is read.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The namespace of the control plane, e.g. `istio-system`.
    pub system_namespace: String,
    /// The name of the ConfigMap with the mesh configuration: `istio` or `istio-<revision>`.
    pub mesh_config_map: String,
}

/// An API server as a source.
pub struct KubeSource {
    client: Client,
    scope: Scope,
    intake: Arc<dyn Intake>,
    guards: HashMap<Kind, Arc<Guard>>,
    running: HashMap<Kind, (String, AbortHandle)>,
    tasks: JoinSet<()>,
    /// Wakes discovery: a watch found its kind absent.
    recheck: Arc<Notify>,
}

impl KubeSource {
    /// A source of what the client may read. Each kind is a guard until its first full list was delivered.
    #[must_use]
    pub fn new(client: Client, scope: Scope, intake: Arc<dyn Intake>, readiness: &Readiness) -> Self {
        let guards = Kind::ALL.map(|kind| (kind, Arc::new(readiness.guard(&resource_name(kind))))).into();
        Self {
            client,
            scope,
            intake,
            guards,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            recheck: Arc::new(Notify::new()),
        }
    }

    /// Delivers until dropped.
    ///
    /// # Errors
    /// A watch panicked.
    pub async fn run(mut self) -> Result<(), KubeError> {
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_custom()) {
            self.start(kind, kind.versions()[0]);
        }
        let mut discovery = Discovery::new(self.client.clone(), self.intake.clone(), self.recheck.clone());
        loop {
            tokio::select! {
                found = discovery.next() => self.settle(found),
                Some(ended) = self.tasks.join_next() => match ended {
                    Err(error) if !error.is_cancelled() => return Err(KubeError::Task(error)),
                    _ => {}
                },
            }
        }
    }

    /// Starts and ends watches according to what is served.
    fn settle(&mut self, found: Vec<(Kind, Presence)>) {
        for (kind, presence) in found {
            match presence {
                Presence::Served(version) => {
                    if self.running.get(&kind).is_none_or(|(running, _)| running != version) {
                        self.start(kind, version);
                    }
                }
                Presence::Pending => self.guards[&kind].because("its CRD exists but is not served yet"),
                Presence::Absent => self.stop(kind),
            }
        }
    }

    fn start(&mut self, kind: Kind, version: &str) {
        let gvk = GroupVersionKind::gvk(kind.group(), version, kind.kind());
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
        let (api, config) = self.api(kind, &resource);
        let mut watch = Watch::new(kind, resource, self.intake.clone(), self.guards[&kind].clone());
        let recheck = self.recheck.clone();
        let task = async move {
            let mut events = std::pin::pin!(watcher(api, config).default_backoff());
            while let Some(event) = events.next().await {
                if watch.take(event).is_absent() {
                    recheck.notify_one();
                }
            }
        };
        let handle = self.tasks.spawn(task);
        if let Some((_, old)) = self.running.insert(kind, (version.to_owned(), handle)) {
            old.abort();
        }
    }

    /// The kind has no CRD: it is complete, and empty. Said once.
    fn stop(&mut self, kind: Kind) {
        let was_running = self.running.remove(&kind).map(|(_, handle)| handle.abort()).is_some();
        if was_running || !self.guards[&kind].is_released() {
            self.intake.deliver(Delivery::Reset { kind, live: Vec::new(), kept: Vec::new() });
            self.guards[&kind].release();
        }
    }

    fn api(&self, kind: Kind, resource: &ApiResource) -> (Api<DynamicObject>, watcher::Config) {
        let (client, config) = (self.client.clone(), watcher::Config::default());
        match kind {
            Kind::ConfigMap => {
                let name = format!("metadata.name={}", self.scope.mesh_config_map);
                (Api::namespaced_with(client, &self.scope.system_namespace, resource), config.fields(&name))
            }
            // Releases of Helm and tokens are most of a cluster's Secrets by size, and nothing here.
            Kind::Secret => {
                let types = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";
                (Api::all_with(client, resource), config.fields(types))
            }
            _ => (Api::all_with(client, resource), config),
        }
    }
}

/// The name of a CRD, also for kinds that have none: `services`, `virtualservices.networking.istio.io`.
fn resource_name(kind: Kind) -> String {
    match kind.group() {
        "" => kind.plural().to_owned(),
        group => format!("{}.{group}", kind.plural()),
    }
}
