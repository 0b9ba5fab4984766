//! `mizzen operator`: IstioOperators in the cluster are looked after, and tell how they are.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{ISTIO_OPERATOR, Mizzen, PATIENCE, Process, eventually};
use serde_json::{Value, json};

use crate::world::World;

fn start(world: &World, dir: &Path, name: &str) -> Result<Process> {
    start_as(&world.server.kubeconfig(), dir, name)
}

fn start_as(kubeconfig: &Path, dir: &Path, name: &str) -> Result<Process> {
    let kubeconfig = kubeconfig.display().to_string();
    let mut command = Mizzen::command(&["operator", "--kubeconfig", &kubeconfig, "--pod-name", name])?;
    Process::spawn("operator", &mut command, dir)
}

fn status(world: &World) -> Result<Value> {
    let text =
        world.server.kubectl(&["get", "istiooperator", "installed-state", "-n", "istio-system", "-o", "json"])?;
    Ok(serde_json::from_str::<Value>(&text)?["status"].clone())
}

/// Waits until the status is so.
async fn until(operator: &mut Process, world: &World, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let waited = operator
        .until(what, PATIENCE * 2, || async {
            let status = status(world)?;
            ensure!(holds(&status), "{status:#}");
            Ok(status)
        })
        .await;
    waited.with_context(|| operator.stdout())
}

/// Says what the controllers of a cluster would of Deployments whose Pods are all ready.
fn make_ready(world: &World) -> Result<()> {
    for name in ["istiod", "istio-ingressgateway", "istio-egressgateway"] {
        let generation: i64 = world
            .server
            .kubectl(&["get", "deployment", name, "-n", "istio-system", "-o=jsonpath={.metadata.generation}"])?
            .parse()?;
        let status = json!({"status": {"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
            "readyReplicas": 1, "availableReplicas": 1}});
        let patch = format!("--patch={status}");
        world.server.kubectl(&[
            "patch",
            "deployment",
            name,
            "-n",
            "istio-system",
            "--subresource=status",
            "--type=merge",
            &patch,
        ])?;
    }
    Ok(())
}

