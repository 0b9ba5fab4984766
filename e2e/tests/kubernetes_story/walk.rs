//! What somebody sees who knows Istio, step by step.

use std::{io::ErrorKind, net::TcpStream, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use mizzen_e2e::{Deployment, PATIENCE, Request, eventually};
use serde_json::{Value, json};

use super::world::World;

/// nginx behind a Service whose port does not tell its protocol.
fn nginx() -> String {
    Deployment::new("nginx", "nginx")
        .with_account()
        .container("ports", json!([{"containerPort": 80}]))
        .container("readinessProbe", json!({"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}))
        .service("svc-clusterip", json!({"ports": [{"name": "svc-webport", "port": 80}]}))
        .yaml()
}

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: test-gateway}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: nginx-service}
spec:
  hosts: [www.example.dev]
  gateways: [test-gateway]
  http: [{route: [{destination: {host: svc-clusterip, port: {number: 80}}}]}]
";

#[tokio::test]
async fn nginx_is_served_through_the_gateway() -> Result<()> {
    let world = World::enter("walk").await?;
    the_gateway_is_an_agent_with_an_envoy(&world)?;
    its_bootstrap_is_that_of_the_contract(&world)?;
    nothing_listens_before_there_is_a_gateway(&world).await?;
    world.run(&nginx())?;
    the_pod_has_two_containers(&world)?;
    world.cluster.apply(ROUTES)?;
    objects_are_shown_with_their_columns(&world)?;
    let client = world.client()?;
    let page = eventually("the page of nginx", PATIENCE, || async {
        let reply = client.send(&Request::get("/").host("www.example.dev")).await?;
        ensure!(reply.status == 200, "{} {}", reply.status, reply.text());
        Ok(reply.text())
    })
    .await?;
    assert!(page.contains("Welcome to nginx!"), "{page}");
    assert_eq!(client.send(&Request::get("/").host("other.example.dev")).await?.status, 404);
    requests_are_logged(&world).await?;
    let info = world.exec("deploy/nginx", "istio-proxy", &["curl", "-sS", "http://localhost:15000/server_info"])?;
    let info: Value = serde_json::from_str(&info)?;
    assert_eq!(info["state"], "LIVE");
    Ok(())
}

fn the_gateway_is_an_agent_with_an_envoy(world: &World) -> Result<()> {
    let script = "for p in /proc/[0-9]*; do [ -r $p/cmdline ] || continue; \
                  echo \"${p#/proc/} $(sed -n 's/PPid:\\s*//p' $p/status) $(tr '\\0' ' ' <$p/cmdline)\"; done";
    let said = world.system(&["exec", "deploy/istio-ingressgateway", "--", "bash", "-c", script])?;
    let first = said.lines().find(|line| line.starts_with("1 0 ")).with_context(|| said.clone())?;
    assert!(first.contains(" proxy router --domain istio-system.svc.cluster.local "), "{first}");
    let envoy = said.lines().find(|line| line.contains("/usr/local/bin/envoy")).with_context(|| said.clone())?;
    assert_eq!(envoy.split(' ').nth(1), Some("1"), "{envoy}");
    assert!(envoy.contains("etc/istio/proxy/envoy-rev.json"), "{envoy}");
    Ok(())
}

fn its_bootstrap_is_that_of_the_contract(world: &World) -> Result<()> {
    let text =
        world.system(&["exec", "deploy/istio-ingressgateway", "--", "cat", "/etc/istio/proxy/envoy-rev.json"])?;
    let bootstrap: Value = serde_json::from_str(&text)?;
    let id = bootstrap["node"]["id"].as_str().context("no id")?;
    assert!(id.starts_with("router~10.244."), "{id}");
    assert!(id.ends_with(".istio-system~istio-system.svc.cluster.local"), "{id}");
    let at = |pointer: &str| bootstrap.pointer(pointer).cloned().unwrap_or_default();
    let internal = "/bootstrap_extensions/0";
    let breaker = |priority: &str| json!({"priority": priority, "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000});
    let expected = [
        ("/node/cluster", json!("istio-ingressgateway.istio-system")),
        ("/node/metadata/PROXY_CONFIG/statusPort", json!(15020)),
        ("/node/metadata/PROXY_CONFIG/binaryPath", json!("/usr/local/bin/envoy")),
        ("/node/metadata/PROXY_CONFIG/concurrency", json!(2)),
        ("/node/metadata/SERVICE_ACCOUNT", json!("istio-ingressgateway-service-account")),
        ("/node/metadata/CLUSTER_ID", json!("Kubernetes")),
        ("/node/metadata/ANNOTATIONS/istio.io~1rev", json!("default")),
        ("/node/metadata/ANNOTATIONS/prometheus.io~1scrape", json!("true")),
        ("/layered_runtime/layers/0/static_layer/overload.global_downstream_max_connections", json!("2147483647")),
        ("/layered_runtime/layers/0/static_layer/re2.max_program_size.error_level", json!("32768")),
        ("/admin/profile_path", json!("/var/lib/istio/data/envoy.prof")),
        ("/admin/address/socket_address/address", json!("127.0.0.1")),
        ("/admin/address/socket_address/port_value", json!(15000)),
        ("/dynamic_resources/ads_config/api_type", json!("DELTA_GRPC")),
        ("/dynamic_resources/ads_config/set_node_on_first_message_only", json!(true)),
        ("/dynamic_resources/ads_config/grpc_services/0/envoy_grpc/cluster_name", json!("xds-grpc")),
        ("/dynamic_resources/lds_config/initial_fetch_timeout", json!("0s")),
        ("/dynamic_resources/cds_config/initial_fetch_timeout", json!("0s")),
        ("/application_log_config/log_format/text_format", json!("%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t")),
        (&format!("{internal}/name"), json!("envoy.bootstrap.internal_listener")),
        (&format!("{internal}/typed_config/buffer_size_kb"), json!(64)),
        (&address_of(2), json!("./var/run/secrets/workload-spiffe-uds/socket")),
        (&address_of(3), json!("./etc/istio/proxy/XDS")),
        ("/static_resources/clusters/3/circuit_breakers/thresholds", json!([breaker("DEFAULT"), breaker("HIGH")])),
    ];
    for (pointer, value) in expected {
        assert_eq!(at(pointer), value, "{pointer} of {bootstrap:#}");
    }
    let names = |pointer: &str| -> Vec<String> {
        let all = at(pointer).as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|item| item["name"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(names("/static_resources/clusters"), ["prometheus_stats", "agent", "sds-grpc", "xds-grpc"]);
    let listeners = at("/static_resources/listeners");
    let ports: Vec<_> =
        listeners.as_array().into_iter().flatten().map(|l| &l["address"]["socket_address"]["port_value"]).collect();
    assert_eq!(ports, [&json!(15090), &json!(15021)]);
    let served = |listener: usize| {
        let path = "filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0";
        let route = at(&format!("/static_resources/listeners/{listener}/{path}"));
        (route["match"]["prefix"].clone(), route["route"]["cluster"].clone())
    };
    assert_eq!(served(0), (json!("/stats/prometheus"), json!("prometheus_stats")));
    assert_eq!(served(1), (json!("/healthz/ready"), json!("agent")));
    Ok(())
}

/// Where the bootstrap has the socket of a cluster.
fn address_of(cluster: usize) -> String {
    format!(
        "/static_resources/clusters/{cluster}/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path"
    )
}

async fn nothing_listens_before_there_is_a_gateway(world: &World) -> Result<()> {
    let address = world.gateway("http2")?;
    // kube-proxy needs a moment for a new node port.
    eventually("the connection to be refused", PATIENCE, || async {
        match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => bail!("{error}"),
            Ok(_) => bail!("somebody listens"),
        }
    })
    .await
}

fn the_pod_has_two_containers(world: &World) -> Result<()> {
    let said = world.cluster.kubectl(&["get", "pods", "-l", "app=nginx"])?;
    let columns: Vec<&str> = said.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(columns.get(1..3), Some(["2/2", "Running"].as_slice()), "{said}");
    Ok(())
}

fn objects_are_shown_with_their_columns(world: &World) -> Result<()> {
    let said = world.cluster.kubectl(&["get", "gw,vs"])?;
    let words: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let starts = |expected: &[&str]| words.iter().any(|line| line.starts_with(expected));
    assert!(starts(&["NAME", "AGE"]) && starts(&["NAME", "GATEWAYS", "HOSTS", "AGE"]), "{said}");
    assert!(starts(&["gateway.networking.istio.io/test-gateway"]), "{said}");
    let service = ["virtualservice.networking.istio.io/nginx-service", "[\"test-gateway\"]", "[\"www.example.dev\"]"];
    assert!(starts(&service), "{said}");
    Ok(())
}

/// Lines of the default format; Envoy writes them once a second.
async fn requests_are_logged(world: &World) -> Result<()> {
    let (pod, namespace) = (world.pod_address("app=nginx")?, world.namespace);
    let outbound =
        format!("\"www.example.dev\" \"{pod}:80\" outbound|80||svc-clusterip.{namespace}.svc.cluster.local ");
    let inbound = format!("\"www.example.dev\" \"{pod}:80\" inbound|80|| ");
    eventually("the lines of the access log", PATIENCE, || async {
        let gateway = world.system(&["logs", "deploy/istio-ingressgateway", "--tail=50"])?;
        let sidecar = world.cluster.kubectl(&["logs", "deploy/nginx", "-c", "istio-proxy"])?;
        for (log, part) in [(&gateway, &outbound), (&sidecar, &inbound)] {
            let line = log.lines().find(|line| line.contains(part.as_str())).with_context(|| log.clone())?;
            ensure!(line.contains("] \"GET / HTTP/1.1\" 200 - via_upstream - \"-\" 0 615 "), "{line}");
        }
        anyhow::Ok(())
    })
    .await
}
