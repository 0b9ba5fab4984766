//! The page of an injected Pod has Istio's metrics of its proxy, the workload's own ones, and the agent's.

use anyhow::{Result, ensure};
use mizzen_e2e::{Client, Deployment, PATIENCE, Request, eventually};
use serde_json::json;

use super::world::World;

/// A workload that has metrics of its own: a file of nginx.
pub(crate) fn workload() -> String {
    let workload = Deployment::new("page", "nginx")
        .annotated(&[("prometheus.io/scrape", "true"), ("prometheus.io/port", "80")])
        .ending_at_once()
        .container("readinessProbe", json!({"httpGet": {"path": "/metrics", "port": 80}, "periodSeconds": 1}))
        .container("volumeMounts", json!([{"name": "page", "mountPath": "/var/www/html"}]))
        .pod("volumes", json!([{"name": "page", "configMap": {"name": "page"}}]))
        .service("page", json!({"ports": [{"name": "http", "port": 80}]}));
    format!("{workload}{FILE}")
}

const FILE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {metrics: \"# TYPE wishes_total counter\\nwishes_total 7\\n\"}
---
";

/// Both sides count a request, and Prometheus is led to the agent.
pub(crate) async fn pages_have_all_metrics(world: &World) -> Result<()> {
    let command = ["curl", "-sS", "--fail", "--max-time", "10", "http://page/metrics"];
    let said = eventually("an answer", PATIENCE, || async { world.exec("deploy/client", "curl", &command) }).await?;
    ensure!(said.contains("wishes_total 7"), "{said}");
    let annotations = world.list(&["pods", "-l", "app=page"])?[0]["metadata"]["annotations"].clone();
    for (name, value) in [("scrape", "true"), ("port", "15020"), ("path", "/stats/prometheus")] {
        ensure!(annotations[format!("prometheus.io/{name}")] == value, "{annotations:#}");
    }
    let namespace = world.namespace;
    let (service, principal) = (format!("page.{namespace}.svc.cluster.local"), |account: &str| {
        format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")
    });
    let (client, server) = (principal("client"), principal("default"));
    let both = [
        ("source_principal", client.as_str()),
        ("destination_principal", &server),
        ("destination_service", &service),
        ("response_code", "200"),
        ("connection_security_policy", "mutual_tls"),
    ];
    counted(world, "app=page", &[&[("reporter", "destination")], &both[..]].concat()).await?;
    // A client's proxy does not say whether the connection that it made was TLS (Istio says unknown).
    let of_client = [
        ("reporter", "source"),
        ("source_workload", "client"),
        ("destination_workload", "page"),
        ("destination_canonical_revision", "latest"),
        both[2],
        both[3],
    ];
    counted(world, "app=client", &of_client).await?;
    let text = page(world, "app=page").await?;
    for line in ["wishes_total 7", "istio_agent_certificates_total 1"] {
        ensure!(text.lines().any(|found| found == line), "no line {line} in {text}");
    }
    ensure!(text.contains("\nenvoy_server_live"), "none of Envoy's own: {text}");
    Ok(())
}

/// As Prometheus reads it: this port is not led to the proxy.
async fn page(world: &World, label: &str) -> Result<String> {
    let address = format!("{}:15020", world.pod_address(label)?);
    Ok(Client::http(address.parse()?).send(&Request::get("/stats/prometheus")).await?.text())
}

/// Waits for a sample with all these labels.
async fn counted(world: &World, label: &str, labels: &[(&str, &str)]) -> Result<()> {
    eventually(&format!("istio_requests_total of {label}"), PATIENCE, || async {
        let text = page(world, label).await?;
        let mut samples = text.lines().filter(|line| line.starts_with("istio_requests_total{"));
        let has = |line: &str| labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")));
        ensure!(samples.any(has), "none with {labels:?} in {text}");
        anyhow::Ok(())
    })
    .await
}