#[tokio::test]
async fn an_object_is_installed_repaired_and_removed_and_tells_how_it_is() -> Result<()> {
    let world = World::start().await?;
    let dir = tempfile::tempdir()?;
    let mut operator = start(&world, dir.path(), "one")?;
    // It brings the definition of the kind.
    operator
        .until("the definition", PATIENCE, || async {
            world.server.kubectl(&["wait", "--for=condition=Established", "crd/istiooperators.install.istio.io"])
        })
        .await?;
    let file = std::fs::read_to_string(ISTIO_OPERATOR)?;
    world.server.apply(&file.replace("    defaultRevision:", "    noSuchValue: x\n    defaultRevision:"))?;
    let of = |status: &Value, component: &str| status["componentStatus"][component]["status"].clone();
    let seen = until(&mut operator, &world, "the installation", |s| s["status"] == "RECONCILING").await?;
    assert_eq!(of(&seen, "Base"), "HEALTHY", "{seen:#}");
    for component in ["Pilot", "IngressGateways", "EgressGateways"] {
        assert_eq!(of(&seen, component), "RECONCILING", "{seen:#}");
    }
    ensure!(
        seen["message"].as_str().is_some_and(|text| text.contains("spec.values.noSuchValue is not known")),
        "{seen:#}"
    );
    make_ready(&world)?;
    let seen = until(&mut operator, &world, "health", |s| s["status"] == "HEALTHY").await?;
    assert_eq!(of(&seen, "Pilot"), "HEALTHY", "{seen:#}");
    // What somebody changes is changed back.
    world.server.kubectl(&["scale", "deployment", "istiod", "--replicas=5", "-n", "istio-system"])?;
    operator
        .until("one replica", PATIENCE, || async {
            let replicas = world.server.kubectl(&[
                "get",
                "deployment",
                "istiod",
                "-n",
                "istio-system",
                "-o=jsonpath={.spec.replicas}",
            ])?;
            ensure!(replicas == "1", "{replicas}");
            Ok(())
        })
        .await?;
    let patch = r#"--patch={"spec": {"components": {"pilot": {"k8s": {"replicaCount": "many"}}}}}"#;
    let edit = |patch: &str| {
        world.server.kubectl(&["patch", "iop", "installed-state", "-n", "istio-system", "--type=merge", patch])
    };
    edit(patch)?;
    let seen = until(&mut operator, &world, "the error", |s| s["status"] == "ERROR").await?;
    ensure!(seen["message"].as_str().is_some_and(|text| text.contains("replicaCount: invalid type")), "{seen:#}");
    edit(r#"--patch={"spec": {"components": {"pilot": {"k8s": null}}}}"#)?;
    until(&mut operator, &world, "that it is mended", |s| s["status"] != "ERROR").await?;
    world.server.kubectl(&["delete", "iop", "installed-state", "-n", "istio-system", "--timeout=60s"])?;
    assert_eq!(world.installed()?, Vec::<String>::new());
    operator.terminate(PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn the_rights_of_the_file_that_runs_it_are_enough_and_not_all() -> Result<()> {
    let world = World::start().await?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/install/operator.yaml").display().to_string();
    world.server.kubectl(&["apply", "-f", &file])?;
    let token = world.server.kubectl(&["create", "token", "mizzen-operator", "--namespace=istio-operator"])?;
    let kubeconfig = world.server.kubeconfig_of("mizzen-operator", token.trim())?;
    let dir = tempfile::tempdir()?;
    let mut operator = start_as(&kubeconfig, dir.path(), "one")?;
    operator
        .until("the definition", PATIENCE, || async {
            world.server.kubectl(&["wait", "--for=condition=Established", "crd/istiooperators.install.istio.io"])
        })
        .await?;
    world.server.apply(&std::fs::read_to_string(ISTIO_OPERATOR)?)?;
    until(&mut operator, &world, "the installation", |s| s["status"] == "RECONCILING").await?;
    make_ready(&world)?;
    until(&mut operator, &world, "health", |s| s["status"] == "HEALTHY").await?;
    world.server.kubectl(&["delete", "iop", "installed-state", "-n", "istio-system", "--timeout=60s"])?;
    assert_eq!(world.installed()?, Vec::<String>::new());
    for (verb, what) in [
        ("delete", "namespaces"),
        ("create", "pods"),
        ("delete", "secrets"),
        ("update", "virtualservices.networking.istio.io"),
    ] {
        let account = "--as=system:serviceaccount:istio-operator:mizzen-operator";
        let said = world.server.kubectl(&["auth", "can-i", verb, what, "--all-namespaces", account]);
        ensure!(said.is_err(), "it may {verb} {what}");
    }
    operator.terminate(PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn one_replica_installs_and_nothing_is_written_when_nothing_changed() -> Result<()> {
    let world = World::start().await?;
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut first = start(&world, one.path(), "one")?;
    first
        .until("the definition", PATIENCE, || async {
            world.server.kubectl(&["wait", "--for=condition=Established", "crd/istiooperators.install.istio.io"])
        })
        .await?;
    let second = start(&world, two.path(), "two")?;
    world.server.apply(&std::fs::read_to_string(ISTIO_OPERATOR)?)?;
    until(&mut first, &world, "the installation", |s| s["status"] == "RECONCILING").await?;
    make_ready(&world)?;
    until(&mut first, &world, "health", |s| s["status"] == "HEALTHY").await?;
    let before = (world.installed()?, world.list(&["get", "iop", "-A"])?);
    // A label is nothing that an installation is about, but the operator looks at all of it again.
    world.server.kubectl(&["annotate", "deployment", "istiod", "-n", "istio-system", "look=again"])?;
    eventually("another look", PATIENCE, || async {
        let now = world.installed()?;
        let changed = now.iter().filter(|line| !before.0.contains(line)).count();
        ensure!(changed == 1, "{now:#?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(world.list(&["get", "iop", "-A"])?, before.1);
    ensure!(!second.stdout().contains("applied"), "{}", second.stdout());
    Ok(())
}
