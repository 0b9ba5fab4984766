//! The replicas of a control plane as command lines reach them: through the API server, or at an address.
//!
//! ```text
//!  command ── port-forward (API server, kubelet) ──► istiod pod :15010 ──┐
//!          └─ --xds-address ─────────────────────────────────────────────┴──► xDS, types istio.io/debug…
//! ```

mod forward;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DiscoveryRequest, DiscoveryResponse, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::protobuf::{Struct, Value, value::Kind},
};
use futures::{StreamExt, future::try_join_all, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde::Deserialize;
use tonic::transport::{Channel, Endpoint};

pub(super) use self::forward::http_get;
use super::cluster_args::ClusterArgs;

/// What asks for the state of all proxies.
pub(super) const SYNCZ: &str = "istio.io/debug/syncz";

/// What asks for what one proxy was sent.
pub(super) const CONFIG_DUMP: &str = "istio.io/debug/config_dump";

/// How long a replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which control plane is asked, and how it is reached.
#[derive(Args, Clone, Debug)]
pub(super) struct ReplicaArgs {
    /// Namespace of the control plane
    #[arg(short = 'i', long = "istioNamespace", value_name = "NAMESPACE", default_value = "istio-system")]
    istio_namespace: String,
    /// Only replicas of this revision
    #[arg(short, long, value_name = "REVISION")]
    revision: Option<String>,
    /// Ask this address, without TLS, instead of the replicas in a cluster
    #[arg(long = "xds-address", value_name = "HOST:PORT")]
    xds_address: Option<String>,
    /// Port of a replica's pod that serves xDS without TLS
    #[arg(long = "xds-port", value_name = "PORT", default_value_t = 15010)]
    xds_port: u16,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// One replica.
pub(super) struct Replica {
    /// Its pod or address.
    pub(super) name: String,
    channel: Channel,
    /// As which namespace's tool it is asked.
    namespace: String,
}

/// Who a replica says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Identifier {
    /// Its kind: `istiod`.
    pub(super) component: String,
    /// Its name.
    #[serde(rename = "ID")]
    pub(super) id: String,
    /// Its version.
    pub(super) info: serde_json::Map<String, serde_json::Value>,
}

/// What a replica answered.
pub(super) struct Answer {
    /// Who answered, with the pod or address as its name when it does not say.
    pub(super) from: Identifier,
    /// The answer.
    pub(super) response: DiscoveryResponse,
}

impl ReplicaArgs {
    /// The replicas: the one at the address, or all running ones in the cluster.
    ///
    /// # Errors
    /// There is none, or it cannot be reached.
    pub(super) async fn find(&self) -> anyhow::Result<Vec<Replica>> {
        if let Some(address) = &self.xds_address {
            let what = || format!("connect to {address}");
            let uri = format!("http://{address}");
            let channel = Endpoint::from_shared(uri).with_context(what)?.connect().await.with_context(what)?;
            return Ok(vec![self.replica(address.clone(), channel)]);
        }
        let pods: Api<Pod> = Api::namespaced(self.client().await?, &self.istio_namespace);
        let running = self.running(&pods).await?;
        let connect = |pod: Pod| {
            let pods = pods.clone();
            async move {
                let name = pod.name_any();
                let what = format!("forward port {} of pod {}/{name}", self.xds_port, self.istio_namespace);
                let channel = forward::channel(pods, name.clone(), self.xds_port).await.context(what)?;
                Ok(self.replica(name, channel))
            }
        };
        try_join_all(running.into_iter().map(connect)).await
    }

    /// A client of the cluster.
    ///
    /// # Errors
    /// There is no usable configuration.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        self.cluster.client().await.context("find the cluster (--xds-address HOST:PORT asks without one)")
    }

    async fn running(&self, pods: &Api<Pod>) -> anyhow::Result<Vec<Pod>> {
        let mut labels = "app=istiod".to_owned();
        if let Some(revision) = &self.revision {
            labels += &format!(",istio.io/rev={revision}");
        }
        let wanted = ListParams::default().labels(&labels).fields("status.phase=Running");
        let namespace = &self.istio_namespace;
        let found = pods.list(&wanted).await.with_context(|| format!("list the pods {labels} in {namespace}"))?.items;
        ensure!(
            !found.is_empty(),
            "no pod with the labels {labels} runs in namespace {namespace}: give --istioNamespace, --revision, \
             or --xds-address HOST:PORT"
        );
        Ok(found)
    }

    fn replica(&self, name: String, channel: Channel) -> Replica {
        Replica { name, channel, namespace: self.istio_namespace.clone() }
    }
}

impl Replica {
    /// Asks for a debug type over xDS.
    ///
    /// # Errors
    /// It does not answer in time, or refuses.
    pub(super) async fn ask(&self, type_url: &str, names: &[&str]) -> anyhow::Result<Answer> {
        let answer = tokio::time::timeout(PATIENCE, self.request(type_url, names)).await;
        let response = answer.map_err(|_| anyhow::anyhow!("no answer within {PATIENCE:?}")).flatten();
        let response = response.with_context(|| format!("ask {} for {type_url}", self.name))?;
        let said = response.control_plane.as_ref().map(|c| c.identifier.as_str()).unwrap_or_default();
        let mut from: Identifier = serde_json::from_str(said).unwrap_or_default();
        if from.id.is_empty() {
            from.id.clone_from(&self.name);
        }
        Ok(Answer { from, response })
    }

    async fn request(&self, type_url: &str, names: &[&str]) -> anyhow::Result<DiscoveryResponse> {
        let request = DiscoveryRequest {
            node: Some(node(&self.namespace)),
            type_url: type_url.to_owned(),
            resource_names: names.iter().map(ToString::to_string).collect(),
            ..DiscoveryRequest::default()
        };
        // The stream stays open until the answer is here.
        let requests = stream::iter([request]).chain(stream::pending());
        let mut client =
            AggregatedDiscoveryServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let mut answers = client.stream_aggregated_resources(requests).await?.into_inner();
        let Some(answer) = answers.message().await? else { bail!("the stream ended without an answer") };
        Ok(answer)
    }
}

/// Asks all replicas at once.
///
/// # Errors
/// One does not answer.
pub(super) async fn ask_all(replicas: &[Replica], type_url: &str, names: &[&str]) -> anyhow::Result<Vec<Answer>> {
    try_join_all(replicas.iter().map(|replica| replica.ask(type_url, names))).await
}

/// A node that is no proxy: it says nothing of its configuration (contract §2.1).
fn node(namespace: &str) -> Node {
    let text = Value { kind: Some(Kind::StringValue(namespace.to_owned())) };
    let metadata = Some(Struct { fields: [("NAMESPACE".to_owned(), text)].into() });
    let id = format!("sidecar~127.0.0.1~mizzen-command-line.{namespace}~{namespace}.svc.cluster.local");
    Node { id, metadata, ..Node::default() }
}
