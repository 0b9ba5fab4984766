//! `mizzen agent` with a real Envoy, the token of a service account, and the control plane's own authority.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{ApiServer, Mizzen, MizzenOptions, PATIENCE, Pod, PodOptions, Request, eventually};
use serde_json::{Value, json};

/// A control plane in a cluster with service account `shop/web`.
struct World {
    server: ApiServer,
    mizzen: Mizzen,
}

impl World {
    async fn start() -> Result<Self> {
        let server = ApiServer::start().await?;
        server.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")?;
        for account in ["web", "other"] {
            server.apply(&format!(
                "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: shop}}}}"
            ))?;
        }
        let mizzen = Mizzen::start(MizzenOptions::cluster(&server.kubeconfig())).await?;
        Ok(Self { server, mizzen })
    }

    /// A sidecar with a token of an account; it says that it is `shop/web`.
    async fn pod(&self, account: &str) -> Result<PodOptions> {
        let roots = eventually("the roots in the namespace", PATIENCE, || async {
            let path = "-o=jsonpath={.data.root-cert\\.pem}";
            let roots = self.server.kubectl(&["get", "configmap/istio-ca-root-cert", "--namespace=shop", path])?;
            ensure!(roots.contains("BEGIN CERTIFICATE"), "{roots}");
            anyhow::Ok(roots)
        })
        .await?;
        let token = self.server.kubectl(&["create", "token", account, "--namespace=shop", "--audience=istio-ca"])?;
        let mut options = PodOptions::plaintext("sidecar", self.mizzen.secure_grpc());
        // This machine stands for the control plane's service, whose name its certificate has.
        options.discovery = format!("localhost:{}", self.mizzen.secure_grpc().port());
        token.trim().clone_into(&mut options.token);
        (options.roots, options.config) = (roots, json!({}));
        Ok(options)
    }
}

/// Waits until the agent counts certificates.
async fn certificates(pod: &Pod, at_least: u64) -> Result<()> {
    eventually(&format!("{at_least} certificates"), PATIENCE, || async {
        let text = pod.page(&Request::get("/stats/prometheus")).await?.text();
        let line = text.lines().find_map(|line| line.strip_prefix("istio_agent_certificates_total "));
        let count: u64 = line.context("no such metric")?.parse()?;
        ensure!(count >= at_least, "{count}");
        anyhow::Ok(())
    })
    .await
    .with_context(|| pod.log())
}

#[tokio::test]
async fn a_service_account_gets_configuration_and_certificates() -> Result<()> {
    let world = World::start().await?;
    // The shorter its life, the sooner it is renewed.
    let options = world.pod("web").await?.env("SECRET_TTL", "20s").env("SECRET_GRACE_PERIOD_RATIO", "0.9");
    let mut pod = Pod::start(&options)?;
    pod.wait_ready().await?;
    certificates(&pod, 2).await?;
    let clients = world.mizzen.json("/debug/syncz").await?;
    assert_eq!(clients[0]["proxy"], "web-1.shop", "{clients}");
    let rejected = pod.admin().stats("update_rejected$").await?;
    assert!(rejected.values().all(|count| *count == 0), "{rejected:?}");
    Ok(())
}

#[tokio::test]
async fn keys_may_be_rsa() -> Result<()> {
    let world = World::start().await?;
    let pod = Pod::start(&world.pod("web").await?.env("WORKLOAD_RSA_KEY_SIZE", "2048"))?;
    pod.logs("the workload has a certificate").await?;
    certificates(&pod, 1).await
}

#[tokio::test]
async fn the_token_of_another_account_or_none_is_refused() -> Result<()> {
    let world = World::start().await?;
    // A certificate there is: that of the token's account. But nothing of what belongs to another.
    let pod = Pod::start(&world.pod("other").await?)?;
    certificates(&pod, 1).await?;
    let unready = pod.page(&Request::get("/healthz/ready")).await?;
    assert_eq!(unready.status, 503, "{}", unready.text());
    let mut options = world.pod("web").await?;
    options.token = "a.b.c".to_owned();
    let pod = Pod::start(&options)?;
    pod.logs("the authority refused").await?;
    let clients = world.mizzen.json("/debug/syncz").await?;
    assert_eq!(clients.as_array().map(Vec::<Value>::len), Some(0), "{clients}");
    Ok(())
}

#[tokio::test]
async fn a_new_token_is_taken_without_a_restart() -> Result<()> {
    let world = World::start().await?;
    let good = world.pod("web").await?;
    let mut options = good.clone();
    options.token = String::new();
    let mut pod = Pod::start(&options)?;
    pod.logs("no certificate for spiffe://cluster.local/ns/shop/sa/web").await?;
    std::fs::write(pod.folder().join("var/run/secrets/tokens/istio-token"), &good.token)?;
    tokio::time::timeout(Duration::from_secs(60), pod.wait_ready()).await??;
    certificates(&pod, 1).await
}
