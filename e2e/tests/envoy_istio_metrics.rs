//! Istio's metrics: of a gateway and of a sidecar that speak mutual TLS with each other, as their agents show them.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Authority, CONTROL_PLANE, Client, ConfigDir, Mizzen, MizzenOptions, PATIENCE, Pod, PodOptions, Request, Signer,
    Upstream, UpstreamOptions, Wire, eventually, free_port, service,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const HOST: &str = "web.example";
const WEB: &str = "web.shop.svc.cluster.local";
const PRINCIPAL: &str = "spiffe://cluster.local/ns/shop/sa/web";

const OPENED: &str = "istio_tcp_connections_opened_total";
const OF_THE_END: [&str; 3] =
    ["istio_tcp_sent_bytes_total", "istio_tcp_received_bytes_total", "istio_tcp_connections_closed_total"];

/// What the sidecar answers with itself: nothing redirects connections here, and its workload would be itself.
const ANSWER: u16 = 299;

/// What a mesh is like that a test starts.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// More of its configuration, indented by four.
    mesh: &'static str,
    /// The sidecar's port, by its protocol.
    port: &'static str,
    /// The host that the gateway's port for TCP leads to.
    tcp: &'static str,
}

const BYTES: &str = "bytes.default.svc.cluster.local";
const USUAL: Kind = Kind { mesh: "", port: "http", tcp: BYTES };

/// A Service whose Pod is the sidecar's, a gateway that leads to it and to plain TCP, and what answers at the sidecar. What
/// speaks no mutual TLS is not served.
fn objects(kind: Kind, http: u16, tcp: u16, inbound: u16) -> String {
    let Kind { port, tcp: destination, .. } = kind;
    format!(
        r#"apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{clusterIP: 10.96.0.1, selector: {{app: web}}, ports: [{{name: {port}, port: 80, targetPort: {inbound}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web-1, namespace: shop, labels: {{app: web, security.istio.io/tlsMode: istio}}}}
spec: {{serviceAccountName: web, nodeName: n}}
status: {{phase: Running, podIP: 127.0.0.1, podIPs: [{{ip: 127.0.0.1}}], conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-0, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: {port}, port: {inbound}}}]
endpoints:
- {{addresses: [127.0.0.1], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: web-1, namespace: shop}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: {http}, name: http, protocol: HTTP}}, hosts: ["*"]}}
  - {{port: {{number: {tcp}, name: tcp, protocol: TCP}}, hosts: ["*"]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: routes, namespace: default}}
spec:
  hosts: ["*"]
  gateways: [gateway]
  http: [{{match: [{{port: {http}}}], route: [{{destination: {{host: {WEB}, port: {{number: 80}}}}}}]}}]
  tcp: [{{match: [{{port: {tcp}}}], route: [{{destination: {{host: {destination}, port: {{number: 80}}}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: strict, namespace: shop}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: answers, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: web}}}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager, subFilter: {{name: envoy.filters.http.router}}}}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.fault
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
          abort: {{http_status: {ANSWER}, percentage: {{numerator: 100}}}}
"#
    )
}

/// A control plane, an authority, a gateway and the sidecar behind it.
struct Mesh {
    http: u16,
    tcp: u16,
    gateway: Pod,
    sidecar: Pod,
    _config: ConfigDir,
    _mizzen: Mizzen,
    _signer: Signer,
    _bytes: Upstream,
}

impl Mesh {
    async fn start(kind: Kind) -> Result<Self> {
        let (http, tcp, inbound, outbound) = (free_port()?, free_port()?, free_port()?, free_port()?);
        let bytes = Upstream::start("bytes", UpstreamOptions { wire: Wire::Tcp, ..UpstreamOptions::default() }).await?;
        let config = ConfigDir::new()?;
        let services = service("bytes", "tcp", &[&bytes]) + &service("nothing", "tcp", &[]);
        config.write("objects.yaml", objects(kind, http, tcp, inbound) + &services)?;
        config.write(
            "mesh.yaml",
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
                 proxyListenPort: {outbound}\n    proxyInboundListenPort: {inbound}\n{}",
                kind.mesh
            ),
        )?;
        let mizzen = Mizzen::start(MizzenOptions::files(config.path())).await?;
        let authority = Arc::new(Authority::new("mesh")?);
        let own = authority.issue(&[CONTROL_PLANE])?;
        let signer = Signer::start(Arc::clone(&authority), &own, Duration::from_secs(3600)).await?;
        let pod = |role, name: &str| {
            let mut options = PodOptions::plaintext(role, mizzen.grpc())
                .env("POD_NAME", format!("{name}-1"))
                .env("ISTIO_META_WORKLOAD_NAME", name)
                .env("CA_SNI", CONTROL_PLANE);
            options.authority = Some(signer.address());
            authority.pem().clone_into(&mut options.roots);
            options
        };
        let mut sidecar = Pod::start(&pod("sidecar", "web").label("app", "web").label("version", "v7"))?;
        let mut gateway = Pod::start(&pod("router", "gateway").label("istio", "ingressgateway"))?;
        sidecar.wait_ready().await?;
        gateway.wait_ready().await?;
        Ok(Self { http, tcp, gateway, sidecar, _config: config, _mizzen: mizzen, _signer: signer, _bytes: bytes })
    }

    /// A request that the sidecar answers.
    async fn request(&self) -> Result<()> {
        let client = Client::http(([127, 0, 0, 1], self.http).into());
        eventually("an answer of the sidecar", PATIENCE, || async {
            let reply = client.send(&Request::get("/").host(HOST)).await?;
            ensure!(reply.status == ANSWER, "{} {}", reply.status, reply.text());
            anyhow::Ok(())
        })
        .await
    }
}

