//! Short requests over HTTP/1.1: to Envoy's admin interface, to the workload.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host has no address.
    #[error("{0} is nowhere")]
    NoAddress(String),
    /// Nobody listens.
    #[error("connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// HTTP broke.
    #[error("speak HTTP with {address}")]
    Http {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The request cannot be written.
    #[error("write the request {path}")]
    Request {
        /// What.
        path: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// The body broke, or is too long.
    #[error("read the answer of {address}")]
    Body {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{0} does not answer in time")]
    Timeout(String),
    /// The TLS library refuses its own defaults.
    #[error("set up TLS")]
    Tls(#[source] TlsError),
}

/// A server, and how it is reached.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its host or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS, whose certificate is not looked at, as kubelet does for probes.
    pub is_tls: bool,
    /// From which address; redirection leaves some alone.
    pub from: Option<IpAddr>,
    /// How long all of it may take.
    pub patience: Duration,
    /// The longest body that is read.
    pub limit: usize,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Server {
    /// One on this machine.
    #[must_use]
    pub fn local(address: IpAddr, port: u16) -> Self {
        let (host, patience) = (address.to_string(), Duration::from_secs(10));
        Self { host, port, is_tls: false, from: None, patience, limit: 256 << 20 }
    }

    fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn send(&self, method: Method, path: &str, headers: &HeaderMap) -> Result<Answer, ClientError> {
        let answered = timeout(self.patience, self.exchange(method, path, headers)).await;
        answered.unwrap_or_else(|_| Err(ClientError::Timeout(self.address())))
    }

    /// Asks for a page.
    ///
    /// # Errors
    /// As [`Server::send`].
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, &HeaderMap::new()).await
    }

    /// Connects, and no more.
    ///
    /// # Errors
    /// Nobody listens, or not in time.
    pub async fn connect(&self) -> Result<TcpStream, ClientError> {
        let connected = timeout(self.patience, self.open()).await;
        connected.unwrap_or_else(|_| Err(ClientError::Timeout(self.address())))
    }

    /// Tries all addresses of a name: `localhost` often is `::1` too, where nobody listens.
    async fn open(&self) -> Result<TcpStream, ClientError> {
        let failed = |source| ClientError::Connect { address: self.address(), source };
        let mut last = ClientError::NoAddress(self.address());
        for target in lookup_host(self.address()).await.map_err(failed)? {
            match self.open_at(target).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = failed(error),
            }
        }
        Err(last)
    }

    async fn open_at(&self, target: SocketAddr) -> io::Result<TcpStream> {
        let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = self.from.filter(|from| from.is_ipv4() == target.is_ipv4()) {
            socket.bind((from, 0).into())?;
        }
        socket.connect(target).await
    }

    async fn exchange(&self, method: Method, path: &str, headers: &HeaderMap) -> Result<Answer, ClientError> {
        let stream = self.open().await?;
        let io: Box<dyn Io> = if self.is_tls { Box::new(self.unverified(stream).await?) } else { Box::new(stream) };
        let failed = |source| ClientError::Http { address: self.address(), source };
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(failed)?;
        // Ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Empty::<Bytes>::new())
            .map_err(|source| ClientError::Request { path: path.to_owned(), source })?;
        *request.headers_mut() = headers.clone();
        if let (false, Ok(host)) = (headers.contains_key(header::HOST), self.address().try_into()) {
            request.headers_mut().insert(header::HOST, host);
        }
        let answer = sender.send_request(request).await.map_err(failed)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, self.limit).collect().await;
        let body = body.map_err(|source| ClientError::Body { address: self.address(), source })?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    async fn unverified(&self, stream: TcpStream) -> Result<impl Io + use<>, ClientError> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(ClientError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        let name = stream.peer_addr().map(|peer| ServerName::from(peer.ip()));
        let failed = |source| ClientError::Connect { address: self.address(), source };
        TlsConnector::from(Arc::new(config)).connect(name.map_err(failed)?, stream).await.map_err(failed)
    }
}

/// Takes any certificate: a probe asks whether the workload answers, not who it is.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
