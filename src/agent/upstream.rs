//! The way to the control plane: TLS that trusts the mesh's authority, the service account's token, and the workload's
//! certificate (contract §6.3). Files are read anew each time: they are rotated.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::identity::Identity;

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Nobody answers, or refuses.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{0} does not answer")]
    Timeout(String),
    /// The other side is not who it should be, or does not trust us.
    #[error("TLS with {address} as {server_name}")]
    Handshake {
        /// Where.
        address: String,
        /// Who it should be.
        server_name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The authority's certificates are none.
    #[error("{} holds no usable certificate", path.display())]
    Roots {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: Option<pem::Error>,
    },
    /// Our certificate cannot be used.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// The name is none.
    #[error("{name:?} is no name of a server")]
    Name {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: InvalidDnsNameError,
    },
}

/// A connection.
pub trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A server of the control plane.
#[derive(Debug)]
pub struct Upstream {
    /// `host:port`.
    pub address: String,
    /// TLS, if it is spoken.
    pub tls: Option<UpstreamTls>,
    /// The file of the service account's token.
    pub token: PathBuf,
}

/// TLS towards a server.
#[derive(Debug)]
pub struct UpstreamTls {
    /// Whom it must prove to be.
    pub server_name: String,
    /// The file with the authorities that are trusted.
    pub roots: PathBuf,
    /// Our certificate, when there is one.
    pub identity: watch::Receiver<Option<Arc<Identity>>>,
    /// Set when the server did not take our certificate, as after a change of its authorities: the token alone must do.
    pub without_certificate: AtomicBool,
}

impl Upstream {
    /// Connects.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(&self) -> Result<Pin<Box<dyn Io>>, UpstreamError> {
        let waited = timeout(CONNECT_TIMEOUT, self.open()).await;
        waited.unwrap_or_else(|_| Err(UpstreamError::Timeout(self.address.clone())))
    }

    /// The token, if there is one.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn bearer(&self) -> Result<Option<String>, UpstreamError> {
        match std::fs::read_to_string(&self.token) {
            Ok(token) => Ok(Some(token.trim().to_owned()).filter(|token| !token.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(UpstreamError::Read { path: self.token.clone(), source }),
        }
    }

    async fn open(&self) -> Result<Pin<Box<dyn Io>>, UpstreamError> {
        let failed = |source| UpstreamError::Connect { address: self.address.clone(), source };
        let stream = TcpStream::connect(&self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &self.tls else { return Ok(Box::pin(stream)) };
        let (config, has_certificate) = tls.config()?;
        let name = ServerName::try_from(tls.server_name.clone())
            .map_err(|source| UpstreamError::Name { name: tls.server_name.clone(), source })?;
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Ok(Box::pin(stream)),
            Err(source) => {
                // Perhaps because of it; the next attempt tells.
                tls.without_certificate.store(has_certificate, Ordering::Relaxed);
                let (address, server_name) = (self.address.clone(), tls.server_name.clone());
                Err(UpstreamError::Handshake { address, server_name, source })
            }
        }
    }

    /// Called when a connection ended before anything came: our certificate may be why.
    pub fn failed(&self) {
        if let Some(tls) = &self.tls {
            let had = tls.identity.borrow().is_some() && !tls.without_certificate.load(Ordering::Relaxed);
            tls.without_certificate.store(had, Ordering::Relaxed);
        }
    }
}

impl UpstreamTls {
    /// Whether it has a certificate of ours, too.
    fn config(&self) -> Result<(ClientConfig, bool), UpstreamError> {
        let path = self.roots.clone();
        let pem = std::fs::read(&path).map_err(|source| UpstreamError::Read { path: path.clone(), source })?;
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let certificates =
            certificates.map_err(|source| UpstreamError::Roots { path: path.clone(), source: Some(source) })?;
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(UpstreamError::Roots { path, source: None });
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(UpstreamError::Setup)?
            .with_root_certificates(roots);
        let identity = self.identity.borrow().clone();
        let identity = identity.filter(|_| !self.without_certificate.load(Ordering::Relaxed));
        let own = identity.as_deref().and_then(client_certificate);
        let has_certificate = own.is_some();
        let mut config = match own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(UpstreamError::Setup)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok((config, has_certificate))
    }
}

fn client_certificate(identity: &Identity) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect::<Result<Vec<_>, _>>().ok()?;
    Some((chain, PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).ok()?))
}
