//! An installation in a whole Kubernetes: what people look at after `mizzen install` is there, and runs.

use std::fs;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Installed, Mizzen, PATIENCE, eventually};
use serde_json::{Value, json};

/// Istio's kinds, and that of the installation itself.
const DEFINITIONS: [&str; 16] = [
    "authorizationpolicies.security.istio.io",
    "destinationrules.networking.istio.io",
    "envoyfilters.networking.istio.io",
    "gateways.networking.istio.io",
    "istiooperators.install.istio.io",
    "peerauthentications.security.istio.io",
    "proxyconfigs.networking.istio.io",
    "requestauthentications.security.istio.io",
    "serviceentries.networking.istio.io",
    "sidecars.networking.istio.io",
    "telemetries.telemetry.istio.io",
    "trafficextensions.extensions.istio.io",
    "virtualservices.networking.istio.io",
    "wasmplugins.extensions.istio.io",
    "workloadentries.networking.istio.io",
    "workloadgroups.networking.istio.io",
];

fn get(installed: &Installed, what: &str) -> Result<Value> {
    serde_json::from_str(&installed.kubectl(&["get", what, "-o", "json"])?).with_context(|| what.to_owned())
}

#[tokio::test]
async fn services_workloads_budgets_and_definitions_are_there() -> Result<()> {
    let installed = Installed::get()?;
    // As kubectl's table has it: name, number and where it leads.
    let ports = |service: &str| -> Result<Value> {
        let service = get(&installed, &format!("service/{service}"))?;
        let ports = service["spec"]["ports"].as_array().context("ports")?;
        Ok(ports.iter().map(|port| json!([port["name"], port["port"], port["targetPort"]])).collect())
    };
    let control_plane = json!([
        ["grpc-xds", 15010, 15010],
        ["https-dns", 15012, 15012],
        ["https-webhook", 443, 15017],
        ["http-monitoring", 15014, 15014]
    ]);
    assert_eq!(ports("istiod")?, control_plane);
    let ingress = json!([
        ["status-port", 15021, 15021],
        ["http2", 80, 8080],
        ["https", 443, 8443],
        ["tcp", 31400, 31400],
        ["tls", 15443, 15443]
    ]);
    assert_eq!(ports("istio-ingressgateway")?, ingress);
    assert_eq!(ports("istio-egressgateway")?, json!([["http2", 80, 8080], ["https", 443, 8443]]));
    for name in ["istiod", "istio-ingressgateway", "istio-egressgateway"] {
        let line = installed.kubectl(&["get", "deployment", name, "--no-headers"])?;
        assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), [name, "1/1"]);
        let budget = get(&installed, &format!("poddisruptionbudget/{name}"))?;
        assert_eq!(budget["spec"]["minAvailable"], 1);
        assert_eq!(budget["status"]["currentHealthy"], 1, "{budget:#}");
    }
    let names = installed.kubectl(&["get", "crd", "-o", "name"])?;
    for definition in DEFINITIONS {
        ensure!(names.contains(&format!("/{definition}\n")), "no {definition} in {names}");
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_runs_envoy_beneath_its_agent() -> Result<()> {
    let installed = Installed::get()?;
    let command_line = |process: &str| {
        let file = format!("/proc/{process}/cmdline");
        let text = installed.kubectl(&["exec", "deploy/istio-ingressgateway", "--", "cat", &file])?;
        anyhow::Ok(text.replace('\0', " "))
    };
    let first = command_line("1")?;
    ensure!(first.contains("proxy router --domain istio-system.svc.cluster.local --proxyLogLevel=warning"), "{first}");
    let children = ["exec", "deploy/istio-ingressgateway", "--", "cat", "/proc/1/task/1/children"];
    let children = installed.kubectl(&children)?;
    let all: Vec<String> = children.split_whitespace().map(command_line).collect::<Result<_>>()?;
    ensure!(
        all.iter().any(|line| line.contains("envoy -c") && line.contains("etc/istio/proxy/envoy-rev.json")),
        "beneath the agent: {all:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_control_plane_has_the_rights_that_it_needs() -> Result<()> {
    let installed = Installed::get()?;
    // It has read all kinds, made its root, and given it to all namespaces.
    eventually("the root certificate in namespace default", PATIENCE, || async {
        installed.kubectl(&["get", "configmap", "istio-ca-root-cert", "--namespace", "default"])
    })
    .await?;
    let log = installed.kubectl(&["logs", "deploy/istiod"])?;
    ensure!(!log.contains("forbidden") && !log.contains("Forbidden"), "{log}");
    // And no others.
    for (may, args) in [
        ("yes", ["create", "configmaps", "--namespace=default"]),
        ("no", ["delete", "configmaps", "--namespace=default"]),
        ("no", ["create", "secrets", "--namespace=default"]),
        ("yes", ["create", "secrets", "--namespace=istio-system"]),
        ("no", ["create", "pods", "--namespace=istio-system"]),
        ("no", ["update", "virtualservices", "--namespace=default"]),
        ("no", ["create", "clusterrolebindings", "--all-namespaces"]),
    ] {
        let account = "--as=system:serviceaccount:istio-system:istiod";
        // The exit code says the same.
        let said = installed.kubectl(&[&["auth", "can-i", account], &args[..]].concat());
        assert_eq!(said.is_ok(), may == "yes", "{args:?}: {said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_installation_changes_nothing() -> Result<()> {
    Installed::get()?;
    let again = Installed::get()?;
    ensure!(again.said.contains("0 created, 0 changed") && again.said.contains("0 removed"), "{}", again.said);
    Ok(())
}

/// A second mesh that takes nothing from the first one: another namespace and revision, and another ConfigMap of roots.
const CANARY: &str = "
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: canary, namespace: istio-operator}
spec:
  profile: minimal
  revision: canary
  hub: ''
  tag: local
  values: {global: {istioNamespace: canary-system}}
  components:
    base: {enabled: false}
    pilot: {k8s: {env: [{name: PILOT_CA_CERT_CONFIGMAP, value: canary-root-cert}]}}
";

#[tokio::test]
async fn the_operator_runs_as_a_deployment_and_installs() -> Result<()> {
    let installed = Installed::get()?;
    let dir = tempfile::tempdir()?;
    let file = |name: &str, text: &[u8]| -> Result<String> {
        let path = dir.path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let made = Mizzen::run(&["manifest", "operator", "--hub=", "--tag=local"])?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (operator, canary) = (file("operator.yaml", &made.stdout)?, file("canary.yaml", CANARY.as_bytes())?);
    let run = |args: &[&str]| installed.kubectl_in("istio-operator", args);
    run(&["apply", "-f", &operator])?;
    run(&["rollout", "status", "deployment/mizzen-operator", "--timeout=120s"])?;
    run(&["apply", "-f", &canary])?;
    run(&["wait", "--for=jsonpath={.status.status}=HEALTHY", "istiooperator/canary", "--timeout=180s"])
        .with_context(|| run(&["logs", "deployment/mizzen-operator"]).unwrap_or_default())?;
    let line = installed.kubectl_in("canary-system", &["get", "deployment", "istiod-canary", "--no-headers"])?;
    assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), ["istiod-canary", "1/1"]);
    run(&["delete", "istiooperator/canary", "--timeout=120s"])?;
    let left = installed.kubectl_in("canary-system", &["get", "deployments,services,roles", "-o=name"])?;
    assert_eq!(left, "", "it is not removed");
    run(&["delete", "namespace", "canary-system", "--wait=false"])?;
    run(&["delete", "-f", &operator, "--wait=false"]).map(drop)
}
