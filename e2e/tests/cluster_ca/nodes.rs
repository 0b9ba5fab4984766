//! A node's proxy that asks for certificates of the workloads on its node.

use anyhow::{Context, Result};
use mizzen_e2e::{
    Mizzen,
    workload::{Issued, ask_for, connect},
};
use tonic::{Code, Status, transport::Channel};

use super::world::World;

/// A pod that nothing runs, on a node that is not there.
fn pod(namespace: &str, name: &str, account: &str, node: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{serviceAccountName: {account}, nodeName: {node}, containers: [{{name: c, image: none}}]}}}}"
    )
}

async fn impersonate(channel: &Channel, token: &str, account: &str) -> Result<Issued, Status> {
    ask_for(channel, Some(token), Some(&format!("spiffe://cluster.local/ns/shop/sa/{account}"))).await
}

#[tokio::test]
async fn a_trusted_node_account_asks_for_workloads_of_its_node_only() -> Result<()> {
    let world = World::start().await?;
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: ztunnel, namespace: istio-system}}";
    let pods = [
        pod("istio-system", "ztunnel-1", "ztunnel", "node-1"),
        pod("shop", "web-1", "web", "node-1"),
        pod("shop", "other-1", "other", "node-2"),
    ];
    world.server.apply(&[account, &pods.join("\n---\n")].join("\n---\n"))?;
    let mizzen = Mizzen::start(world.options("one").env("CA_TRUSTED_NODE_ACCOUNTS", "istio-system/ztunnel")).await?;
    let bound = ["--bound-object-kind=Pod", "--bound-object-name=ztunnel-1"];
    let args = ["create", "token", "ztunnel", "--namespace=istio-system", "--audience=istio-ca"];
    let token = world.server.kubectl(&[args.as_slice(), &bound].concat())?;
    let channel = connect(mizzen.secure_grpc(), &world.kept_root()?, None).await?;

    let given = impersonate(&channel, token.trim(), "web").await?;
    assert!(given.names()?.contains("URI:spiffe://cluster.local/ns/shop/sa/web"), "{}", given.names()?);
    let refused = impersonate(&channel, token.trim(), "other").await.err().context("refused")?;
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("no pod of shop/other runs on the caller's node"), "{refused:?}");
    // A token that is bound to no pod says nothing of a node, and others are not trusted at all.
    let unbound = world.server.kubectl(&args)?;
    let refused = impersonate(&channel, unbound.trim(), "web").await.err().context("refused")?;
    assert!(refused.message().contains("bound to no pod that runs"), "{refused:?}");
    let refused = impersonate(&channel, &world.token("other", "istio-ca")?, "web").await.err().context("refused")?;
    assert!(refused.message().contains("shop/other is not among CA_TRUSTED_NODE_ACCOUNTS"), "{refused:?}");
    Ok(())
}
