//! A control plane, a gateway that it configures, and the objects that most tests need.

use std::{fmt::Write, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    certs::KeyPairPem,
    client::{Client, Reply, Request},
    envoy::{Envoy, EnvoyOptions, Node, XdsServer, XdsTransport},
    link::Link,
    mesh_tls::MeshTls,
    mizzen::Mizzen,
    ports::free_port,
    source::{Objects, Source},
    upstream::Upstream,
    wait::{PATIENCE, eventually},
};

/// mizzen on some objects, and a gateway Envoy in namespace `default` that it configures.
#[derive(Debug)]
pub struct Scene {
    /// The objects.
    pub config: Objects,
    /// The control plane.
    pub mizzen: Mizzen,
    /// The gateway.
    pub envoy: Envoy,
    /// What the gateway's xDS goes through.
    pub link: Link,
    /// The port of the gateway that [`http_gateway`] opens; other tests take more from [`free_port`].
    pub port: u16,
    /// The files of the control plane's TLS, if the gateway speaks it.
    _tls: Option<MeshTls>,
}

/// The name of the gateway's service account: see [`Node`].
const ACCOUNT: &str = "gw-sa";

impl Scene {
    /// Starts both with [`http_gateway`] and these objects, over incremental xDS, and waits until all of it serves.
    ///
    /// # Errors
    /// When something does not start or become ready.
    pub async fn start(objects: &str) -> Result<Self> {
        Self::start_over(XdsTransport::Delta, objects).await
    }

    /// The same over a variant of xDS.
    ///
    /// # Errors
    /// As [`Scene::start`].
    pub async fn start_over(transport: XdsTransport, objects: &str) -> Result<Self> {
        Self::start_from(Source::Files, transport, objects).await
    }

    /// The same with objects from files or an API server.
    ///
    /// # Errors
    /// As [`Scene::start`].
    pub async fn start_from(source: Source, transport: XdsTransport, objects: &str) -> Result<Self> {
        let (config, port) = Self::objects(source, objects).await?;
        let mizzen = Mizzen::start(config.options()).await?;
        let link = Link::open(mizzen.grpc()).await?;
        let xds = XdsServer { transport, ..XdsServer::plaintext(link.address()) };
        let envoy = Self::gateway(xds, &mizzen).await?;
        Ok(Self { config, mizzen, envoy, link, port, _tls: None })
    }

    /// The same over incremental xDS with TLS both ways: the gateway has the certificate of its service account, which
    /// may list Secrets in its namespace.
    ///
    /// # Errors
    /// As [`Scene::start`].
    pub async fn start_secure(source: Source, objects: &str) -> Result<Self> {
        let (config, port) = Self::objects(source, objects).await?;
        config.let_list_secrets("default", ACCOUNT)?;
        let tls = MeshTls::new()?;
        let mizzen = Mizzen::start(tls.options(config.options())).await?;
        let link = Link::open(mizzen.secure_grpc()).await?;
        let envoy = Self::gateway(tls.xds(link.address(), "default", ACCOUNT)?, &mizzen).await?;
        Ok(Self { config, mizzen, envoy, link, port, _tls: Some(tls) })
    }

    async fn objects(source: Source, objects: &str) -> Result<(Objects, u16)> {
        let (config, port) = (Objects::new(source).await?, free_port()?);
        config.write("gateway.yaml", http_gateway(port))?;
        config.write("objects.yaml", objects)?;
        Ok((config, port))
    }

    async fn gateway(xds: XdsServer, mizzen: &Mizzen) -> Result<Envoy> {
        let options =
            EnvoyOptions { xds: Some(xds), ..EnvoyOptions::fixed(Node::router("gw", "default"), Value::Null) };
        let mut envoy = Envoy::start(&options).await?;
        let ready = envoy.wait_ready(PATIENCE).await;
        ready.with_context(|| format!("log of Envoy:\n{}\nlog of mizzen:\n{}", envoy.log(), mizzen.log()))?;
        envoy.wait_warm(PATIENCE).await?;
        Ok(envoy)
    }

    /// A client of the gateway's HTTP port.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::http(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    /// Sends a request to the gateway's HTTP port.
    ///
    /// # Errors
    /// When there is no whole reply.
    pub async fn send(&self, request: &Request) -> Result<Reply> {
        self.client().send(request).await
    }

