//! Files that are wrong, rights that are missing, servers that are away, and installations that were interrupted.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use mizzen_e2e::{ISTIO_OPERATOR, Mizzen, PATIENCE, eventually};

use crate::world::World;

/// What of an IstioOperator is wrong, and what is said of it.
const WRONG: [(&str, &str); 6] = [
    ("profile: nonsense", "there is no profile \"nonsense\": there are default, demo, empty, minimal, remote"),
    (
        "components: {pilot: {k8s: {replicaCount: many}}}",
        "spec.components.pilot.k8s.replicaCount: invalid type: string \"many\", expected i32",
    ),
    (
        "values: {global: {proxy: {privileged: maybe}}}",
        "spec.values.global.proxy.privileged: invalid type: string \"maybe\", expected a boolean",
    ),
    ("components: {ingressGateways: [{enabled: true}]}", "spec.components.ingressGateways[1].name: must be given"),
    (
        "components: {pilot: {k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: spec.nothing.x}]}]}}}",
        "overlay of Deployment istio-system/istiod at spec.nothing.x: there is no",
    ),
    ("revision: A_B", "spec.revision: \"A_B\" must be at most 56 lower-case letters"),
];

#[tokio::test]
async fn what_is_wrong_in_a_file_is_named_and_nothing_is_written() -> Result<()> {
    let world = World::start().await?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("wrong.yaml");
    let path = file.display().to_string();
    for (spec, expected) in WRONG {
        fs::write(&file, format!("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  {spec}\n"))?;
        let said = world.fails(&["install", "-f", &path, "-y"])?;
        ensure!(said.contains(expected), "{spec}: {said}");
    }
    fs::write(&file, "{apiVersion: v1, kind: Pod, metadata: {name: x}}")?;
    let said = world.fails(&["install", "-f", &path, "-y"])?;
    ensure!(said.contains("holds a Pod of v1: it must hold an IstioOperator"), "{said}");
    // What only the API server sees is told with its words, and the object.
    let said = world.fails(&[
        "install",
        "-f",
        ISTIO_OPERATOR,
        "-y",
        "--set",
        "components.pilot.k8s.strategy.type=Sometimes",
    ])?;
    ensure!(said.contains("cannot patch Deployment istio-system/istiod") && said.contains("Sometimes"), "{said}");
    let said = world.fails(&["install", "-f", ISTIO_OPERATOR])?;
    ensure!(said.contains("There is nobody to ask: say -y to go on"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_missing_right_is_named_and_how_to_grant_it() -> Result<()> {
    let world = World::start().await?;
    let user = world.server.kubeconfig_of_user()?.display().to_string();
    let install = || -> Result<String> {
        let args = ["install", "-f", ISTIO_OPERATOR, "-y", "--readiness-timeout", "0", "--kubeconfig", &user];
        let output = Mizzen::run(&args)?;
        ensure!(!output.status.success());
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = install()?;
    ensure!(said.contains("not allowed to get customresourcedefinitions.apiextensions.k8s.io: grant it"), "{said}");
    // With all rights but one it goes on to where that is needed.
    world.server.apply(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: installer}
rules:
- {apiGroups: [apiextensions.k8s.io], resources: ['*'], verbs: ['*']}
- {apiGroups: [''], resources: ['*'], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: installer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: installer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: user}]",
    )?;
    let said = eventually("the rules to hold", PATIENCE, || async {
        let said = install()?;
        ensure!(said.contains("clusterroles"), "{said}");
        Ok::<_, anyhow::Error>(said)
    })
    .await?;
    let rule = r#"{"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"verbs":["get","list","create","patch","delete"]}"#;
    ensure!(said.contains(rule), "{said}");
    // Half-way: the administrator does the rest.
    let said = world.install(&[])?;
    ensure!(
        said.contains("created Deployment istio-system/istiod") && !said.contains("created ServiceAccount"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_away_is_told() -> Result<()> {
    let mut world = World::start().await?;
    world.server.kill();
    let said = world.fails(&["install", "-f", ISTIO_OPERATOR, "-y"])?;
    ensure!(said.contains("cannot reach the API server: is the kubeconfig that of the cluster"), "{said}");
    let said = world.fails(&["uninstall", "--purge", "-y"])?;
    ensure!(said.contains("cannot reach the API server"), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_does_not_become_ready_is_told_with_its_reason() -> Result<()> {
    let world = World::start().await?;
    let said = world.fails(&["install", "-f", ISTIO_OPERATOR, "-y", "--readiness-timeout", "1s"])?;
    ensure!(said.contains("not ready after 1 s: Deployment istio-system/istiod: its controller"), "{said}");
    Ok(())
}

#[tokio::test]
async fn an_interrupted_installation_is_completed_by_another_one() -> Result<()> {
    let world = World::start().await?;
    let kubeconfig = world.server.kubeconfig().display().to_string();
    let args = ["install", "-f", ISTIO_OPERATOR, "-y", "--readiness-timeout", "0", "--kubeconfig", &kubeconfig];
    let mut command: Command = Mizzen::command(&args)?;
    let mut child = command.stderr(Stdio::null()).spawn()?;
    eventually("some of the objects", PATIENCE, || async {
        let there = world.list(&["get", "crd"])?;
        ensure!(there.len() > 2, "{there:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    child.kill()?;
    child.wait()?;
    world.install(&[])?;
    let said = world.install(&[])?;
    ensure!(said.contains("0 created, 0 changed"), "{said}");
    ensure!(world.list(&["get", "crd"])?.len() == crate::definitions());
    Ok(())
}
