//! A control plane on an API server, a gateway of it, and objects as text.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    ApiServer, Client, Envoy, EnvoyOptions, Mizzen, MizzenOptions, Node, PATIENCE, Request, Upstream, UpstreamOptions,
    eventually, free_port,
};

/// A control plane, and a gateway that gets its configuration without TLS.
pub(crate) struct World {
    pub(crate) mizzen: Mizzen,
    pub(crate) envoy: Envoy,
    /// Where the gateway shall listen: see [`gateway`].
    pub(crate) port: u16,
}

impl World {
    pub(crate) async fn start(server: &ApiServer) -> Result<Self> {
        let mizzen = Mizzen::start(MizzenOptions::cluster(&server.kubeconfig())).await?;
        let node = Node::router("gateway", "istio-system");
        let envoy = Envoy::start_ready(&EnvoyOptions::dynamic(node, mizzen.grpc())).await?;
        Ok(Self { mizzen, envoy, port: free_port()? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) async fn answer(&self, path: &str, upstream: &str) -> Result<()> {
        let reply = Client::http(self.address()).send(&Request::get(path)).await?;
        ensure!(reply.upstream() == upstream, "{} {:?}", reply.status, reply.upstream());
        Ok(())
    }

    pub(crate) async fn answers(&self, path: &str, upstream: &str) -> Result<()> {
        let waited = eventually(&format!("{path} from {upstream}"), PATIENCE, || self.answer(path, upstream)).await;
        waited.with_context(|| format!("mizzen:\n{}\nEnvoy:\n{}", self.mizzen.log(), self.envoy.log()))
    }

    /// Waits until exactly these problems exist.
    pub(crate) async fn problems(&self, expected: &[&str]) -> Result<()> {
        eventually(&format!("the problems {expected:?}"), PATIENCE, || async {
            let page = self.mizzen.json("/debug/problems").await?;
            let found: Vec<_> = page.as_array().context("a list")?.iter().map(|p| p["message"].clone()).collect();
            ensure!(found == expected, "{found:#?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    pub(crate) async fn status(&self, path: &str, status: u16) -> Result<()> {
        eventually(&format!("{status} for {path}"), PATIENCE, || async {
            let reply = Client::http(self.address()).send(&Request::get(path)).await?;
            ensure!(reply.status == status, "{} {:?}", reply.status, reply.upstream());
            Ok::<_, anyhow::Error>(())
        })
        .await
    }
}

pub(crate) fn crds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds")
}

/// An API server that knows every kind, and has the namespace of the control plane.
pub(crate) async fn server_with_crds() -> Result<ApiServer> {
    let server = ApiServer::start().await?;
    server.apply_path(&crds())?;
    server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
    server.apply("{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}")?;
    Ok(server)
}

/// An upstream that an EndpointSlice may name.
pub(crate) async fn upstream(name: &str) -> Result<Upstream> {
    let ip = Upstream::pod_address()?;
    Upstream::start(name, UpstreamOptions { ip, ..UpstreamOptions::default() }).await
}

pub(crate) fn service(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: default}}, \
         spec: {{ports: [{{name: http, port: 80}}]}}}}\n"
    )
}

pub(crate) fn endpoints(name: &str, upstream: &Upstream) -> String {
    let (ip, port) = (upstream.address().ip(), upstream.port());
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}-1, namespace: default, \
         labels: {{kubernetes.io/service-name: {name}}}}}, addressType: IPv4, \
         ports: [{{name: http, port: {port}, protocol: TCP}}], \
         endpoints: [{{addresses: ['{ip}'], conditions: {{ready: true}}}}]}}\n"
    )
}

pub(crate) fn gateway(port: u16) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: gateway, namespace: default}}, \
         spec: {{selector: {{istio: ingressgateway}}, \
         servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}]}}}}\n"
    )
}

/// Requests under `prefix` go to a service. Several such objects are one virtual host.
pub(crate) fn virtual_service(name: &str, prefix: &str, service: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, namespace: default}}, \
         spec: {{hosts: ['*'], gateways: [gateway], http: [{{match: [{{uri: {{prefix: {prefix}}}}}], \
         route: [{{destination: {{host: {service}.default.svc.cluster.local, port: {{number: 80}}}}}}]}}]}}}}\n"
    )
}
