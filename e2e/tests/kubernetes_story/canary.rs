//! A second revision beside the first one: a namespace that asks for it gets its proxies, and both speak with each other.

use anyhow::{Result, ensure};
use mizzen_e2e::{Cluster, ISTIO_OPERATOR, Mizzen, PATIENCE, SYSTEM, eventually};
use serde_json::Value;

use super::world::{World, client, echo};

const REVISION: &str = "canary";
const NAMESPACE: &str = "of-canary";

#[tokio::test]
async fn a_namespace_of_a_canary_is_injected_and_served_by_it() -> Result<()> {
    let world = World::enter("of-default").await?;
    let settings = ["-f", ISTIO_OPERATOR, "--set", "profile=minimal", "--set", "revision=canary"];
    let gateways = ["ingressGateways", "egressGateways"].map(|kind| format!("components.{kind}[0].enabled=false"));
    let without = ["--set", &gateways[0], "--set", &gateways[1]];
    run(&world, &[&["install", "-y", "--readiness-timeout", "3m"], &settings[..], &without].concat())?;
    // Pods are not waited for that are made before it is known to work.
    let webhook = "mutatingwebhookconfiguration/istio-sidecar-injector-canary";
    world.system(&["wait", "--for=jsonpath={.webhooks[0].failurePolicy}=Fail", webhook, "--timeout=30s"])?;
    let canary = Cluster::namespace(NAMESPACE)?;
    canary.kubectl(&["label", "namespace", NAMESPACE, &format!("istio.io/rev={REVISION}")])?;
    canary.apply(&echo("web", 1))?;
    world.run(&client())?;
    canary.wait_ready()?;
    its_pod_is_of_the_canary(&world, &canary).await?;
    // The proxy of the first revision trusts that of the second one.
    let asked = ["curl", "-sS", "--fail", "--max-time", "10", "http://web.of-canary/"];
    let said = eventually("an answer", PATIENCE, || async { world.exec("deploy/client", "curl", &asked) }).await?;
    ensure!(said.contains("URI=spiffe://cluster.local/ns/of-default/sa/client"), "{said}");

    run(&world, &["uninstall", "--revision", REVISION, "-y"])?;
    let of_canary = format!("istio.io/rev={REVISION}");
    let left =
        world.system(&["get", "deployments,services,mutatingwebhookconfigurations", "-l", &of_canary, "-o=name"])?;
    assert_eq!(left, "", "it is not removed");
    world.rolled_out(SYSTEM, "istiod")?;
    world.exec("deploy/client", "curl", &asked).map(drop)
}

async fn its_pod_is_of_the_canary(world: &World, canary: &Cluster) -> Result<()> {
    let pods: Value = serde_json::from_str(&canary.kubectl(&["get", "pods", "-o=json"])?)?;
    let pod = &pods["items"][0];
    assert_eq!(pod["metadata"]["annotations"]["istio.io/rev"], REVISION, "{pod:#}");
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let bootstrap = ["exec", name, "-c", "istio-proxy", "--", "cat", "/etc/istio/proxy/envoy-rev.json"];
    let bootstrap: Value = serde_json::from_str(&canary.kubectl(&bootstrap)?)?;
    let address = bootstrap.pointer("/node/metadata/PROXY_CONFIG/discoveryAddress").cloned().unwrap_or_default();
    assert_eq!(address, "istiod-canary.istio-system.svc:15012");
    let status = |revision: &str| run(world, &["proxy-status", "--revision", revision]);
    let name = format!("{name}.{NAMESPACE}");
    eventually("the proxy at the canary", PATIENCE, || async {
        let table = status(REVISION)?;
        let row = table.lines().find(|line| line.starts_with(&name)).unwrap_or_default().to_owned();
        ensure!(row.contains("istiod-canary-") && row.matches("SYNCED (").count() == 4, "{table}");
        ensure!(!status("default")?.contains(&name), "the first revision has it too");
        anyhow::Ok(())
    })
    .await
}

/// Runs mizzen on the cluster, and returns what it prints.
fn run(world: &World, args: &[&str]) -> Result<String> {
    let kubeconfig = world.cluster.kubeconfig().display().to_string();
    let done = Mizzen::run(&[args, &["--kubeconfig", &kubeconfig]].concat())?;
    ensure!(done.status.success(), "mizzen {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
