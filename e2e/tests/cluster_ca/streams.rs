//! Streams of proxies that prove by a token who they are.

use anyhow::{Context, Result};
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::protobuf::{Struct, Value, value::Kind},
};
use mizzen_e2e::PATIENCE;
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};

use super::world::{World, ask, connect};

/// Asks for clusters as a proxy of a service account of namespace `shop`; the answer's type.
async fn clusters(channel: &Channel, account: &str, token: Option<&str>) -> Result<String, Status> {
    let text = |s: &str| Value { kind: Some(Kind::StringValue(s.to_owned())) };
    let fields = [("NAMESPACE", "shop"), ("SERVICE_ACCOUNT", account)];
    let metadata = Struct { fields: fields.map(|(k, v)| (k.to_owned(), text(v))).into() };
    let node = Node {
        id: format!("sidecar~10.0.0.1~{account}.shop~shop.svc.cluster.local"),
        metadata: Some(metadata),
        ..Node::default()
    };
    let first = DeltaDiscoveryRequest {
        node: Some(node),
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
        ..DeltaDiscoveryRequest::default()
    };
    let requests = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    let mut request = Request::new(requests);
    if let Some(token) = token {
        let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
    let mut client = AggregatedDiscoveryServiceClient::new(channel.clone());
    let mut answers = client.delta_aggregated_resources(request).await?.into_inner();
    let answer = tokio::time::timeout(PATIENCE, answers.message()).await;
    let answer = answer.map_err(|_| Status::deadline_exceeded("no answer"))??;
    Ok(answer.ok_or_else(|| Status::aborted("the stream ended"))?.type_url)
}

#[tokio::test]
async fn a_stream_is_that_of_the_identity_which_its_token_or_certificate_proves() -> Result<()> {
    let world = World::start().await?;
    let mizzen = world.mizzen().await?;
    let root = world.kept_root()?;
    let channel = connect(mizzen.secure_grpc(), &root, None).await?;
    let token = world.token("web", "istio-ca")?;
    let served = clusters(&channel, "web", Some(&token)).await?;
    assert!(served.ends_with(".Cluster"), "{served}");

    let vault = world.token("web", "vault")?;
    for (account, token, code) in [
        ("web", None, Code::Unauthenticated),
        ("web", Some("a.b.c"), Code::Unauthenticated),
        ("web", Some(vault.as_str()), Code::Unauthenticated),
        ("other", Some(token.as_str()), Code::PermissionDenied),
    ] {
        let refused = clusters(&channel, account, token).await.err().context("refused")?;
        assert_eq!(refused.code(), code, "{account}: {refused:?}");
    }

    let own = ask(&channel, Some(&token)).await?;
    let proved = connect(mizzen.secure_grpc(), &root, Some(&own.pair)).await?;
    clusters(&proved, "web", None).await?;
    let refused = clusters(&proved, "other", None).await.err().context("refused")?;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    Ok(())
}
