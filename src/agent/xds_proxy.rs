//! xDS of Envoy on a Unix socket, handed on to the control plane as it is (contract §6.3).
//!
//! Each stream of Envoy is one stream to the control plane on a connection of its own: it may lead to another replica
//! than the last one. Flow control and the end of either side are the other's. Bytes are handed on without being read,
//! unless the agent has something to ask for on the same stream: names ([`super::names`]).

mod body;
mod frames;
mod names;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body_util::{Either, Empty};
use hyper::{body::Incoming, client::conn::http2 as client, server::conn::http2 as server, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use self::{
    body::{Guarded, Requests},
    names::Protocol,
};
use super::{
    chain,
    metrics::Metrics,
    names::Learner,
    upstream::{Upstream, UpstreamError},
};

/// What is handed on.
const METHODS: [(&str, Protocol); 2] = [
    ("/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources", Protocol::StateOfTheWorld),
    ("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", Protocol::Delta),
];

/// gRPC's codes.
const UNIMPLEMENTED: u8 = 12;
const UNAVAILABLE: u8 = 14;

/// A control plane that is gone without a word is noticed by pings.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How much may be under way on a stream.
const WINDOW: u32 = 4 << 20;

/// Between two attempts to accept, when there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a stream is not handed on.
#[derive(Debug, thiserror::Error)]
enum ProxyError {
    #[error("connect")]
    Connect(#[source] UpstreamError),
    #[error("the token cannot stand in a header")]
    Token(#[source] header::InvalidHeaderValue),
    #[error("{0:?} cannot stand in a request")]
    Address(String, #[source] http::Error),
    #[error("speak HTTP/2 with it")]
    Http(#[source] hyper::Error),
}

/// The proxy.
#[derive(Debug)]
pub struct XdsProxy {
    /// The control plane.
    pub upstream: Upstream,
    /// What every request says besides.
    pub headers: HeaderMap,
    /// Where streams are counted.
    pub metrics: Arc<Metrics>,
    /// Who takes tables of names, if they are wanted.
    pub learner: Option<Arc<Learner>>,
}

type Answer = Response<Either<Guarded, Empty<Bytes>>>;

impl XdsProxy {
    /// Serves until dropped.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(Arc::clone(&self).connection(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of Envoy");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let service = service_fn(|request| {
            let proxy = Arc::clone(&self);
            async move { Ok::<_, Infallible>(proxy.handle(request).await) }
        });
        let mut server = server::Builder::new(TokioExecutor::new());
        server.timer(TokioTimer::new()).initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "Envoy's connection ended");
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let Some((_, protocol)) = METHODS.iter().find(|(method, _)| *method == path) else {
            return status(UNIMPLEMENTED, &format!("{path} is not served here"));
        };
        self.metrics.stream();
        match self.forward(request, &path, *protocol).await {
            Ok(answer) => {
                tracing::info!("connected to the control plane at {}", self.upstream.address);
                answer.map(Either::Left)
            }
            Err(error) => {
                self.metrics.stream_failure();
                let text = chain(&error);
                tracing::warn!("no stream of configuration from {}: {text}; Envoy tries again", self.upstream.address);
                status(UNAVAILABLE, &text)
            }
        }
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        path: &str,
        protocol: Protocol,
    ) -> Result<Response<Guarded>, ProxyError> {
        let io = self.upstream.connect().await.map_err(ProxyError::Connect)?;
        let mut builder = client::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(ProxyError::Http)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the control plane ended");
            }
        });
        let (parts, envoy) = self.request(request, path)?.into_parts();
        let (requests, hears) = Requests::new(envoy, protocol, self.learner.as_ref());
        let request = Request::from_parts(parts, requests);
        let answer = match sender.send_request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                self.upstream.failed();
                return Err(ProxyError::Http(error));
            }
        };
        let address = self.upstream.address.clone();
        Ok(answer.map(|body| Guarded { body, hears, address, _sender: sender, _driver: driver }))
    }

    fn request(&self, request: Request<Incoming>, path: &str) -> Result<Request<Incoming>, ProxyError> {
        let address = &self.upstream.address;
        let scheme = if self.upstream.tls.is_some() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(address.as_str()).path_and_query(path).build();
        let (mut parts, body) = request.into_parts();
        parts.uri = uri.map_err(|source| ProxyError::Address(address.clone(), source))?;
        parts.headers.remove(header::HOST);
        parts.headers.extend(self.headers.clone());
        if let Some(token) = self.upstream.bearer().map_err(ProxyError::Connect)? {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(ProxyError::Token)?;
            value.set_sensitive(true);
            parts.headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Request::from_parts(parts, body))
    }
}

/// Variables with headers of the requests to the control plane.
const HEADER: &str = "XDS_HEADER_";

/// The headers that variables ask for, and that of the cluster.
#[must_use]
pub fn headers<'a>(cluster: &str, variables: impl Iterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let asked = variables
        .filter_map(|(name, value)| Some((name.strip_prefix(HEADER)?.to_ascii_lowercase().replace('_', "-"), value)));
    let mut headers = HeaderMap::new();
    for (name, value) in asked.chain([("clusterid".to_owned(), cluster)]) {
        match (HeaderName::try_from(&name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
            _ => tracing::warn!("{HEADER} {name}: this cannot be a header, it has no effect"),
        }
    }
    headers
}

/// An answer that ends with a status at once.
fn status(code: u8, message: &str) -> Answer {
    let mut answer = Response::new(Either::Right(Empty::new()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    let printable: String = message.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    if let Ok(message) = HeaderValue::try_from(printable.replace('%', "?")) {
        headers.insert("grpc-message", message);
    }
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn headers_are_those_of_variables() {
        let variables = [("XDS_HEADER_X_Tenant", "a"), ("XDS_HEADER_BAD", "a\nb"), ("PATH", "/bin")];
        let made = headers("Kubernetes", variables.into_iter());
        assert_eq!(made.len(), 2);
        assert_eq!(
            (&made["x-tenant"], &made["clusterid"]),
            (&HeaderValue::from_static("a"), &HeaderValue::from_static("Kubernetes"))
        );
    }

    #[tokio::test]
    async fn a_status_says_why() {
        let answer = status(UNAVAILABLE, "no\nway ü");
        assert_eq!(
            (&answer.headers()["grpc-status"], &answer.headers()["grpc-message"]),
            (&HeaderValue::from_static("14"), &HeaderValue::from_static("no?way ?"))
        );
        assert!(answer.into_body().collect().await.expect("nothing").to_bytes().is_empty());
    }
}
