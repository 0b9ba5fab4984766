//! The mesh in the cluster of `e2e/cluster`, and a namespace of a test in it. Tests take turns: there is one mesh.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Client, Cluster, Deployment, Installed, NODE_ADDRESS, PATIENCE, Request, eventually};
use serde_json::{Value, json};
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

    /// The roots that workloads of the namespace verify others with.
    pub(crate) fn roots(&self) -> Result<String> {
        self.cluster.kubectl(&["get", "configmap/istio-ca-root-cert", "-o=jsonpath={.data.root-cert\\.pem}"])
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

    /// A client of the gateway's HTTP port, and a request that it leads to a Service, once it does.
    pub(crate) async fn served(&self, name: &str) -> Result<(Client, Request)> {
        let (client, request) = (self.client()?, Request::get("/").host(&format!("{name}.example.dev")));
        eventually("the gateway to serve it", PATIENCE, || async {
            let reply = client.send(&request).await?;
            ensure!(reply.status == 200, "{}", reply.status);
            anyhow::Ok(())
        })
        .await?;
        Ok((client, request))
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

/// Runs openssl.
pub(crate) fn openssl(args: &[&str]) -> Result<String> {
    let output = Command::new("openssl").args(args).stdin(Stdio::null()).output().context("run openssl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {args:?}: {} {said}", String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8(output.stdout)?)
}

/// Annotations of Pods whose certificates live for a minute, and are renewed when a tenth of that is over.
pub(crate) const SHORT_LIVES: &[(&str, &str)] =
    &[("proxy.istio.io/config", "{proxyMetadata: {SECRET_TTL: 60s, SECRET_GRACE_PERIOD_RATIO: '0.9'}}")];

/// Connections between proxies have a few requests each.
pub(crate) fn many_handshakes(name: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: {name}}}, spec: {{host: {name}, \
         trafficPolicy: {{connectionPool: {{http: {{maxRequestsPerConnection: 3}}}}}}}}}}\n---\n"
    )
}

/// A client within the mesh; its image has curl.
pub(crate) fn client() -> String {
    client_with(&[])
}

/// The same, with annotations of its Pod.
pub(crate) fn client_with(annotations: &[(&str, &str)]) -> String {
    Deployment::new("client", "curl").with_account().annotated(annotations).ending_at_once().yaml()
}

/// Pods that answer with what they saw of a request, and a Service of the same name: HTTP on port 80, HTTP/2 on 81. They
/// have a service account of that name, and a preStop of three seconds.
pub(crate) fn echo(name: &str, replicas: usize) -> String {
    echo_with(name, replicas, &[])
}

/// The same, with annotations of the Pods.
pub(crate) fn echo_with(name: &str, replicas: usize, annotations: &[(&str, &str)]) -> String {
    let ports = json!([
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "http2", "port": 81, "targetPort": 8081},
    ]);
    Deployment::new(name, "echo")
        .with_account()
        .replicas(replicas)
        .annotated(annotations)
        .ready_at(8080)
        .container("lifecycle", json!({"preStop": {"exec": {"command": ["sleep", "3"]}}}))
        .service(name, json!({"ports": ports}))
        .yaml()
}

/// Leads requests for `<name>.example.dev` that come to the gateway to port 80 of a Service; `more` is said of the route.
pub(crate) fn exposed(name: &str, more: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [{name}.example.dev]
  gateways: [{name}]
  http: [{{route: [{{destination: {{host: {name}, port: {{number: 80}}}}}}]{more}}}]
---
"
    )
}
