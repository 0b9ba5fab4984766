//! The mesh in the cluster of `e2e/cluster`, and a namespace of a test in it. Tests take turns: there is one mesh.

use std::{io::Write as _, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Client, Cluster, Installed, NODE_ADDRESS, PATIENCE, eventually};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// A namespace whose Pods are injected.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: &'static str,
    mesh: Installed,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Waits for its turn, and makes the namespace.
    pub(crate) async fn enter(namespace: &'static str) -> Result<Self> {
        let turn = TURN.lock().await;
        let mesh = Installed::get()?;
        let cluster = Cluster::namespace(namespace)?;
        cluster.kubectl(&["label", "namespace", namespace, "istio-injection=enabled"])?;
        let world = Self { cluster, namespace, mesh, _turn: turn };
        // Namespaces of former tests go by and by.
        eventually("the end of all Gateways", PATIENCE * 2, || async {
            let rest =
                world.cluster.kubectl(&["get", "gateways.networking.istio.io", "--all-namespaces", "-o=name"])?;
            ensure!(rest.is_empty(), "{rest}");
            anyhow::Ok(())
        })
        .await?;
        Ok(world)
    }

    /// Runs kubectl in the namespace of the control plane.
    pub(crate) fn system(&self, args: &[&str]) -> Result<String> {
        self.mesh.kubectl(args)
    }

    /// Waits for the end of a rollout.
    pub(crate) fn rolled_out(&self, namespace: &str, deployment: &str) -> Result<()> {
        let (namespace, deployment) = (format!("--namespace={namespace}"), format!("deployment/{deployment}"));
        self.cluster.kubectl(&[&namespace, "rollout", "status", &deployment, "--timeout=180s"]).map(drop)
    }

    /// Objects of the namespace as JSON.
    pub(crate) fn list(&self, what: &[&str]) -> Result<Vec<Value>> {
        let said = self.cluster.kubectl(&[&["get", "-o=json"], what].concat())?;
        let said: Value = serde_json::from_str(&said)?;
        said["items"].as_array().cloned().context("no list")
    }

    /// The address of the one Pod with a label.
    pub(crate) fn pod_address(&self, label: &str) -> Result<String> {
        let pods = self.list(&["pods", "-l", label, "--field-selector=status.phase=Running"])?;
        ensure!(pods.len() == 1, "{} pods have {label}", pods.len());
        Ok(pods[0]["status"]["podIP"].as_str().context("a pod without an address")?.to_owned())
    }

    /// Where a port of the gateway's Service is on the node.
    pub(crate) fn gateway(&self, port: &str) -> Result<SocketAddr> {
        self.system(&["patch", "service/istio-ingressgateway", "-p", r#"{"spec": {"type": "NodePort"}}"#])?;
        let path = format!("-o=jsonpath={{.spec.ports[?(@.name==\"{port}\")].nodePort}}");
        let found = self.system(&["get", "service/istio-ingressgateway", &path])?;
        Ok(format!("{NODE_ADDRESS}:{found}").parse()?)
    }

    /// A client of the gateway's HTTP port.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::http(self.gateway("http2")?))
    }

    /// Applies objects and waits until all Pods of the namespace are ready.
    pub(crate) fn run(&self, yaml: &str) -> Result<()> {
        self.cluster.apply(yaml)?;
        self.cluster.wait_ready()
    }

    /// Runs a command in a container of a workload.
    pub(crate) fn exec(&self, pod: &str, container: &str, command: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["exec", pod, "-c", container, "--"], command].concat())
    }
}

/// Tells what was measured; the runner of tests shows it also when the test passes.
pub(crate) fn report(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}

/// A client within the mesh. Its image has curl.
pub(crate) const CLIENT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: client}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      serviceAccountName: client
      terminationGracePeriodSeconds: 1
      containers: [{name: curl, image: 'curl:local', imagePullPolicy: IfNotPresent}]
---
";
