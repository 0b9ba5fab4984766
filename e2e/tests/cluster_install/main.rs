//! `mizzen install`, `manifest diff`, `uninstall` and `operator` on a real API server.

mod bad_input;
mod operator;
mod world;

use std::path::Path;

use anyhow::{Result, ensure};
use mizzen_e2e::ISTIO_OPERATOR;

use self::world::World;

/// How many definitions there are.
fn definitions() -> usize {
    mizzen::api::crds::definitions().len()
}

fn has(all: &[String], what: &str) -> bool {
    all.iter().any(|line| line.starts_with(&format!("{what} ")))
}

#[tokio::test]
async fn a_second_installation_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let said = world.install(&[])?;
    ensure!(said.contains("created Deployment istio-system/istiod"), "{said}");
    let everything = || -> Result<_> { Ok((world.installed()?, world.list(&["get", "crd"])?)) };
    let first = everything()?;
    for object in [
        "Deployment istio-system/istiod",
        "Deployment istio-system/istio-ingressgateway",
        "Deployment istio-system/istio-egressgateway",
        "Service istio-system/istiod",
        "PodDisruptionBudget istio-system/istiod",
        "PodDisruptionBudget istio-system/istio-ingressgateway",
        "ConfigMap istio-system/istio",
        "ConfigMap istio-system/istio-sidecar-injector",
        "MutatingWebhookConfiguration /istio-sidecar-injector",
        "ValidatingWebhookConfiguration /istio-validator-istio-system",
        "ValidatingWebhookConfiguration /istiod-default-validator",
        "ServiceAccount istio-system/istio-ingressgateway-service-account",
        "ClusterRole /istiod-clusterrole-istio-system",
    ] {
        ensure!(has(&first.0, object), "no {object} among {:#?}", first.0);
    }
    ensure!(first.1.len() == definitions(), "{:#?}", first.1);
    let said = world.install(&[])?;
    ensure!(said.contains("0 created, 0 changed") && said.contains("0 removed"), "{said}");
    assert_eq!(everything()?, first);
    // What the control plane has decided stays: it answers webhooks now.
    for configuration in [
        "mutatingwebhookconfiguration/istio-sidecar-injector",
        "validatingwebhookconfiguration/istiod-default-validator",
    ] {
        world.server.kubectl(&[
            "patch",
            configuration,
            "--type=json",
            r#"--patch=[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
            {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "Q0E="}]"#,
        ])?;
    }
    let patched = everything()?;
    world.install(&[])?;
    assert_eq!(everything()?, patched);
    Ok(())
}

