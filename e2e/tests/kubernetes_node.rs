//! The cluster of `e2e/cluster` itself: what tests of a mesh rely on. Each test has a namespace of its own.

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Client, Cluster, Deployment, NODE_ADDRESS, PATIENCE, Request, eventually, free_port};
use serde_json::{Value, json};

/// nginx behind a service, and a client.
fn web() -> String {
    let web = Deployment::new("web", "nginx")
        .container("ports", json!([{"containerPort": 80}]))
        .ready_at(80)
        .service("web", json!({"type": "NodePort", "ports": [{"port": 80}]}));
    format!("{web}{CLIENT}")
}

const CLIENT: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: curl, image: 'curl:local'}]}
";

/// A command for the client.
fn get(url: &str) -> [&str; 6] {
    ["curl", "-sS", "--fail", "--max-time", "10", url]
}

#[tokio::test]
async fn a_service_answers_by_its_name_in_a_pod_and_by_its_node_port() -> Result<()> {
    let cluster = Cluster::namespace("a-service")?;
    cluster.apply(&web())?;
    cluster.wait_ready()?;
    for host in ["web", "web.a-service", "web.a-service.svc.cluster.local"] {
        // The endpoint reaches kube-proxy a moment after the pod is ready.
        let answer = eventually(&format!("{host} to answer"), PATIENCE, || async {
            cluster.exec("client", &get(&format!("http://{host}/")))
        })
        .await?;
        assert!(answer.contains("nginx"), "{answer}");
    }
    let port = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"])?;
    let node_port = Client::http(format!("{NODE_ADDRESS}:{port}").parse()?);
    assert_eq!(node_port.send(&Request::get("/")).await?.status, 200);
    // A pod reaches itself through the service.
    let itself = cluster.exec("deploy/web", &["bash", "-c", "exec 3<>/dev/tcp/web/80 && echo reached"])?;
    assert_eq!(itself, "reached\n");
    Ok(())
}

#[tokio::test]
async fn the_api_server_reaches_services_and_pods() -> Result<()> {
    let cluster = Cluster::namespace("reached")?;
    cluster.apply(&web())?;
    cluster.wait_ready()?;
    let path = "/api/v1/namespaces/reached/services/http:web:80/proxy/";
    let answer = eventually("the service behind the API server", PATIENCE, || async {
        cluster.kubectl(&["get", "--raw", path])
    })
    .await?;
    assert!(answer.contains("nginx"), "{answer}");
    let port = free_port()?;
    let mut forward = cluster.port_forward("deploy/web", port, 80)?;
    let client = Client::http(([127, 0, 0, 1], port).into());
    let reply =
        forward.until("the forwarded port", PATIENCE, || async { client.send(&Request::get("/")).await }).await?;
    assert_eq!(reply.status, 200);
    let log = cluster.kubectl(&["logs", "deploy/web"])?;
    assert!(log.contains("GET / HTTP"), "{log}");
    Ok(())
}

/// Connections to port 7000 come to the sidecar.
const REDIRECTED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: redirected}
spec:
  initContainers:
  - name: rules
    image: mizzen-proxy:local
    command: [bash, -ec, 'for chain in PREROUTING OUTPUT; do
      iptables -t nat -A $chain -p tcp --dport 7000 -j REDIRECT --to-ports 8080; done']
    securityContext: {capabilities: {add: [NET_ADMIN], drop: [ALL]}}
  - name: sidecar
    image: echo:local
    restartPolicy: Always
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
  containers:
  - name: main
    image: curl:local
    # It fails for good when the sidecar is not there first. A log has whole lines only.
    command: [bash, -ec, 'curl -sS --fail localhost:7000/first; echo; sleep infinity']
  restartPolicy: Never
---";

#[tokio::test]
async fn an_init_container_redirects_and_a_native_sidecar_is_there_first() -> Result<()> {
    let cluster = Cluster::namespace("redirected")?;
    cluster.apply(&[REDIRECTED, CLIENT].concat())?;
    cluster.wait_ready()?;
    let first = eventually("the first answer", PATIENCE, || async {
        let log = cluster.kubectl(&["logs", "redirected", "-c", "main"])?;
        serde_json::from_str::<Value>(&log).with_context(|| format!("log: {log}"))
    })
    .await?;
    assert_eq!((&first["path"], &first["host"]), (&json!("/first"), &json!("localhost:7000")), "{first}");
    // From another pod: what PREROUTING redirects.
    let ip = cluster.kubectl(&["get", "pod", "redirected", "-o", "jsonpath={.status.podIP}"])?;
    let other = cluster.exec("client", &get(&format!("http://{ip}:7000/other")))?;
    assert!(other.contains("/other"), "{other}");
    Ok(())
}

/// Has a token for `istio-ca` beside the ordinary one.
const TOKEN: &str = "
apiVersion: v1
kind: Pod
metadata: {name: bearer}
spec:
  containers: [{name: curl, image: 'curl:local', volumeMounts: [{name: token, mountPath: /token}]}]
  volumes: [{name: token, projected: {sources: [{serviceAccountToken: {audience: istio-ca, path: token}}]}}]
";

#[test]
fn a_projected_token_of_another_audience_is_reviewed() -> Result<()> {
    let cluster = Cluster::namespace("token")?;
    cluster.apply(TOKEN)?;
    cluster.wait_ready()?;
    let token = cluster.exec("bearer", &["cat", "/token/token"])?;
    let review = |audience: &str| {
        let spec = json!({"token": token, "audiences": [audience]});
        cluster.ask(&json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}).to_string())
    };
    let status = review("istio-ca")?["status"].clone();
    assert_eq!(status["user"]["username"], "system:serviceaccount:token:default", "{status}");
    assert_eq!(status["audiences"], json!(["istio-ca"]), "{status}");
    let status = review("another")?["status"].clone();
    assert_ne!(status["authenticated"], true, "{status}");
    // The API server itself is for tokens without an audience of their own, and these are told who they are by RBAC.
    let command = "curl -sk -H \"Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)\" \
                   https://kubernetes.default.svc/api/v1/namespaces/token/secrets";
    let refused: Value = serde_json::from_str(&cluster.exec("bearer", &["bash", "-c", command])?)?;
    assert_eq!(refused["reason"], "Forbidden", "{refused}");
    Ok(())
}

/// For the web server.
const POLICIES: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
";

#[tokio::test]
async fn controllers_do_their_work() -> Result<()> {
    let cluster = Cluster::namespace("controllers")?;
    cluster.apply(&web())?;
    cluster.apply(POLICIES)?;
    // The autoscaler wants two, the budget counts both, and the slice has both.
    eventually("two healthy pods", PATIENCE * 2, || async {
        let healthy = cluster.kubectl(&["get", "pdb", "web", "-o", "jsonpath={.status.currentHealthy}"])?;
        ensure!(healthy == "2", "{healthy} are healthy");
        let slices = cluster.kubectl(&["get", "endpointslices", "-o", "json"])?;
        let slices: Value = serde_json::from_str(&slices)?;
        let endpoints = slices["items"][0]["endpoints"].as_array().context("no endpoints")?;
        ensure!(endpoints.len() == 2, "{} endpoints", endpoints.len());
        Ok(())
    })
    .await
}