/// The labels and the value of each sample of a metric.
async fn samples(pod: &Pod, metric: &str) -> Result<Vec<(BTreeMap<String, String>, f64)>> {
    let text = pod.page(&Request::get("/stats/prometheus")).await?.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.rsplit_once("} "));
    let read = lines.map(|(labels, value)| {
        let pairs = labels.trim_end_matches('"').split("\",").filter_map(|pair| pair.split_once("=\""));
        Ok((pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(), value.parse()?))
    });
    read.collect::<Result<_>>().with_context(|| text.clone())
}

/// Waits for a sample with these labels that counts something.
async fn counted(pod: &Pod, metric: &str, labels: &[(&str, &str)]) -> Result<BTreeMap<String, String>> {
    eventually(&format!("{metric} {labels:?}"), PATIENCE, || async {
        let all = samples(pod, metric).await?;
        let has = |found: &BTreeMap<String, String>| labels.iter().all(|(k, v)| found.get(*k).is_some_and(|f| f == v));
        let found = all.iter().find(|(found, value)| has(found) && *value > 0.0);
        found.map(|(labels, _)| labels.clone()).with_context(|| format!("{all:#?}"))
    })
    .await
}

/// What both sides say of the same requests.
const SHARED: [(&str, &str); 12] = [
    ("source_principal", PRINCIPAL),
    ("source_workload_namespace", "shop"),
    ("destination_principal", PRINCIPAL),
    ("destination_workload_namespace", "shop"),
    ("destination_service", WEB),
    ("destination_service_name", "web"),
    ("destination_service_namespace", "shop"),
    ("destination_canonical_service", "web"),
    ("request_protocol", "http"),
    ("response_code", "299"),
    ("response_flags", "FI"),
    ("grpc_response_status", ""),
];

#[tokio::test]
async fn both_sides_of_mutual_tls_tell_who_asked_whom() -> Result<()> {
    let mesh = Mesh::start(USUAL).await?;
    mesh.request().await?;
    let shared = SHARED.to_vec();
    let with = |more: &[(&'static str, &'static str)]| [&shared[..], more].concat();
    let of_server = with(&[
        ("reporter", "destination"),
        ("connection_security_policy", "mutual_tls"),
        ("destination_workload", "web"),
        ("destination_app", "web"),
        ("destination_version", "v7"),
        ("source_workload", "unknown"),
    ]);
    counted(&mesh.sidecar, "istio_requests_total", &of_server).await?;
    counted(&mesh.sidecar, "istio_request_duration_milliseconds_count", &of_server).await?;
    let mut of_client = with(&[
        ("reporter", "source"),
        ("connection_security_policy", "unknown"),
        ("source_workload", "gateway"),
        ("source_canonical_service", "gateway"),
        ("source_cluster", "Kubernetes"),
    ]);
    // Only the server knows that it has refused.
    of_client.retain(|(key, _)| *key != "response_flags");
    of_client.push(("response_flags", "-"));
    let labels = counted(&mesh.gateway, "istio_requests_total", &of_client).await?;
    counted(&mesh.gateway, "istio_request_duration_milliseconds_count", &of_client).await?;
    let expected = 25;
    assert_eq!(labels.len(), expected, "as many labels as Istio's: {labels:?}");
    let text = mesh.gateway.page(&Request::get("/stats/prometheus")).await?.text();
    assert!(text.contains("# TYPE istio_requests_total counter") && !text.contains("envoy_istio_"), "{text}");
    let raw = mesh.gateway.envoy_page("/stats/prometheus").await?.text();
    assert!(raw.contains("envoy_istio_requests_total{reporter=\"source\""), "{raw}");
    Ok(())
}

/// What a gateway says of connections to a service.
fn of_connections(service: &'static str, flags: &'static str) -> [(&'static str, &'static str); 5] {
    [
        ("reporter", "source"),
        ("request_protocol", "tcp"),
        ("source_workload", "gateway"),
        ("destination_service", service),
        ("response_flags", flags),
    ]
}

/// The samples of a metric with these labels, added up.
async fn sum(pod: &Pod, metric: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let has = |found: &BTreeMap<String, String>| labels.iter().all(|(k, v)| found.get(*k).is_some_and(|f| f == v));
    Ok(samples(pod, metric).await?.into_iter().filter(|(found, _)| has(found)).map(|(_, value)| value).sum())
}

