//! A mesh from the files for kubectl, as they are shipped: it injects and serves, and `mizzen uninstall` leaves nothing of it.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Client, Cluster, Deployment, Mizzen, NODE_ADDRESS, PATIENCE, Request, eventually};
use serde_json::json;

/// The images by the names in the files; the cluster has them by others.
const IMAGES: [&str; 2] = ["mizzen", "mizzen-proxy"];
/// All kinds that an installation has.
const KINDS: &str = "serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings,configmaps,services,secrets,\
                     poddisruptionbudgets,deployments,pods,horizontalpodautoscalers,mutatingwebhookconfigurations,\
                     validatingwebhookconfigurations,namespaces";

fn web() -> String {
    Deployment::new("web", "echo")
        .ending_at_once()
        .ready_at(8080)
        .service("web", json!({"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}))
        .yaml()
}

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec: {hosts: ['*'], gateways: [web], http: [{route: [{destination: {host: web, port: {number: 80}}}]}]}
";

#[tokio::test]
async fn shipped_files_make_a_mesh_that_is_removed_without_a_trace() -> Result<()> {
    let cluster = Cluster::namespace("from-files")?;
    // Whatever another test has left.
    uninstall(&cluster)?;
    gone(&cluster).await?;
    name_images(&cluster)?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = |name: &str| repository.join(name).display().to_string();
    let files = ["-f", &file("crds"), "-f", &file("manifests/install/demo.yaml")];
    cluster.kubectl(&[&["apply", "--server-side", "--namespace=istio-system"], &files[..]].concat())?;
    for name in ["istiod", "istio-ingressgateway", "istio-egressgateway"] {
        let deployment = format!("deployment/{name}");
        cluster.kubectl(&["--namespace=istio-system", "rollout", "status", &deployment, "--timeout=120s"])?;
    }
    // Pods are not waited for that are made before it is known to work.
    let webhook = "mutatingwebhookconfiguration/istio-sidecar-injector";
    cluster.kubectl(&["wait", "--for=jsonpath={.webhooks[0].failurePolicy}=Fail", webhook, "--timeout=30s"])?;
    it_injects_and_serves(&cluster).await?;
    uninstall(&cluster)?;
    gone(&cluster).await
}

fn uninstall(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let done = Mizzen::run(&["uninstall", "--purge", "-y", "--kubeconfig", &kubeconfig])?;
    ensure!(done.status.success(), "mizzen uninstall: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Definitions stay, and so do the roots that other namespaces have.
async fn gone(cluster: &Cluster) -> Result<()> {
    eventually("the end of the mesh", PATIENCE * 2, || async {
        let ours = "app.kubernetes.io/managed-by=mizzen";
        let left = cluster.kubectl(&["get", KINDS, "--all-namespaces", "-l", ours, "-o=name"])?;
        ensure!(left.is_empty(), "{left}");
        let all = cluster.kubectl(&["get", KINDS, "--all-namespaces", "-o=name"])?;
        let ours =
            |line: &&str| line.contains("istiod") || line.contains("gateway") || line.contains("sidecar-injector");
        let left: Vec<&str> = all.lines().filter(ours).collect();
        ensure!(left.is_empty() && !all.contains("namespace/istio-system"), "{left:?}");
        anyhow::Ok(())
    })
    .await
}

fn name_images(cluster: &Cluster) -> Result<()> {
    let socket = cluster.kubeconfig().with_file_name("run").join("containerd.sock");
    for name in IMAGES {
        let (from, to) = (
            format!("docker.io/library/{name}:local"),
            format!("docker.io/mizzen/{name}:{}", env!("CARGO_PKG_VERSION")),
        );
        let mut command = Command::new("ctr");
        command.arg("--address").arg(&socket).args(["--namespace", "k8s.io", "images", "tag", "--force", &from, &to]);
        let output = command.output().context("run ctr")?;
        ensure!(output.status.success(), "ctr images tag: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

async fn it_injects_and_serves(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["label", "namespace", "from-files", "istio-injection=enabled"])?;
    cluster.apply(&(web() + ROUTES))?;
    cluster.wait_ready()?;
    let ready = cluster.kubectl(&["get", "pods", "--no-headers"])?;
    ensure!(ready.contains(" 2/2 "), "{ready}");
    let path = "-o=jsonpath={.spec.ports[?(@.name==\"http2\")].nodePort}";
    let port = cluster.kubectl(&["--namespace=istio-system", "get", "service/istio-ingressgateway", path])?;
    let client = Client::http(format!("{NODE_ADDRESS}:{port}").parse()?);
    let echo = eventually("an answer through the gateway", PATIENCE, || async {
        let reply = client.send(&Request::get("/").host("www.example.dev")).await?;
        ensure!(reply.status == 200, "{}", reply.status);
        reply.echo()
    })
    .await?;
    let certificate = &echo.headers["x-forwarded-client-cert"];
    ensure!(certificate.contains("istio-ingressgateway-service-account"), "{certificate}");
    Ok(())
}
