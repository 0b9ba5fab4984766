//! Probes and hooks of the workload's containers, which the injector has turned to the agent: kubelet has no
//! certificate of the mesh. They are asked as kubelet would.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tower::service_fn;

use crate::agent::client::{ClientError, Server};

/// How much of an answer is handed on.
const BODY_LIMIT: usize = 10 << 10;

/// Redirection leaves alone what comes from here: the proxy would refuse a probe without a certificate.
const FROM_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
const FROM_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6));

/// Why a probe fails.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is none of this path.
    #[error("there is no probe {0}")]
    Unknown(String),
    /// It asks for nothing.
    #[error("the probe {0} has none of httpGet, tcpSocket and grpc")]
    Empty(String),
    /// The port is none.
    #[error("{0} is no port number")]
    Port(String),
    /// The workload does not answer.
    #[error("the workload does not answer")]
    Client(#[from] ClientError),
    /// The workload does not speak gRPC.
    #[error("the workload does not answer")]
    Transport(#[from] tonic::transport::Error),
    /// The workload refuses.
    #[error("the workload says {0}")]
    Grpc(Box<tonic::Status>),
    /// The workload is not well.
    #[error("the workload is {0:?}")]
    NotServing(ServingStatus),
    /// The probes cannot be read.
    #[error("ISTIO_KUBE_APP_PROBERS holds no probes")]
    Syntax(#[from] serde_json::Error),
}

impl ProbeError {
    /// The status that stands for it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Empty(_) | Self::Port(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: Option<HttpGet>,
    tcp_socket: Option<Tcp>,
    grpc: Option<Grpc>,
    timeout_seconds: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpGet {
    #[serde(default)]
    path: String,
    port: Port,
    #[serde(default)]
    host: String,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Clone, Debug, Deserialize)]
struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Tcp {
    port: Port,
    #[serde(default)]
    host: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Grpc {
    port: Port,
    service: Option<String>,
}

/// The injector resolves names of ports; numbers may be written as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Text(String),
}

impl Port {
    fn number(&self) -> Result<u16, ProbeError> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => text.parse().map_err(|_| ProbeError::Port(text.clone())),
        }
    }
}

/// The probes of a pod.
#[derive(Clone, Debug)]
pub struct Probes {
    by_path: BTreeMap<String, Probe>,
    /// Where the workload is.
    host: String,
    from: Option<IpAddr>,
}

impl Probes {
    /// Reads those of the variable ISTIO_KUBE_APP_PROBERS. The workload is asked at `host`.
    ///
    /// # Errors
    /// It holds none.
    pub fn parse(text: &str, host: String) -> Result<Self, ProbeError> {
        let by_path = if text.is_empty() { BTreeMap::new() } else { serde_json::from_str(text)? };
        // Loopback needs no way round the redirection.
        let from = host.parse::<IpAddr>().ok().filter(|host| !host.is_loopback());
        let from = from.map(|host| if host.is_ipv4() { FROM_V4 } else { FROM_V6 });
        Ok(Self { by_path, host, from })
    }

    /// Asks the workload what a path stands for. `headers` are those of the question.
    ///
    /// # Errors
    /// The workload does not answer, or not well.
    pub async fn run(&self, path: &str, headers: &HeaderMap) -> Result<Response, ProbeError> {
        let probe = self.by_path.get(path).ok_or_else(|| ProbeError::Unknown(path.to_owned()))?;
        let patience = Duration::from_secs(probe.timeout_seconds.unwrap_or(1).max(1));
        let server = |host: &str, port: &Port| -> Result<Server, ProbeError> {
            let host = if host.is_empty() { &self.host } else { host };
            let (host, port) = (host.to_owned(), port.number()?);
            Ok(Server { host, port, is_tls: false, from: self.from, patience, limit: usize::MAX })
        };
        match probe {
            Probe { http_get: Some(get), .. } => self.http(get, server(&get.host, &get.port)?, headers).await,
            Probe { tcp_socket: Some(tcp), .. } => {
                server(&tcp.host, &tcp.port)?.connect().await?;
                Ok(StatusCode::OK.into_response())
            }
            Probe { grpc: Some(grpc), .. } => check_grpc(grpc, server("", &grpc.port)?).await,
            Probe { .. } => Err(ProbeError::Empty(path.to_owned())),
        }
    }