#[tokio::test]
async fn connections_are_counted_when_they_open_and_once_more_with_their_bytes_when_they_end() -> Result<()> {
    const LINE: &str = "the connection to ";
    let mesh = Mesh::start(Kind {
        mesh: "    accessLogFile: /dev/stdout\n    accessLogFormat: the connection to %UPSTREAM_CLUSTER_RAW% %ACCESS_LOG_TYPE%\n",
        ..USUAL
    })
    .await?;
    let mut stream = eventually("a connection through the gateway", PATIENCE, || async {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], mesh.tcp))).await?;
        let mut greeting = [0; 6];
        stream.read_exact(&mut greeting).await?;
        ensure!(&greeting == b"bytes\n", "{greeting:?}");
        anyhow::Ok(stream)
    })
    .await?;
    let labels = of_connections(BYTES, "-");
    counted(&mesh.gateway, OPENED, &labels).await?;
    // What is told of its end is told with what is told of its beginning, or later.
    for metric in OF_THE_END {
        assert_eq!(sum(&mesh.gateway, metric, &labels).await?, 0.0, "{metric}");
    }
    assert!(!mesh.gateway.log().contains(LINE), "{}", mesh.gateway.log());
    stream.write_all(b"hello").await?;
    stream.shutdown().await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    assert_eq!(said, "hello");
    for metric in OF_THE_END {
        counted(&mesh.gateway, metric, &labels).await?;
    }
    let opened = sum(&mesh.gateway, OPENED, &labels).await?;
    let [sent, received, closed] = OF_THE_END;
    assert_eq!((opened, sum(&mesh.gateway, closed, &labels).await?), (1.0, 1.0));
    assert_eq!(sum(&mesh.gateway, sent, &labels).await?, 11.0);
    assert_eq!(sum(&mesh.gateway, received, &labels).await?, 5.0);
    let line = format!("{LINE}outbound|80||{BYTES} TcpConnectionEnd");
    mesh.gateway.logs(&line).await?;
    assert_eq!(mesh.gateway.log().matches(LINE).count(), 1, "{}", mesh.gateway.log());
    Ok(())
}

#[tokio::test]
async fn both_sides_of_mutual_tls_count_a_connection_that_opens() -> Result<()> {
    let mesh = Mesh::start(Kind { port: "tcp", tcp: WEB, ..USUAL }).await?;
    eventually("a connection to the sidecar", PATIENCE, || async {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], mesh.tcp))).await?;
        stream.write_all(b"hello").await?;
        // The sidecar leads to itself, in plaintext, and takes none: it may be the one or the other end.
        let _closed = stream.read(&mut [0; 1]).await;
        counted(&mesh.sidecar, OPENED, &[("reporter", "destination")]).await
    })
    .await?;
    let principals = [("source_principal", PRINCIPAL), ("destination_principal", PRINCIPAL)];
    let of_client = [&of_connections(WEB, "-")[..], &principals, &[("destination_canonical_service", "web")]].concat();
    let mut of_server = [&principals[..], &[("destination_service", WEB), ("destination_app", "web")]].concat();
    of_server.push(("connection_security_policy", "mutual_tls"));
    counted(&mesh.gateway, OPENED, &of_client).await?;
    counted(&mesh.sidecar, OPENED, &of_server).await?;
    Ok(())
}

#[tokio::test]
async fn a_connection_in_vain_opens_and_ends_at_once() -> Result<()> {
    const NOTHING: &str = "nothing.default.svc.cluster.local";
    let mesh = Mesh::start(Kind { tcp: NOTHING, ..USUAL }).await?;
    eventually("a connection to the gateway", PATIENCE, || async {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], mesh.tcp))).await?;
        let _closed = stream.read(&mut [0; 1]).await;
        anyhow::Ok(())
    })
    .await?;
    let labels = of_connections(NOTHING, "UH");
    for metric in [OPENED, OF_THE_END[2]] {
        counted(&mesh.gateway, metric, &labels).await?;
        assert_eq!(sum(&mesh.gateway, metric, &labels).await?, 1.0, "{metric}");
    }
    Ok(())
}

#[tokio::test]
async fn a_mesh_without_a_provider_of_metrics_has_none() -> Result<()> {
    let mesh = Mesh::start(Kind { mesh: "    defaultProviders: {metrics: []}\n", ..USUAL }).await?;
    mesh.request().await?;
    eventually("other statistics of the request", PATIENCE, || async {
        let text = mesh.gateway.page(&Request::get("/stats/prometheus")).await?.text();
        ensure!(text.contains("envoy_cluster_manager_cds_update_success"), "{text}");
        anyhow::Ok(())
    })
    .await?;
    assert!(samples(&mesh.gateway, "istio_requests_total").await?.is_empty());
    Ok(())
}
