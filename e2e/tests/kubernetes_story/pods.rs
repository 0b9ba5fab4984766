//! Pods that the webhook makes of other templates, or in another order: classic sidecars, and gateways of one's own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Client, NODE_ADDRESS, PATIENCE, Request, eventually};
use serde_json::{Value, json};

use super::{
    traffic::Traffic,
    world::{World, client, echo_with},
};

/// An ordinary container that the workload waits for.
const CLASSIC: &[(&str, &str)] = &[
    ("sidecar.istio.io/nativeSidecar", "false"),
    ("proxy.istio.io/config", "{holdApplicationUntilProxyStarts: true}"),
];
/// A Pod that does not end in this time is killed.
const GRACE: Duration = Duration::from_secs(30);

/// It fails, and is started again, when the proxy is not there first.
const EARLY: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: early
  labels: {app: early}
  annotations: {sidecar.istio.io/nativeSidecar: 'false', proxy.istio.io/config: '{holdApplicationUntilProxyStarts: true}'}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: curl
    image: curl:local
    imagePullPolicy: IfNotPresent
    command: [bash, -ec, 'curl -sS --fail http://istiod.istio-system:15014/version; echo; sleep infinity']
---
";

/// Its Deployment has nothing of a proxy but the container's name.
const GATEWAY: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: own-gateway}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: own-gateway}
spec:
  selector: {matchLabels: {istio: own-gateway}}
  template:
    metadata:
      labels: {istio: own-gateway, sidecar.istio.io/inject: 'true'}
      annotations: {inject.istio.io/templates: gateway}
    spec:
      serviceAccountName: own-gateway
      terminationGracePeriodSeconds: 1
      containers: [{name: istio-proxy, image: auto, imagePullPolicy: IfNotPresent}]
---
apiVersion: v1
kind: Service
metadata: {name: own-gateway}
spec: {type: NodePort, selector: {istio: own-gateway}, ports: [{name: http2, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: own}
spec: {selector: {istio: own-gateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [own.example.dev]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: own}
spec:
  hosts: [own.example.dev]
  gateways: [own]
  http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
---
";

#[tokio::test]
async fn classic_sidecars_and_own_gateways_serve() -> Result<()> {
    let world = World::enter("pods").await?;
    world.run(&[&client(), &echo_with("web", 2, CLASSIC), EARLY, GATEWAY].concat())?;
    containers_are_in_the_classic_order(&world)?;
    a_workload_starts_after_its_proxy(&world).await?;
    an_own_gateway_serves(&world).await?;
    a_classic_pod_ends_and_no_request_fails(&world).await
}

fn containers_are_in_the_classic_order(world: &World) -> Result<()> {
    for pod in world.list(&["pods", "-l", "app in (web, early)"])? {
        let names = |list: &str| -> Vec<Value> {
            pod["spec"][list].as_array().into_iter().flatten().map(|c| c["name"].clone()).collect()
        };
        assert_eq!(names("initContainers"), [json!("istio-init")], "{pod:#}");
        let own = if pod["metadata"]["labels"]["app"] == "web" { "echo" } else { "curl" };
        assert_eq!(names("containers"), [json!("istio-proxy"), json!(own)], "{pod:#}");
        let proxy = &pod["spec"]["containers"][0];
        ensure!(proxy["restartPolicy"].is_null() && proxy["lifecycle"]["postStart"]["exec"].is_object(), "{proxy:#}");
    }
    Ok(())
}

async fn a_workload_starts_after_its_proxy(world: &World) -> Result<()> {
    eventually("the first request of a workload", PATIENCE, || async {
        let log = world.cluster.kubectl(&["logs", "early", "-c", "curl"])?;
        ensure!(log.contains(env!("CARGO_PKG_VERSION")), "{log}");
        anyhow::Ok(())
    })
    .await?;
    for pod in world.list(&["pods", "-l", "app in (web, early)"])? {
        let statuses = pod["status"]["containerStatuses"].as_array().context("statuses")?;
        ensure!(statuses.iter().all(|status| status["restartCount"] == 0), "{statuses:#?}");
    }
    Ok(())
}

async fn an_own_gateway_serves(world: &World) -> Result<()> {
    let pod = world.list(&["pods", "-l", "istio=own-gateway"])?[0].clone();
    let proxy = &pod["spec"]["containers"][0];
    assert_eq!([&proxy["args"][0], &proxy["args"][1]], ["proxy", "router"], "{proxy:#}");
    assert_eq!(proxy["image"], "mizzen-proxy:local");
    ensure!(pod["spec"]["initContainers"].is_null(), "{pod:#}");
    let port = world.cluster.kubectl(&["get", "service/own-gateway", "-o=jsonpath={.spec.ports[0].nodePort}"])?;
    let client = Client::http(format!("{NODE_ADDRESS}:{port}").parse()?);
    let echo = eventually("an answer through the gateway", PATIENCE, || async {
        let reply = client.send(&Request::get("/own").host("own.example.dev")).await?;
        ensure!(reply.status == 200, "{}", reply.status);
        reply.echo()
    })
    .await?;
    let certificate = &echo.headers["x-forwarded-client-cert"];
    ensure!(certificate.contains("URI=spiffe://cluster.local/ns/pods/sa/own-gateway"), "{certificate}");
    assert_eq!(client.send(&Request::get("/").host("other.example.dev")).await?.status, 404);
    Ok(())
}

async fn a_classic_pod_ends_and_no_request_fails(world: &World) -> Result<()> {
    let mut traffic = Traffic::start(world, "classic", "http://web/")?;
    traffic.more(20).await?;
    let name = world.list(&["pods", "-l", "app=web"])?[0]["metadata"]["name"].as_str().context("a name")?.to_owned();
    let since = Instant::now();
    world.cluster.kubectl(&["delete", "pod", &name, "--wait", "--timeout=60s"])?;
    let took = since.elapsed();
    ensure!(took < GRACE, "it was killed, after {took:?}");
    world.rolled_out(world.namespace, "web")?;
    traffic.more(40).await?;
    traffic.stop_unharmed().await.map(drop)
}
