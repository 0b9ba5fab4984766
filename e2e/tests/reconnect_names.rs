//! The table of names (NDS), for which an agent asks beside its Envoy: a client that comes back, to the same control plane,
//! to one that was restarted and to another replica, is sent it only if it has changed.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::protobuf::{Struct, Value, value::Kind},
};
use mizzen::pb::nds::NameTable;
use mizzen_e2e::{ConfigDir, Mizzen, MizzenOptions, PATIENCE, Upstream, eventually, service};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Streaming, transport::Endpoint};

const NAMES: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";

/// What an agent has: names and versions.
type Held = Vec<(String, String)>;

/// A stream of a sidecar's agent.
struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

fn node() -> Node {
    let capture = Value { kind: Some(Kind::StringValue("true".to_owned())) };
    Node {
        id: "sidecar~10.0.0.1~app.default~default.svc.cluster.local".to_owned(),
        metadata: Some(Struct { fields: [("DNS_CAPTURE".to_owned(), capture)].into() }),
        ..Node::default()
    }
}

impl Stream {
    /// Opens it, and asks with what the agent has of an earlier stream.
    async fn open(address: SocketAddr, has: &Held) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let (requests, received) = mpsc::channel(16);
        let first = DeltaDiscoveryRequest {
            node: Some(node()),
            type_url: NAMES.to_owned(),
            initial_resource_versions: has.iter().cloned().collect(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await?;
        let sent = futures::stream::unfold(received, |mut r| async { r.recv().await.map(|request| (request, r)) });
        let responses = AggregatedDiscoveryServiceClient::new(channel).delta_aggregated_resources(sent).await?;
        Ok(Self { requests, responses: responses.into_inner() })
    }

    /// The next table, which must be all of the response, and what the agent has then.
    async fn next(&mut self) -> Result<(NameTable, Held)> {
        let next = tokio::time::timeout(PATIENCE, self.responses.message()).await.context("no response")?;
        let response = next?.context("the stream has ended")?;
        ensure!(response.resources.len() == 1 && response.removed_resources.is_empty(), "{response:?}");
        let acknowledgement = DeltaDiscoveryRequest {
            type_url: NAMES.to_owned(),
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(acknowledgement).await?;
        let body = response.resources[0].resource.as_ref().context("no body")?;
        let table = NameTable::decode(&body.value[..])?;
        Ok((table, response.resources.into_iter().map(|r| (r.name, r.version)).collect()))
    }
}

/// Waits until a control plane knows of so many services.
async fn knows(mizzen: &Mizzen, services: f64) -> Result<()> {
    eventually("what the control plane knows", PATIENCE, || async {
        let known = mizzen.metric("pilot_services").await?;
        ensure!(known == Some(services), "{known:?}");
        anyhow::Ok(())
    })
    .await
}

/// Waits until a control plane has sent so many tables since its start: they are counted a moment later.
async fn has_sent(mizzen: &Mizzen, tables: f64) -> Result<()> {
    eventually("the tables that were sent", PATIENCE, || async {
        let sent = mizzen.metric("mizzen_xds_resources{type=\"nds\"}").await?.unwrap_or_default();
        ensure!(sent == tables, "{sent} of {tables}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn the_table_of_names_is_sent_again_only_when_it_has_changed() -> Result<()> {
    let (config, upstream) = (ConfigDir::new()?, Upstream::http("a").await?);
    config.write("a.yaml", service("a", "http", &[&upstream]))?;
    let options = || MizzenOptions::files(config.path());
    let (mut first, second) = (Mizzen::start(options()).await?, Mizzen::start(options()).await?);
    let mut stream = Stream::open(first.grpc(), &Held::new()).await?;
    let (_, mut has) = stream.next().await?;
    // With the first of all; after a restart; of the other replica.
    for (round, tables) in [2.0, 1.0, 1.0].into_iter().enumerate() {
        if round == 1 {
            first.kill();
            first.restart().await?;
        }
        let place = if round == 2 { &second } else { &first };
        stream = Stream::open(place.grpc(), &has).await?;
        // The next table is the proof that none was on its way.
        let name = format!("new-{round}");
        config.write(&format!("{name}.yaml"), service(&name, "http", &[&upstream]))?;
        let (table, newest) = stream.next().await?;
        ensure!(table.table.keys().any(|host| host.starts_with(&name)), "{:?}", table.table.keys());
        has = newest;
        has_sent(place, tables).await?;
        for mizzen in [&first, &second] {
            knows(mizzen, round as f64 + 2.0).await?;
        }
    }
    // What changed while it was away.
    drop(stream);
    config.remove("a.yaml")?;
    for mizzen in [&first, &second] {
        knows(mizzen, 3.0).await?;
        let (table, _) = Stream::open(mizzen.grpc(), &has).await?.next().await?;
        ensure!(!table.table.keys().any(|host| host.starts_with("a.")), "{:?}", table.table.keys());
    }
    Ok(())
}
