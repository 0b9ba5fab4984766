//! An HTTP client that shows what it sees: no retries, no pool, no redirects.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};

use crate::{certs::KeyPairPem, upstream::Echo};

/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The version of HTTP that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS.
    Http2,
}

/// How a client speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name asked for (SNI), which the server's certificate must carry.
    pub server_name: String,
    /// Whom to trust, PEM.
    pub ca: String,
    /// The client's own certificate.
    pub identity: Option<KeyPairPem>,
}

/// Where requests go, and how.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    version: HttpVersion,
    tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
}

impl Client {
    /// A client of a plaintext server.
    #[must_use]
    pub fn http(address: SocketAddr) -> Self {
        Self { address, version: HttpVersion::Http1, tls: None }
    }

    /// A client of a TLS server.
    ///
    /// # Errors
    /// When a certificate, key or name is malformed.
    pub fn https(address: SocketAddr, tls: &Tls) -> Result<Self> {
        let name = ServerName::try_from(tls.server_name.clone())?;
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(tls.ca.as_bytes()) {
            roots.add(cert?)?;
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match &tls.identity {
            None => config.with_no_client_auth(),
            Some(pair) => {
                let certs = CertificateDer::pem_slice_iter(pair.cert.as_bytes()).collect::<Result<_, _>>()?;
                config.with_client_auth_cert(certs, PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?)?
            }
        };
        Ok(Self { address, version: HttpVersion::Http1, tls: Some((name, Arc::new(config))) }
            .version(HttpVersion::Http1))
    }

    /// The same client, speaking this version; with TLS only this one is offered (ALPN).
    #[must_use]
    pub fn version(mut self, version: HttpVersion) -> Self {
        self.version = version;
        if let Some((_, config)) = &mut self.tls {
            let protocol: &[u8] = if version == HttpVersion::Http2 { b"h2" } else { b"http/1.1" };
            Arc::make_mut(config).alpn_protocols = vec![protocol.to_vec()];
        }
        self
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When it is refused, or a handshake fails.
    pub async fn connect(&self) -> Result<Connection> {
        let connect = async {
            let tcp = TcpStream::connect(self.address).await.context("connect")?;
            tcp.set_nodelay(true)?;
            let Some((name, config)) = &self.tls else { return Connection::over(tcp, self.version, None).await };
            let tls = tokio_rustls::TlsConnector::from(config.clone());
            let tls = tls.connect(name.clone(), tcp).await.context("TLS handshake")?;
            let peer = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let peer = peer.map(|leaf| leaf.clone().into_owned());
            Connection::over(tls, self.version, peer).await
        };
        tokio::time::timeout(REQUEST_TIMEOUT, connect).await.context("connect: no answer")?
    }

    /// Sends one request over a connection of its own.
    ///
    /// # Errors
    /// When there is no whole reply.
    pub async fn send(&self, request: &Request) -> Result<Reply> {
        self.connect().await?.send(request).await
    }
}

enum Sender {
    Http1(conn::http1::SendRequest<Full<Bytes>>),
    Http2(conn::http2::SendRequest<Full<Bytes>>),
}

/// An open connection.
pub struct Connection {
    sender: Sender,
    peer: Option<CertificateDer<'static>>,
    /// Drives the connection; ends with it.
    _driver: JoinSet<()>,
}

impl Connection {
    async fn over<IO>(io: IO, version: HttpVersion, peer: Option<CertificateDer<'static>>) -> Result<Self>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut driver = JoinSet::new();
        let sender = match version {
            HttpVersion::Http1 => {
                let (sender, connection) = conn::http1::handshake(TokioIo::new(io)).await?;
                // An error of the connection reaches the caller as the error of a request.
                driver.spawn(async move { drop(connection.await) });
                Sender::Http1(sender)
            }
            HttpVersion::Http2 => {
                let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
                driver.spawn(async move { drop(connection.await) });
                Sender::Http2(sender)
            }
        };
        Ok(Self { sender, peer, _driver: driver })
    }

    /// The server's certificate, DER.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.peer.as_deref()
    }

    /// Whether another request can be sent: false once the server has said that it closes.
    pub async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request and reads the whole reply.
    ///
    /// # Errors
    /// When there is no whole reply.
    pub async fn send(&mut self, request: &Request) -> Result<Reply> {
        let exchange = async {
            let reply = self.exchange(request).await?;
            let (head, body) = reply.into_parts();
            let body = body.collect().await.context("read the body")?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, trailers, body: body.to_bytes() })
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(reply) => reply,
            Err(_) => bail!("no reply in {REQUEST_TIMEOUT:?}"),
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<http::Response<Incoming>> {
        let reply = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request.http1()?).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request.http2(self.peer.is_some())?).await
            }
        };
        reply.context("send the request")
    }
}

/// A request, made step by step.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    host: String,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// A GET of a path (with a query, if any) on host `localhost`.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            host: "localhost".to_owned(),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// The same, with another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The same, for another host (`host:port` where a port shall be told).
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The same, with one more header.
    ///
    /// # Panics
    /// When name or value cannot stand in HTTP.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("tests write valid header names");
        self.headers.append(name, HeaderValue::from_str(value).expect("tests write valid header values"));
        self
    }

    /// The same, with a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn http1(&self) -> Result<http::Request<Full<Bytes>>> {
        let mut request = http::Request::builder().method(self.method.clone()).uri(&self.path);
        request = request.header(http::header::HOST, &self.host);
        self.finish(request)
    }

    fn http2(&self, tls: bool) -> Result<http::Request<Full<Bytes>>> {
        let scheme = if tls { "https" } else { "http" };
        let uri = http::Uri::builder().scheme(scheme).authority(&*self.host).path_and_query(&*self.path).build()?;
        let request = http::Request::builder().method(self.method.clone()).uri(uri).version(http::Version::HTTP_2);
        self.finish(request)
    }

    fn finish(&self, request: http::request::Builder) -> Result<http::Request<Full<Bytes>>> {
        let mut request = request.body(Full::new(self.body.clone()))?;
        request.headers_mut().extend(self.headers.iter().map(|(n, v)| (n.clone(), v.clone())));
        Ok(request)
    }
}

/// A whole reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The trailers (gRPC's status is among them).
    pub trailers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The first value of a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Which [`crate::Upstream`] has answered; `-` when none has.
    #[must_use]
    pub fn upstream(&self) -> &str {
        self.header(crate::upstream::NAME_HEADER).unwrap_or("-")
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What the upstream saw of the request.
    ///
    /// # Errors
    /// When the reply is not an upstream's.
    pub fn echo(&self) -> Result<Echo> {
        serde_json::from_slice(&self.body).with_context(|| format!("no echo: {} {}", self.status, self.text()))
    }
}
