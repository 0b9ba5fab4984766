//! Servers behind the proxies: they say who they are and what they were asked.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::certs::KeyPairPem;

/// The response header that carries an upstream's name.
pub(crate) const NAME_HEADER: &str = "x-upstream";
/// A request header: answer with this status.
const STATUS_HEADER: &str = "x-echo-status";
/// A request header: answer after so many milliseconds.
const DELAY_HEADER: &str = "x-echo-delay-ms";

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 (with prior knowledge where there is no TLS).
    Http2,
    /// Bytes: `<name>\n` first, then whatever is sent comes back.
    Tcp,
}

/// See `e2e/tools/netns`.
const POD_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// How an upstream is started.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// Where it listens. [`Upstream::pod_address`] is one that a Kubernetes endpoint may have.
    pub ip: IpAddr,
    /// The port; 0 for one that is free.
    pub port: u16,
    /// What it speaks.
    pub wire: Wire,
    /// Its certificate, if it speaks TLS.
    pub identity: Option<KeyPairPem>,
    /// Whose client certificates it demands, PEM.
    pub client_ca: Option<String>,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self { ip: Ipv4Addr::LOCALHOST.into(), port: 0, wire: Wire::Http1, identity: None, client_ca: None }
    }
}

/// What an upstream saw of a request, as it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Echo {
    /// The upstream's name.
    pub upstream: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The `:authority` or `host`.
    pub host: String,
    /// The headers; several of one name are joined by `,`.
    pub headers: BTreeMap<String, String>,
    /// The body, as text.
    pub body: String,
}

/// A running server. Dropping it closes its port and its connections.
///
/// A request may ask for a status by `x-echo-status` and for a delay by `x-echo-delay-ms`.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Starts an HTTP/1.1 server on loopback.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn http(name: &str) -> Result<Self> {
        Self::start(name, UpstreamOptions::default()).await
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When the address cannot be bound or a certificate is malformed.
    pub async fn start(name: &str, options: UpstreamOptions) -> Result<Self> {
        let tls = options.identity.as_ref().map(|pair| acceptor(pair, &options)).transpose()?;
        let at = SocketAddr::new(options.ip, options.port);
        let listener = TcpListener::bind(at).await.with_context(|| format!("bind {at}"))?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        let server = Server { name: name.into(), wire: options.wire, tls, requests: requests.clone() };
        let mut tasks = JoinSet::new();
        tasks.spawn(server.accept(listener));
        Ok(Self { address, requests, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests (or TCP connections) it has had.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// An address that Kubernetes accepts in EndpointSlices, unlike 127.0.0.0/8. The loopback of the network namespace
    /// that `e2e/tools/netns` makes has it.
    ///
    /// # Errors
    /// Outside of such a namespace.
    pub fn pod_address() -> Result<IpAddr> {
        std::net::UdpSocket::bind((POD_ADDRESS, 0))
            .with_context(|| format!("no interface has {POD_ADDRESS}: run e2e/tools/netns cargo test …"))?;
        Ok(POD_ADDRESS.into())
    }
}

fn acceptor(pair: &KeyPairPem, options: &UpstreamOptions) -> Result<tokio_rustls::TlsAcceptor> {
    let certs = CertificateDer::pem_slice_iter(pair.cert.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
    let config = ServerConfig::builder();
    let config = match &options.client_ca {
        None => config.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for cert in CertificateDer::pem_slice_iter(ca.as_bytes()) {
                roots.add(cert?)?;
            }
            config.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build()?)
        }
    };
    let mut config = config.with_single_cert(certs, key)?;
    config.alpn_protocols = match options.wire {
        Wire::Http1 => vec![b"http/1.1".to_vec()],
        Wire::Http2 => vec![b"h2".to_vec()],
        Wire::Tcp => Vec::new(),
    };
    Ok(Arc::new(config).into())
}

#[derive(Clone)]
struct Server {
    name: Arc<str>,
    wire: Wire,
    tls: Option<tokio_rustls::TlsAcceptor>,
    requests: Arc<AtomicU64>,
}

impl Server {
    async fn accept(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            // A connection that fails is the client's to notice.
            connections.spawn(self.clone().connection(tcp));
        }
    }

    async fn connection(self, tcp: TcpStream) {
        let _ = tcp.set_nodelay(true);
        match self.tls.clone() {
            None => self.serve(tcp).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(tcp).await {
                    self.serve(stream).await;
                }
            }
        }
    }

    async fn serve<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static>(self, io: IO) {
        let wire = self.wire;
        let server = self.clone();
        let service = service_fn(move |request| answer(server.clone(), request));
        let io_result = match wire {
            Wire::Http1 => conn::http1::Builder::new().serve_connection(TokioIo::new(io), service).await.is_ok(),
            Wire::Http2 => {
                let builder = conn::http2::Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(io), service).await.is_ok()
            }
            Wire::Tcp => self.talk(io).await.is_ok(),
        };
        tracing::debug!(name = %self.name, clean = io_result, "connection ended");
    }

    async fn talk<IO: AsyncRead + AsyncWrite>(&self, io: IO) -> std::io::Result<()> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (mut read, mut write) = split(io);
        write.write_all(format!("{}\n", self.name).as_bytes()).await?;
        copy(&mut read, &mut write).await?;
        write.shutdown().await
    }
}

async fn answer(server: Server, request: http::Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    server.requests.fetch_add(1, Ordering::Relaxed);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let asked = |name| head.headers.get(name).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let Some(delay) = asked(DELAY_HEADER) {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let host = head.uri.authority().map(ToString::to_string);
    let host = host.or_else(|| head.headers.get(http::header::HOST)?.to_str().ok().map(str::to_owned));
    let echo = Echo {
        upstream: server.name.to_string(),
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        host: host.unwrap_or_default(),
        headers: joined(&head.headers),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let text = serde_json::to_vec(&echo).unwrap_or_default();
    let mut response = Response::new(Full::new(text.into()));
    if let Ok(name) = echo.upstream.parse() {
        response.headers_mut().insert(NAME_HEADER, name);
    }
    if let Some(status) = asked(STATUS_HEADER).and_then(|s| http::StatusCode::from_u16(s.try_into().ok()?).ok()) {
        *response.status_mut() = status;
    }
    Ok(response)
}

fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let entry = all.entry(name.to_string()).or_default();
        if !entry.is_empty() {
            entry.push(',');
        }
        entry.push_str(&value);
    }
    all
}