    /// Waits until a request is answered 200 by an upstream.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn answered_by(&self, upstream: &str, request: &Request) -> Result<Reply> {
        eventually(&format!("an answer of {upstream}"), PATIENCE, || async {
            let reply = self.send(request).await?;
            ensure!(
                (reply.status, reply.upstream()) == (200, upstream),
                "{} from {}: {}",
                reply.status,
                reply.upstream(),
                reply.text()
            );
            Ok::<_, anyhow::Error>(reply)
        })
        .await
    }

    /// How many requests out of so many each upstream answers, in the order of `upstreams`.
    ///
    /// # Errors
    /// When a request fails, or another upstream answers.
    pub async fn share<const N: usize>(
        &self,
        request: &Request,
        requests: usize,
        upstreams: [&str; N],
    ) -> Result<[usize; N]> {
        let mut connection = self.client().connect().await?;
        let mut share = [0; N];
        for _ in 0..requests {
            let reply = connection.send(request).await?;
            let at = upstreams.iter().position(|u| *u == reply.upstream());
            share[at.with_context(|| format!("{} from {}", reply.status, reply.upstream()))?] += 1;
        }
        Ok(share)
    }

    /// Demands that Envoy has refused nothing that it was sent.
    ///
    /// # Errors
    /// When it has, with both logs.
    pub async fn nothing_refused(&self) -> Result<()> {
        nothing_refused(&self.envoy, &self.mizzen).await
    }
}

/// Demands that an Envoy has refused nothing that it was sent.
///
/// # Errors
/// When it has, with both logs.
pub async fn nothing_refused(envoy: &Envoy, mizzen: &Mizzen) -> Result<()> {
    let refused = envoy.admin().stats("update_rejected$").await?;
    ensure!(
        refused.values().all(|n| *n == 0),
        "{refused:?}\nlog of Envoy:\n{}\nlog of mizzen:\n{}",
        envoy.log(),
        mizzen.log()
    );
    Ok(())
}

/// No mutual TLS, for where there is no authority: what waits for a certificate would wait for ever.
pub const WITHOUT_MTLS: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
";

/// Gateway `default/gateway`: HTTP for any host on a port of the gateways labelled `istio: ingressgateway`.
#[must_use]
pub fn http_gateway(port: u16) -> String {
    gateway("gateway", &format!("  - {{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}\n"))
}

/// Gateway `default/<name>` with these servers: items of a YAML list, indented by two.
#[must_use]
pub fn gateway(name: &str, servers: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  selector: {{istio: ingressgateway}}\n  servers:\n{servers}"
    )
}

/// Secret `default/<name>` of these texts.
#[must_use]
pub fn secret(name: &str, data: &[(&str, &str)]) -> String {
    let mut yaml =
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\nstringData:\n");
    for (key, text) in data {
        // JSON strings are YAML.
        let _ = writeln!(yaml, "  {key}: {}", serde_json::json!(text));
    }
    yaml
}

/// The same with a certificate and its key.
#[must_use]
pub fn tls_secret(name: &str, pair: &KeyPairPem) -> String {
    secret(name, &[("tls.crt", &pair.cert), ("tls.key", &pair.key)])
}

/// Service `default/<name>` (cluster IP 10.96.0.0/16) with one port, 80, of this name (`http`, `tcp-x`, …), and the
/// EndpointSlice of its endpoints, which listen on loopback.
#[must_use]
pub fn service(name: &str, port_name: &str, endpoints: &[&Upstream]) -> String {
    // Any address will do as long as two services of a test differ.
    let [a, b] = name.bytes().fold(7_u16, |sum, c| sum.wrapping_mul(31).wrapping_add(c.into())).to_be_bytes();
    let mut yaml = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
         clusterIP: 10.96.{a}.{b}\n  selector: {{app: {name}}}\n  \
         ports: [{{name: {port_name}, port: 80, targetPort: 8080}}]\n"
    );
    for (n, endpoint) in endpoints.iter().enumerate() {
        // A slice each: they may have different ports.
        let _infallible = write!(
            yaml,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-{n}\n  \
             namespace: default\n  labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\n\
             ports: [{{name: {port_name}, port: {}, protocol: TCP}}]\n\
             endpoints: [{{addresses: ['{}'], conditions: {{ready: true}}}}]\n",
            endpoint.port(),
            endpoint.address().ip(),
        );
    }
    yaml
}

/// VirtualService `default/<name>` on Gateway `default/gateway` for a host; `spec` is the rest of its `spec`, indented
/// by two.
#[must_use]
pub fn virtual_service(name: &str, host: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  hosts: ['{host}']\n  gateways: [gateway]\n{spec}"
    )
}

/// VirtualService `default/<name>` on Gateway `default/gateway` that sends a host to a service.
#[must_use]
pub fn route_all(name: &str, host: &str, service: &str) -> String {
    virtual_service(name, host, &format!("  http: [{{route: [{{destination: {{host: {service}}}}}]}}]\n"))
}
