//! What a sidecar is given: a real Envoy takes all of it. Nothing is redirected to it here.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Result, ensure};
use mizzen_e2e::{
    Client, ConfigDir, Envoy, EnvoyOptions, Mizzen, MizzenOptions, Node, PATIENCE, Request, Upstream, UpstreamOptions,
    Wire, XdsServer, XdsTransport, eventually, free_port, nothing_refused, service,
};
use serde_json::Value;

struct Sidecar {
    config: ConfigDir,
    mizzen: Mizzen,
    envoy: Envoy,
}

impl Sidecar {
    async fn start(transport: XdsTransport, objects: &str) -> Result<Self> {
        let config = ConfigDir::new()?;
        let (outbound, inbound) = (free_port()?, free_port()?);
        config.write(
            "mesh.yaml",
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
                 proxyListenPort: {outbound}\n    proxyInboundListenPort: {inbound}\n"
            ),
        )?;
        config.write("objects.yaml", objects)?;
        let mizzen = Mizzen::start(MizzenOptions::files(config.path())).await?;
        let mut options = EnvoyOptions::dynamic(Node::sidecar("app", "default").label("app", "app"), mizzen.grpc());
        options.xds = Some(XdsServer { transport, ..XdsServer::plaintext(mizzen.grpc()) });
        let envoy = Envoy::start_ready(&options).await?;
        envoy.wait_warm(PATIENCE).await?;
        nothing_refused(&envoy, &mizzen).await?;
        Ok(Self { config, mizzen, envoy })
    }

    /// Waits until the routes of port 80 send a host to a cluster.
    async fn routes(&self, host: &str, service: &str) -> Result<()> {
        let cluster = format!("outbound|80||{service}.svc.cluster.local");
        eventually(&format!("a route of {host} to {cluster}"), PATIENCE, || async {
            let hosts = self.virtual_hosts().await?;
            let found = hosts.iter().find(|h| h["domains"].as_array().is_some_and(|d| d.contains(&host.into())));
            ensure!(found.is_some_and(|h| h["routes"][0]["route"]["cluster"] == *cluster), "{hosts:?}");
            anyhow::Ok(())
        })
        .await
    }

    /// The virtual hosts of port 80.
    async fn virtual_hosts(&self) -> Result<Vec<Value>> {
        let dump = self.envoy.admin().config_of("RoutesConfigDump").await?;
        let all = dump["dynamic_route_configs"].as_array().cloned().unwrap_or_default();
        let of_port = all.into_iter().map(|mut r| r["route_config"].take()).find(|r| r["name"] == "80");
        Ok(of_port.and_then(|r| r["virtual_hosts"].as_array().cloned()).unwrap_or_default())
    }

    /// The clusters that lead to services.
    async fn outbound(&self) -> Result<BTreeSet<String>> {
        let dump = self.envoy.admin().config_of("ClustersConfigDump").await?;
        let active = dump["dynamic_active_clusters"].as_array().cloned().unwrap_or_default();
        let names = active.iter().filter_map(|c| c["cluster"]["name"].as_str());
        Ok(names.filter(|n| n.starts_with("outbound|")).map(str::to_owned).collect())
    }

    /// Waits until exactly these services of namespace `default` are reachable: `<port>|<name>`.
    async fn reaches(&self, services: &[&str]) -> Result<()> {
        let expected: BTreeSet<_> = services
            .iter()
            .filter_map(|s| s.split_once('|'))
            .map(|(port, name)| format!("outbound|{port}||{name}.default.svc.cluster.local"))
            .collect();
        eventually(&format!("the clusters {services:?}"), PATIENCE, || async {
            let now = self.outbound().await?;
            ensure!(now == expected, "{now:?}");
            anyhow::Ok(())
        })
        .await?;
        self.envoy.wait_warm(PATIENCE).await
    }

    async fn listeners(&self) -> Result<BTreeSet<String>> {
        let dump = self.envoy.admin().config_of("ListenersConfigDump").await?;
        let all = dump["dynamic_listeners"].as_array().cloned().unwrap_or_default();
        for listener in &all {
            ensure!(listener["error_state"] == Value::Null, "{listener}");
        }
        Ok(all.iter().filter_map(|l| l["name"].as_str().map(str::to_owned)).collect())
    }
}

