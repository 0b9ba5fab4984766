//! TLS of the secure port: our certificate, and the identities that client certificates prove.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier},
    version::{TLS12, TLS13},
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What should be PEM is not.
    #[error("the {what} is not valid PEM")]
    Pem {
        /// Certificate, key or authority.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in it.
    #[error("the {0} holds no certificate")]
    Empty(&'static str),
    /// The authority is not usable.
    #[error("the certificate authority of clients cannot be used")]
    Authority(#[source] VerifierBuilderError),
    /// Certificate and key do not fit, or a certificate is not usable.
    #[error("the certificate cannot be used")]
    Certificate(#[source] rustls::Error),
}

/// Where the parts are.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, PEM, leaf first (`--tlsCertFile`).
    pub certificate: PathBuf,
    /// Its private key, PEM (`--tlsKeyFile`).
    pub key: PathBuf,
    /// Authorities of client certificates, PEM (`--caCertFile`); without it none is asked for.
    pub client_authority: Option<PathBuf>,
}

impl Files {
    /// Reads the files.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        let authority = self.client_authority.as_deref().map(read).transpose()?;
        server_config(&certificate, &key, authority.as_deref())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// A server's side of TLS 1.2 and newer for HTTP/2. A client certificate is optional; one that is presented must
/// come from `client_authority`.
pub fn server_config(
    certificate: &[u8],
    key: &[u8],
    client_authority: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { what: "private key", source })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Certificate)?;
    let builder = match client_authority {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(pem, "client certificate authority")? {
                roots.add(authority).map_err(TlsError::Certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(TlsError::Authority)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|source| TlsError::Pem { what, source })?;
    if all.is_empty() { Err(TlsError::Empty(what)) } else { Ok(all) }
}

/// The identity of a verified chain: the one URI among the names of its leaf. With none or several there is no
/// identity (contract §1).
pub(super) fn identities(chain: &[CertificateDer<'_>]) -> Vec<Arc<str>> {
    let uris = chain.first().map(uris).unwrap_or_default();
    if uris.len() == 1 { uris } else { Vec::new() }
}

fn uris(leaf: &CertificateDer<'_>) -> Vec<Arc<str>> {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some(Arc::from(*uri)),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}
