//! Streams of proxies that prove by a token who they are.

use anyhow::{Context, Result};
use mizzen_e2e::workload::{ask, clusters, connect, node};
use tonic::Code;

use super::world::World;

#[tokio::test]
async fn a_stream_is_that_of_the_identity_which_its_token_or_certificate_proves() -> Result<()> {
    let world = World::start().await?;
    let mizzen = world.mizzen().await?;
    let root = world.kept_root()?;
    let channel = connect(mizzen.secure_grpc(), &root, None).await?;
    let token = world.token("web", "istio-ca")?;
    let served = clusters(&channel, node("shop", "web"), Some(&token)).await?;
    assert!(served.ends_with(".Cluster"), "{served}");

    let vault = world.token("web", "vault")?;
    for (namespace, account, token, code) in [
        ("shop", "web", None, Code::Unauthenticated),
        ("shop", "web", Some("a.b.c"), Code::Unauthenticated),
        ("shop", "web", Some(vault.as_str()), Code::Unauthenticated),
        ("shop", "other", Some(token.as_str()), Code::PermissionDenied),
        ("kube-system", "web", Some(token.as_str()), Code::PermissionDenied),
    ] {
        let refused = clusters(&channel, node(namespace, account), token).await.err().context("refused")?;
        assert_eq!(refused.code(), code, "{namespace}/{account}: {refused:?}");
    }

    let own = ask(&channel, Some(&token)).await?;
    let proved = connect(mizzen.secure_grpc(), &root, Some(&own.pair)).await?;
    clusters(&proved, node("shop", "web"), None).await?;
    let refused = clusters(&proved, node("shop", "other"), None).await.err().context("refused")?;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    Ok(())
}
