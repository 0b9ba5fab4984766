//! State-of-the-world ADS of a running control plane, with a client that does what Envoy would not, or refuses.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::Cluster,
            core::v3::{Node, address::Address, socket_address::PortSpecifier},
            endpoint::v3::{ClusterLoadAssignment, LbEndpoint, lb_endpoint::HostIdentifier},
        },
        service::discovery::v3::{
            DiscoveryRequest, DiscoveryResponse, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc::Status as RpcStatus,
};
use mizzen_e2e::{ConfigDir, Mizzen, MizzenOptions, PATIENCE, Upstream, eventually, service};
use prost::{Message, Name};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming, transport::Endpoint};

const A: &str = "outbound|80||a.default.svc.cluster.local";

fn url<M: Name>() -> String {
    M::type_url()
}

/// A stream of a gateway.
struct Stream {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Stream {
    /// Opens it and sends the first request, as a gateway.
    async fn open(address: SocketAddr, first: DiscoveryRequest) -> Result<Self> {
        let id = "router~10.0.0.1~gw.default~default.svc.cluster.local".to_owned();
        let first = DiscoveryRequest { node: Some(Node { id, ..Node::default() }), ..first };
        Self::open_as(address, first).await
    }

    async fn open_as(address: SocketAddr, first: DiscoveryRequest) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let (requests, received) = mpsc::channel(16);
        requests.send(first).await?;
        let sent = futures::stream::unfold(received, |mut r| async { r.recv().await.map(|request| (request, r)) });
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client.stream_aggregated_resources(sent).await?.into_inner();
        Ok(Self { requests, responses })
    }

    async fn send(&self, request: DiscoveryRequest) -> Result<()> {
        self.requests.send(request).await.context("the stream has ended")
    }

    async fn result(&mut self) -> Result<Result<DiscoveryResponse, Status>> {
        let next = tokio::time::timeout(PATIENCE, self.responses.message()).await.context("no response")?;
        next.transpose().context("the stream has ended")
    }

    /// The next response, which must be of this type.
    async fn next<M: Name>(&mut self) -> Result<DiscoveryResponse> {
        let response = self.result().await??;
        ensure!(response.type_url == url::<M>(), "{response:?}");
        Ok(response)
    }

    /// Acknowledges a response, or refuses it for a reason.
    async fn answer(&self, to: &DiscoveryResponse, names: &[&str], refused: Option<&str>) -> Result<()> {
        let request = ask(&to.type_url, names);
        self.send(DiscoveryRequest {
            version_info: to.version_info.clone(),
            response_nonce: to.nonce.clone(),
            error_detail: refused.map(|m| RpcStatus { message: m.to_owned(), ..RpcStatus::default() }),
            ..request
        })
        .await
    }
}

fn ask(type_url: &str, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names: names.iter().map(|&n| n.to_owned()).collect(),
        ..DiscoveryRequest::default()
    }
}

/// The names of the services whose clusters a response holds.
fn services(response: &DiscoveryResponse) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for resource in &response.resources {
        let name = Cluster::decode(&resource.value[..])?.name;
        let host = name.strip_prefix("outbound|80||").and_then(|h| h.strip_suffix(".default.svc.cluster.local"));
        all.extend(host.map(str::to_owned));
    }
    all.sort();
    Ok(all)
}

/// The ports of the only assignment that a response holds.
fn ports(response: &DiscoveryResponse) -> Result<Vec<u32>> {
    let [only] = response.resources.as_slice() else { bail!("{response:?}") };
    let made = ClusterLoadAssignment::decode(&only.value[..])?;
    ensure!(made.cluster_name == A, "{made:?}");
    let endpoints = made.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let port = |e: &LbEndpoint| {
        let Some(HostIdentifier::Endpoint(endpoint)) = &e.host_identifier else { return None };
        let Some(Address::SocketAddress(socket)) = endpoint.address.as_ref()?.address.as_ref() else { return None };
        let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
        Some(port)
    };
    Ok(endpoints.filter_map(port).collect())
}

/// Waits until a metric has a value.
async fn metric(mizzen: &Mizzen, series: &str, value: f64) -> Result<()> {
    eventually(&format!("{series} {value}"), PATIENCE, || async {
        let now = mizzen.metric(series).await?;
        ensure!(now == Some(value), "{now:?}");
        anyhow::Ok(())
    })
    .await
}

/// A control plane with service `a`.
async fn start(upstream: &Upstream) -> Result<(ConfigDir, Mizzen)> {
    let config = ConfigDir::new()?;
    config.write("a.yaml", service("a", "http", &[upstream]))?;
    let mizzen = Mizzen::start(MizzenOptions::files(config.path())).await?;
    Ok((config, mizzen))
}