async fn every_kind_of_service(transport: XdsTransport) -> Result<()> {
    let http = Upstream::http("http").await?;
    let auto = Upstream::http("auto").await?;
    let bytes = Upstream::start("bytes", UpstreamOptions { wire: Wire::Tcp, ..UpstreamOptions::default() }).await?;
    let headless = service("headless", "tcp", &[&bytes]).replace("clusterIP: 10.96.", "clusterIP: None # 10.96.");
    let objects = service("http", "http", &[&http])
        + &service("auto", "web", &[&auto])
        + &service("bytes", "tcp-x", &[&bytes]).replace("port: 80,", "port: 9000,")
        + &headless.replace("port: 80,", "port: 9100,");
    let sidecar = Sidecar::start(transport, &objects).await?;
    sidecar.reaches(&["80|http", "80|auto", "9000|bytes", "9100|headless"]).await?;
    sidecar.routes("http.default.svc.cluster.local", "http.default").await?;
    sidecar.routes("http", "http.default").await?;
    sidecar.routes("auto.default", "auto.default").await?;
    let listeners = sidecar.listeners().await?;
    for expected in ["virtualOutbound", "virtualInbound", "0.0.0.0_80"] {
        assert!(listeners.contains(expected), "{listeners:?}");
    }
    assert!(listeners.iter().any(|l| l.starts_with("10.96.") && l.ends_with("_9000")), "{listeners:?}");
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

#[tokio::test]
async fn every_kind_of_service_is_accepted() -> Result<()> {
    every_kind_of_service(XdsTransport::Delta).await
}

#[tokio::test]
async fn every_kind_of_service_is_accepted_over_state_of_the_world() -> Result<()> {
    every_kind_of_service(XdsTransport::Sotw).await
}

#[tokio::test]
async fn a_sidecar_object_narrows_what_is_reached_live() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let sidecar =
        Sidecar::start(XdsTransport::Delta, &(service("a", "http", &[&a]) + &service("b", "http", &[&b]))).await?;
    sidecar.reaches(&["80|a", "80|b"]).await?;
    sidecar.routes("b", "b.default").await?;
    let only_a = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: default}\n\
                  spec: {egress: [{hosts: ['./a.default.svc.cluster.local']}]}\n";
    sidecar.config.write("sidecar.yaml", only_a)?;
    sidecar.reaches(&["80|a"]).await?;
    sidecar.routes("a", "a.default").await?;
    eventually("no route to b", PATIENCE, || async {
        let hosts = sidecar.virtual_hosts().await?;
        ensure!(hosts.iter().all(|h| h["name"] != "b.default.svc.cluster.local:80"), "{hosts:?}");
        anyhow::Ok(())
    })
    .await?;
    sidecar.config.remove("sidecar.yaml")?;
    sidecar.reaches(&["80|a", "80|b"]).await?;
    sidecar.routes("b", "b.default").await?;
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

#[tokio::test]
async fn export_to_hides_services_from_other_namespaces() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let elsewhere = service("b", "http", &[&b]).replace("namespace: default", "namespace: other");
    let hidden = elsewhere.replace(
        "metadata: {name: b, namespace: other}",
        "metadata: {name: b, namespace: other, annotations: {networking.istio.io/exportTo: '.'}}",
    );
    assert_ne!(elsewhere, hidden);
    let sidecar = Sidecar::start(XdsTransport::Delta, &service("a", "http", &[&a])).await?;
    sidecar.config.write("b.yaml", &elsewhere)?;
    sidecar.routes("b.other", "b.other").await?;
    sidecar.config.write("b.yaml", &hidden)?;
    sidecar.reaches(&["80|a"]).await?;
    sidecar.config.write("b.yaml", &elsewhere)?;
    sidecar.routes("b.other", "b.other").await?;
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

const MESH: &str = "  mesh: |\n";

#[tokio::test]
async fn a_default_of_the_mesh_holds_at_once_for_objects_that_are_there() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let elsewhere = service("b", "http", &[&b]).replace("namespace: default", "namespace: other");
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                metadata: {name: a, namespace: other}\n\
                spec: {hosts: [a.default.svc.cluster.local], http: [{route: [{destination: {host: b}}]}]}\n";
    let sidecar = Sidecar::start(XdsTransport::Delta, &(service("a", "http", &[&a]) + &elsewhere + rule)).await?;
    sidecar.routes("a", "b.other").await?;
    sidecar.routes("b.other", "b.other").await?;
    let hide =
        |what: &str| sidecar.config.edit("mesh.yaml", |mesh| mesh.replace(MESH, &format!("{MESH}    {what}: ['.']\n")));
    hide("defaultVirtualServiceExportTo")?;
    sidecar.routes("a", "a.default").await?;
    sidecar.routes("b.other", "b.other").await?;
    hide("defaultServiceExportTo")?;
    sidecar.reaches(&["80|a"]).await?;
    sidecar.config.edit("mesh.yaml", |mesh| mesh.replace("ExportTo: ['.']", "ExportTo: ['*']"))?;
    sidecar.routes("a", "b.other").await?;
    sidecar.routes("b.other", "b.other").await?;
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

#[tokio::test]
async fn the_forward_proxy_routes_by_host_and_port_also_where_a_sidecar_object_imports_rules_only() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let far = service("b", "http", &[&b])
        .replace("namespace: default", "namespace: other")
        .replace("port: 80,", "port: 8080,");
    let more = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: far, namespace: default}\n\
                spec: {hosts: [far.example], http: [{route: [{destination: {host: b.other.svc.cluster.local}}]}]}\n\
                ---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: default}\n\
                spec: {egress: [{hosts: ['./*']}]}\n";
    let sidecar = Sidecar::start(XdsTransport::Delta, &(service("a", "http", &[&a]) + &far + more)).await?;
    let port = free_port()?;
    sidecar.config.edit("mesh.yaml", |mesh| mesh.replace(MESH, &format!("{MESH}    proxyHttpPort: {port}\n")))?;
    let client = Client::http(SocketAddr::from(([127, 0, 0, 1], port)));
    let answered = async |host: &str, by: &str| {
        eventually(&format!("{host} answered by {by}"), PATIENCE, || async {
            let reply = client.send(&Request::get("/").host(host)).await?;
            ensure!((reply.status, reply.upstream()) == (200, by), "{} by {}", reply.status, reply.upstream());
            anyhow::Ok(())
        })
        .await
    };
    answered("a", "a").await?;
    answered("a.default:80", "a").await?;
    // Not imported, but where a rule leads that is.
    answered("far.example", "b").await?;
    let everything = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: default}\n\
                      spec: {egress: [{hosts: ['*/*']}]}\n";
    sidecar.config.edit("objects.yaml", |objects| {
        let (before, _) = objects.rsplit_once("---\n").unwrap_or_default();
        format!("{before}---\n{everything}")
    })?;
    answered("b.other:8080", "b").await?;
    answered("far.example:80", "b").await?;
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}
