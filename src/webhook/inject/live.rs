//! The injector's settings as they are now: read again whenever a ConfigMap or a node changes.
//!
//! ```text
//!  ConfigMap istio-sidecar-injector ─┐
//!  ConfigMap istio (mesh)           ─┼─► State ─► Settings, or the last good ones and a problem
//!  Nodes (version of the kubelet)   ─┘
//! ```

mod state;

use std::sync::Arc;

use futures::{Stream, StreamExt as _, future::ready, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watch_object, watcher},
    },
};
use tokio::sync::watch;

use self::state::{Change, State};
use super::Settings;
use crate::telemetry::problems::Problems;

/// `None` before they were read; an error where they are wrong and never were right.
pub type Live = watch::Receiver<Option<Result<Arc<Settings>, Arc<str>>>>;

/// The other end.
pub type Publisher = watch::Sender<Option<Result<Arc<Settings>, Arc<str>>>>;

/// Whether Pods get native sidecars that do not say so themselves (`ENABLE_NATIVE_SIDECARS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeSidecars {
    /// Said once and for all.
    Fixed(bool),
    /// When all nodes can.
    ByNodes,
}

/// Where settings come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The namespace of the control plane, where the ConfigMaps are.
    pub namespace: String,
    /// The name of the injector's ConfigMap. Without it there are defaults.
    pub injector_map: String,
    /// The name of the mesh's.
    pub mesh_map: String,
    /// The mesh configuration for when there is none.
    pub mesh_text: String,
    /// The revision of the control plane.
    pub revision: String,
    /// Which sidecars are native.
    pub native_sidecars: NativeSidecars,
    /// What proxies are told in `COMPLIANCE_POLICY`; empty is nothing.
    pub compliance_policy: String,
}

/// Follows them until dropped.
pub async fn follow(client: Client, source: Source, publisher: Publisher, problems: Arc<Problems>) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &source.namespace);
    let injector = object(maps.clone(), source.injector_map.clone()).map(Change::Injector);
    let mesh = object(maps, source.mesh_map.clone()).map(Change::Mesh);
    let mut changes = stream::select(injector, mesh).boxed();
    if source.native_sidecars == NativeSidecars::ByNodes {
        changes = stream::select(changes, nodes(client)).boxed();
    }
    let mut state = State::new(source);
    while let Some(change) = changes.next().await {
        let Some(read) = state.take(change) else { continue };
        read.gone.iter().for_each(|problem| problems.gone(problem));
        read.appeared.iter().for_each(|problem| problems.appeared(problem));
        publisher.send_if_modified(|now| {
            let is_new = now.as_ref() != Some(&read.now);
            *now = Some(read.now);
            is_new
        });
    }
}

/// A ConfigMap, whenever it changes; `None` when there is none.
fn object(api: Api<ConfigMap>, name: String) -> impl Stream<Item = Option<ConfigMap>> + Send {
    watch_object(api, &name).default_backoff().filter_map(move |event| {
        if let Err(error) = &event {
            told(&format!("the ConfigMap {name}"), error);
        }
        ready(event.ok())
    })
}

fn nodes(client: Client) -> impl Stream<Item = Change> + Send {
    watcher(Api::<Node>::all(client), watcher::Config::default()).default_backoff().filter_map(|event| {
        ready(match event {
            Ok(Event::Init) => Some(Change::NodesAnew),
            Ok(Event::InitApply(node) | Event::Apply(node)) => Some(Change::Node(Box::new(node))),
            Ok(Event::InitDone) => Some(Change::NodesAll),
            Ok(Event::Delete(node)) => Some(Change::NodeGone(Box::new(node))),
            Err(error) => {
                told("nodes", &error);
                is_forbidden(&error).then_some(Change::NodesForbidden)
            }
        })
    })
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 403,
        _ => false,
    }
}

fn told(what: &str, error: &watcher::Error) {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    tracing::warn!(what, reason, "the injector cannot watch; it is tried again");
}