#[tokio::test]
async fn what_the_manifest_no_longer_holds_goes_and_nothing_else() -> Result<()> {
    let world = World::start().await?;
    world.install(&[])?;
    world.server.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: istio-system}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: of-another-file, namespace: istio-system, labels: {
    app.kubernetes.io/managed-by: mizzen, istio.io/rev: default, operator.istio.io/component: Pilot,
    install.operator.istio.io/owning-resource: other, install.operator.istio.io/owning-resource-namespace: istio-system}}}",
    )?;
    let said = world.install(&["--set", "components.egressGateways[0].enabled=false"])?;
    ensure!(said.contains("removed Deployment istio-system/istio-egressgateway"), "{said}");
    let left = world.installed()?;
    ensure!(!left.iter().any(|line| line.contains("egressgateway")), "{left:#?}");
    ensure!(has(&left, "Deployment istio-system/istio-ingressgateway"), "{left:#?}");
    ensure!(has(&left, "ConfigMap istio-system/of-another-file"), "{left:#?}");
    world.server.kubectl(&["get", "configmap", "mine", "--namespace=istio-system"])?;
    ensure!(world.list(&["get", "crd"])?.len() == definitions());
    Ok(())
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_tells_what_it_would() -> Result<()> {
    let world = World::start().await?;
    // Its namespace is not there either.
    let elsewhere = ["--set", "values.global.istioNamespace=mesh"];
    let said = world.install(&[&["--dry-run"], &elsewhere[..]].concat())?;
    ensure!(said.contains("would create Deployment mesh/istiod"), "{said}");
    assert_eq!(world.installed()?, Vec::<String>::new());
    assert_eq!(world.list(&["get", "crd"])?, Vec::<String>::new());
    world.install(&elsewhere)?;
    let diff = |args: &[&str]| -> Result<(Option<i32>, String)> {
        let output = world.run(&[&["manifest", "diff", "-f", ISTIO_OPERATOR], &elsewhere[..], args].concat())?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    assert_eq!(diff(&[])?, (Some(0), String::new()));
    let before = world.installed()?;
    let (code, text) = diff(&[
        "--set",
        "components.pilot.k8s.replicaCount=2",
        "--set",
        "components.egressGateways[0].enabled=false",
        "--set",
        "values.pilot.podAnnotations.added=x",
    ])?;
    assert_eq!(code, Some(1), "{text}");
    for line in [
        "~ Deployment mesh/istiod\n",
        "    /spec/replicas: 1 -> 2\n",
        "    /spec/template/metadata/annotations/added: (nothing) -> \"x\"\n",
        "- Deployment mesh/istio-egressgateway\n",
    ] {
        ensure!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert_eq!(world.installed()?, before);
    Ok(())
}

#[tokio::test]
async fn an_installation_goes_and_leaves_definitions_and_what_users_have() -> Result<()> {
    let world = World::start().await?;
    let namespace = ["--set", "values.global.istioNamespace=mesh"];
    world.install(&namespace)?;
    world.install(&["--revision", "canary"])?;
    world.server.apply(
        "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: mine, namespace: default}, spec: {hosts: [a]}}",
    )?;
    let said = world.ok(&["uninstall", "-f", ISTIO_OPERATOR, "--revision", "canary", "-y", "--dry-run"])?;
    ensure!(said.contains("would remove Deployment istio-system/istiod-canary"), "{said}");
    // The gateways have gone over to the revision that was installed last.
    world.ok(&["uninstall", "--revision", "canary", "-y"])?;
    let left = world.installed()?;
    ensure!(has(&left, "Deployment mesh/istiod"), "{left:#?}");
    ensure!(!left.iter().any(|line| line.contains("canary")), "{left:#?}");
    world.ok(&["uninstall", "--purge", "-y"])?;
    assert_eq!(world.installed()?, Vec::<String>::new());
    ensure!(world.list(&["get", "crd"])?.len() == definitions());
    world.server.kubectl(&["get", "virtualservice", "mine", "--namespace=default"])?;
    // One namespace was made for it, the other one was there before.
    let phase = |name: &str| world.server.kubectl(&["get", "namespace", name, "-o=jsonpath={.status.phase}"]);
    assert_eq!((phase("mesh")?.as_str(), phase("istio-system")?.as_str()), ("Terminating", "Active"));
    // There is no controller that would finish it.
    let said = world.fails(&[&["install", "-f", ISTIO_OPERATOR, "-y"], &namespace[..]].concat())?;
    ensure!(said.contains("the namespace mesh is being deleted: install again when it is gone"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_files_for_kubectl_are_accepted_and_become_an_installation() -> Result<()> {
    let world = World::start().await?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    world.server.apply_path(&repository.join("crds"))?;
    world.server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
    for profile in ["default", "demo"] {
        // As people apply files: by the client, twice.
        let file = repository.join(format!("manifests/install/{profile}.yaml")).display().to_string();
        for _ in 0..2 {
            world.server.kubectl(&["apply", "-f", &file])?;
        }
    }
    ensure!(has(&world.installed()?, "Deployment istio-system/istio-egressgateway"));
    let args = ["manifest", "diff", "--set", "profile=demo"];
    let output = world.run(&args)?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The default profile's autoscalers are not the demo's.
    let changes: Vec<&str> = text.lines().filter(|line| !line.contains("HorizontalPodAutoscaler")).collect();
    ensure!(changes.iter().all(|line| line.contains("Namespace")), "{text}");
    Ok(())
}