    async fn http(&self, get: &HttpGet, mut server: Server, asked: &HeaderMap) -> Result<Response, ProbeError> {
        server.is_tls = get.scheme.eq_ignore_ascii_case("https");
        let mut headers = asked.clone();
        // These are about the question's connection.
        for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            headers.remove(name);
        }
        for header in &get.http_headers {
            let (name, value) = (HeaderName::try_from(&header.name), HeaderValue::try_from(&header.value));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
        let path = if get.path.starts_with('/') { get.path.clone() } else { format!("/{}", get.path) };
        let mut answer = server.send(Method::GET, &path, &headers).await?;
        answer.body.truncate(BODY_LIMIT);
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = answer.status;
        if let Some(kind) = answer.headers.remove(header::CONTENT_TYPE) {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        Ok(response)
    }
}

async fn check_grpc(grpc: &Grpc, server: Server) -> Result<Response, ProbeError> {
    let mut stream = Some(TokioIo::new(server.connect().await?));
    let endpoint = Endpoint::from_static("http://workload").timeout(server.patience);
    let channel = endpoint
        .connect_with_connector(service_fn(move |_| {
            let stream = stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
            async { stream }
        }))
        .await?;
    let request = HealthCheckRequest { service: grpc.service.clone().unwrap_or_default() };
    let answer = HealthClient::new(channel).check(request).await;
    match answer.map_err(|status| ProbeError::Grpc(Box::new(status)))?.into_inner().status() {
        ServingStatus::Serving => Ok(StatusCode::OK.into_response()),
        other => Err(ProbeError::NotServing(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::{Router, routing::get};
    use tokio::{net::TcpListener, task::JoinSet};

    use super::*;

    async fn workload() -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .route("/live", get(|headers: HeaderMap| async move { headers["x-a"].to_str().expect("text").to_owned() }))
            .route("/broken", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "ill") }));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.expect("served") });
        (address, tasks)
    }

    #[tokio::test]
    async fn the_workload_is_asked_as_its_probe_says() {
        let (address, _tasks) = workload().await;
        let port = address.port();
        let text = format!(
            r#"{{"/app-health/a/livez": {{"httpGet": {{"path": "live", "port": {port}, "httpHeaders": [{{"name": "X-A", "value": "b"}}]}}}},
                "/app-health/a/readyz": {{"httpGet": {{"path": "/broken", "port": "{port}"}}, "timeoutSeconds": 3}},
                "/app-health/a/startupz": {{"tcpSocket": {{"port": {port}}}}},
                "/app-health/b/livez": {{"tcpSocket": {{"port": 1}}}},
                "/app-health/b/readyz": {{"grpc": {{"port": {port}}}}},
                "/app-health/b/startupz": {{}}}}"#
        );
        let probes = Probes::parse(&text, "127.0.0.1".to_owned()).expect("probes");
        let none = HeaderMap::new();
        let status = async |path: &str| probes.run(path, &none).await.map_or_else(|e| e.status(), |r| r.status());
        assert_eq!(status("/app-health/a/livez").await, StatusCode::OK);
        assert_eq!(status("/app-health/a/readyz").await, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(status("/app-health/a/startupz").await, StatusCode::OK);
        assert_eq!(status("/app-health/b/livez").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/app-health/b/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/app-health/b/startupz").await, StatusCode::BAD_REQUEST);
        assert_eq!(status("/app-health/c/livez").await, StatusCode::NOT_FOUND);
        assert!(Probes::parse("[]", String::new()).is_err());
    }

    #[tokio::test]
    async fn a_workload_with_grpc_is_asked_for_its_health() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter.set_service_status("sick", tonic_health::ServingStatus::NotServing).await;
        let mut tasks = JoinSet::new();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tasks.spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .expect("served");
        });
        let text = format!(
            r#"{{"/a": {{"grpc": {{"port": {port}}}}}, "/b": {{"grpc": {{"port": {port}, "service": "sick"}}}}}}"#
        );
        let probes = Probes::parse(&text, "127.0.0.1".to_owned()).expect("probes");
        assert!(probes.run("/a", &HeaderMap::new()).await.is_ok());
        let sick = probes.run("/b", &HeaderMap::new()).await;
        assert!(matches!(sick, Err(ProbeError::NotServing(ServingStatus::NotServing))), "{sick:?}");
    }
}