#[tokio::test]
async fn what_makes_no_sense_does_no_harm() -> Result<()> {
    let upstream = Upstream::http("a").await?;
    let (config, mizzen) = start(&upstream).await?;
    let clusters = url::<Cluster>();

    // A stream whose first request does not say who asks ends with the reason, and no other.
    let mut nobody = Stream::open_as(mizzen.grpc(), ask(&clusters, &[])).await?;
    let status = nobody.result().await?.expect_err("refused");
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "missing node information"));

    let mut stream = Stream::open(mizzen.grpc(), ask("type.googleapis.com/nothing.at.All", &["x"])).await?;
    for type_url in ["", "\u{1f4a5}", &"x".repeat(100_000)] {
        stream.send(ask(type_url, &["x"])).await?;
    }
    // A nonce of another stream, or control plane: that is how some clients come back.
    stream.send(DiscoveryRequest { response_nonce: "of before".to_owned(), ..ask(&clusters, &[]) }).await?;
    let first = stream.next::<Cluster>().await?;
    assert_eq!(services(&first)?, ["a"]);

    // Nothing of this is answered, as what comes next shows.
    for message in [None, Some("refused what was never sent")] {
        let error_detail = message.map(|m| RpcStatus { message: m.to_owned(), ..RpcStatus::default() });
        let response_nonce = "wrong".to_owned();
        stream.send(DiscoveryRequest { response_nonce, error_detail, ..ask(&clusters, &[]) }).await?;
    }
    stream.send(ask(&url::<ClusterLoadAssignment>(), &[])).await?;
    stream.answer(&first, &[], None).await?;
    metric(&mizzen, "pilot_xds_expired_nonce{type=\"cds\"}", 2.0).await?;
    config.write("b.yaml", service("b", "http", &[&upstream]))?;
    let second = stream.next::<Cluster>().await?;
    assert_eq!(services(&second)?, ["a", "b"], "the whole set");
    assert_ne!(second.version_info, first.version_info);

    // The nonce of the response before.
    stream.answer(&first, &[], None).await?;
    stream.answer(&second, &[], None).await?;
    metric(&mizzen, "pilot_xds_expired_nonce{type=\"cds\"}", 3.0).await?;
    config.remove("b.yaml")?;
    let third = stream.next::<Cluster>().await?;
    assert_eq!((services(&third)?, &third.version_info), (vec!["a".to_owned()], &first.version_info));
    assert_eq!(mizzen.metric("pilot_total_xds_internal_errors").await?, Some(0.0));
    Ok(())
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again_until_it_is_fixed() -> Result<()> {
    let (one, two, three) = (Upstream::http("1").await?, Upstream::http("2").await?, Upstream::http("3").await?);
    let (config, mizzen) = start(&one).await?;
    let mut stream = Stream::open(mizzen.grpc(), ask(&url::<Cluster>(), &[])).await?;
    let clusters = stream.next::<Cluster>().await?;
    stream.answer(&clusters, &[], None).await?;
    stream.send(ask(&url::<ClusterLoadAssignment>(), &[A])).await?;
    let first = stream.next::<ClusterLoadAssignment>().await?;
    assert_eq!(ports(&first)?, [u32::from(one.port())]);
    stream.answer(&first, &[A], None).await?;

    config.write("a.yaml", service("a", "http", &[&two]))?;
    let refused = stream.next::<ClusterLoadAssignment>().await?;
    assert_eq!(ports(&refused)?, [u32::from(two.port())]);
    stream.answer(&refused, &[A], Some("no such port")).await?;
    metric(&mizzen, "mizzen_quarantined_resources{type=\"eds\"}", 1.0).await?;
    metric(&mizzen, "pilot_total_xds_rejects{type=\"eds\"}", 1.0).await?;

    config.write("a.yaml", service("a", "http", &[&three]))?;
    let fixed = stream.next::<ClusterLoadAssignment>().await?;
    assert_eq!(ports(&fixed)?, [u32::from(three.port())], "what was refused came again");
    stream.answer(&fixed, &[A], None).await?;
    metric(&mizzen, "mizzen_quarantined_resources{type=\"eds\"}", 0.0).await?;
    metric(&mizzen, "pilot_total_xds_rejects{type=\"eds\"}", 1.0).await
}

#[tokio::test]
async fn a_client_comes_back_after_a_kill_and_is_told_the_same() -> Result<()> {
    let upstream = Upstream::http("a").await?;
    let (config, mut mizzen) = start(&upstream).await?;
    let mut stream = Stream::open(mizzen.grpc(), ask(&url::<Cluster>(), &[])).await?;
    let before = stream.next::<Cluster>().await?;
    stream.answer(&before, &[], None).await?;
    mizzen.kill();
    assert!(stream.result().await.is_ok_and(|r| r.is_err()), "the stream goes on");

    mizzen.restart().await?;
    let known = DiscoveryRequest { version_info: before.version_info.clone(), ..ask(&url::<Cluster>(), &[]) };
    let mut stream = Stream::open(mizzen.grpc(), known).await?;
    let again = stream.next::<Cluster>().await?;
    assert_eq!((&again.version_info, &again.resources), (&before.version_info, &before.resources));
    stream.answer(&again, &[], None).await?;
    config.write("b.yaml", service("b", "http", &[&upstream]))?;
    assert_eq!(services(&stream.next::<Cluster>().await?)?, ["a", "b"]);
    Ok(())
}
