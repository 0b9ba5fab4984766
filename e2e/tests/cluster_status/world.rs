//! An API server, replicas of the control plane, and gateways.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use envoy_types::pb::envoy::{
    config::core::v3::Node as XdsNode,
    service::discovery::v3::{DiscoveryRequest, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient},
};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use mizzen_e2e::{
    ApiServer, Envoy, EnvoyOptions, Mizzen, MizzenOptions, Node, PATIENCE, Source, Upstream, eventually, free_port,
    http_gateway,
};
use serde_json::Value;

pub(super) struct World {
    pub(super) server: ApiServer,
    client: kube::Client,
    pub(super) replicas: Vec<Mizzen>,
    envoys: Vec<Envoy>,
}

/// Group, version and plural of the kinds that are looked at.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("Gateway", "networking.istio.io", "v1", "gateways"),
    ("VirtualService", "networking.istio.io", "v1", "virtualservices"),
    ("DestinationRule", "networking.istio.io", "v1", "destinationrules"),
    ("ProxyStatus", "status.mizzen.io", "v1alpha1", "proxystatuses"),
    ("ReplicaReport", "status.mizzen.io", "v1alpha1", "replicareports"),
];

/// A condition of a status; null if there is none.
pub(super) fn condition(status: &Value, name: &str) -> Value {
    let all = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().find(|condition| condition["type"] == name).cloned().unwrap_or_default()
}

impl World {
    /// An API server with the kinds and a Gateway.
    pub(super) async fn new() -> Result<Self> {
        let server = ApiServer::start().await?;
        server.apply_path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds"))?;
        server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
        let client = server.client().await?;
        let world = Self { server, client, replicas: Vec::new(), envoys: Vec::new() };
        world.apply(&http_gateway(free_port()?))?;
        Ok(world)
    }

    pub(super) fn apply(&self, yaml: &str) -> Result<()> {
        self.server.apply(yaml).map(drop)
    }

    pub(super) async fn upstream(&self, name: &str) -> Result<Upstream> {
        Source::Cluster.upstream(name).await
    }

    /// Starts a replica of the control plane.
    pub(super) async fn replica(&mut self, name: &str) -> Result<()> {
        let options = MizzenOptions::cluster(&self.server.kubeconfig()).env("POD_NAME", name);
        self.replicas.push(Mizzen::start(options).await?);
        Ok(())
    }

    /// Starts a gateway of a workload, which is connected to a replica.
    pub(super) async fn gateway(&mut self, pod: &str, workload: &str, replica: usize) -> Result<()> {
        let owner = format!("kubernetes://apis/apps/v1/namespaces/default/deployments/{workload}");
        let node = Node::router(pod, "default").metadata("WORKLOAD_NAME", workload).metadata("OWNER", owner);
        let options = EnvoyOptions::dynamic(node, self.replicas[replica].grpc());
        self.envoys.push(Envoy::start_ready(&options).await?);
        Ok(())
    }

    fn api(&self, kind: &str) -> Result<Api<DynamicObject>> {
        let found = KINDS.iter().find(|(known, ..)| *known == kind);
        let (kind, group, version, plural) = found.with_context(|| format!("kind {kind}"))?;
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Ok(Api::all_with(self.client.clone(), &resource))
    }

    async fn object(&self, kind: &str, name: &str) -> Result<DynamicObject> {
        let all = self.api(kind)?.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
        all.items.into_iter().next().with_context(|| format!("no {kind} {name}"))
    }

    pub(super) async fn status(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(self.object(kind, name).await?.data["status"].clone())
    }

    /// Waits until a condition of the newest generation has a status and a reason.
    pub(super) async fn says(&self, kind: &str, name: &str, what: &str, status: &str, reason: &str) -> Result<Value> {
        let described = format!("{kind} {name} to be {what}={status} ({reason})");
        let waited = eventually(&described, PATIENCE, || async {
            let object = self.object(kind, name).await?;
            let said = object.data["status"].clone();
            let found = condition(&said, what);
            ensure!(found["status"] == status && found["reason"] == reason, "{said}");
            ensure!(found["observedGeneration"].as_i64() == object.metadata.generation, "{said}");
            anyhow::Ok(said)
        });
        waited.await.with_context(|| self.replicas.iter().map(Mizzen::log).collect::<String>())
    }

    /// Waits until the `ProxyStatus` of a workload has these numbers.
    pub(super) async fn proxies(&self, workload: &str, numbers: &Value) -> Result<Value> {
        let described = format!("ProxyStatus {workload} {numbers}");
        let waited = eventually(&described, PATIENCE, || async {
            let status = self.status("ProxyStatus", workload).await?;
            let wanted = numbers.as_object().context("numbers")?;
            ensure!(wanted.iter().all(|(key, value)| status[key] == *value), "{status}");
            anyhow::Ok(status)
        });
        waited.await.with_context(|| self.replicas.iter().map(Mizzen::log).collect::<String>())
    }

    /// Which replica writes for all.
    pub(super) async fn leader(&self) -> Result<usize> {
        let path = "jsonpath={.metadata.annotations['control-plane\\.alpha\\.kubernetes\\.io/leader']}";
        let text =
            self.server.kubectl(&["get", "configmap", "mizzen-status-leader", "-n", "istio-system", "-o", path])?;
        let record: Value = serde_json::from_str(&text)?;
        match record["holderIdentity"].as_str() {
            Some("istiod-1") => Ok(0),
            Some("istiod-2") => Ok(1),
            _ => anyhow::bail!("{record}"),
        }
    }

    /// How many queries of the engine ran so far in a replica, and how many resources it has sent.
    pub(super) async fn work(&self, replica: usize) -> Result<(String, f64)> {
        let metrics = self.replicas[replica].metrics().await?;
        let sent =
            metrics.lines().filter_map(|line| line.strip_prefix("mizzen_xds_resources_total{")?.rsplit_once(' '));
        let sent = sent.filter_map(|(_, number)| number.parse::<f64>().ok()).sum();
        let node = XdsNode { id: "sidecar~127.0.0.1~test.istio-system~x".to_owned(), ..XdsNode::default() };
        let request = DiscoveryRequest {
            node: Some(node),
            type_url: "istio.io/debug".to_owned(),
            resource_names: vec!["generation".to_owned()],
            ..DiscoveryRequest::default()
        };
        let address = self.replicas[replica].grpc();
        let mut client = AggregatedDiscoveryServiceClient::connect(format!("http://{address}")).await?;
        let mut answers = client.stream_aggregated_resources(futures::stream::iter([request])).await?.into_inner();
        let answer = answers.message().await?.context("no answer")?;
        let text = String::from_utf8_lossy(&answer.resources.first().context("no stats")?.value).into_owned();
        let queries = text.split_once("queries_run: ").and_then(|(_, rest)| rest.split(',').next());
        Ok((queries.with_context(|| text.clone())?.to_owned(), sent))
    }

    /// The resource version of every object that has status or is status.
    pub(super) async fn versions(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for (kind, ..) in KINDS {
            for object in self.api(kind)?.list(&ListParams::default()).await?.items {
                all.insert(format!("{kind} {}", object.name_any()), object.resource_version().unwrap_or_default());
            }
        }
        Ok(all)
    }

    /// The objects that were written since.
    pub(super) async fn moved_since(&self, before: &BTreeMap<String, String>) -> Result<Vec<String>> {
        let now = self.versions().await?;
        Ok(now.into_iter().filter(|(name, version)| before.get(name) != Some(version)).map(|(name, _)| name).collect())
    }
}
