//! TLS of the secure port: our certificate, and the identities that client certificates prove.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem, pem::PemObject},
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
    /// No such version of TLS.
    #[error("TLS version {0:?} is not served: the minimum is 1.2 or 1.3")]
    Version(String),
    /// No such cipher suite.
    #[error("cipher suite {name:?} is not served: there are {known}")]
    CipherSuite {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
}

/// What clients must speak.
#[derive(Clone, Debug)]
pub struct Demands {
    versions: Vec<&'static SupportedProtocolVersion>,
    cipher_suites: Vec<SupportedCipherSuite>,
    /// Of what is spoken inside, the best first (ALPN).
    protocols: &'static [&'static [u8]],
}

/// What gRPC is spoken over.
const HTTP2: &[&[u8]] = &[b"h2"];

impl Default for Demands {
    fn default() -> Self {
        let (versions, cipher_suites) = (vec![&TLS13, &TLS12], ring::DEFAULT_CIPHER_SUITES.to_vec());
        Self { versions, cipher_suites, protocols: HTTP2 }
    }
}

impl Demands {
    /// The oldest version that is taken, `1.2` or `1.3`, and the cipher suites of TLS 1.2 by their IANA names; none
    /// means all. As in Go, those of TLS 1.3 are not chosen (`--tls-min-version`, `--tls-cipher-suites`).
    ///
    /// # Errors
    /// There is no such version or suite.
    pub fn new(min_version: &str, cipher_suites: &[String]) -> Result<Self, TlsError> {
        let versions = match min_version {
            "1.2" | "TLSv1_2" => vec![&TLS13, &TLS12],
            "1.3" | "TLSv1_3" => vec![&TLS13],
            other => return Err(TlsError::Version(other.to_owned())),
        };
        let all = ring::DEFAULT_CIPHER_SUITES;
        let mut chosen: Vec<_> = all.iter().copied().filter(|s| s.version() == &TLS13).collect();
        let older = || all.iter().copied().filter(|s| s.version() == &TLS12);
        for name in cipher_suites {
            let found = older().find(|s| suite_name(*s) == name);
            chosen.push(found.ok_or_else(|| TlsError::CipherSuite {
                name: name.clone(),
                known: older().map(suite_name).collect::<Vec<_>>().join(", "),
            })?);
        }
        if cipher_suites.is_empty() {
            chosen.extend(older());
        }
        Ok(Self { versions, cipher_suites: chosen, protocols: HTTP2 })
    }

    /// The same for a server of plain requests: HTTP/1.1 is spoken too.
    #[must_use]
    pub fn for_web(self) -> Self {
        Self { protocols: &[b"h2", b"http/1.1"], ..self }
    }
}

fn suite_name(suite: SupportedCipherSuite) -> &'static str {
    suite.suite().as_str().unwrap_or_default()
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
    /// What clients must speak.
    pub demands: Demands,
}

impl Files {
    /// Reads the files. Client certificates may come from `roots` (PEM) as well, unless `crl` (PEM) revokes them.
    pub fn load(&self, roots: Option<&[u8]>, crl: Option<&[u8]>) -> Result<Arc<ServerConfig>, TlsError> {
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        let own = self.client_authority.as_deref().map(read).transpose()?;
        let authorities: Vec<&[u8]> = own.as_deref().into_iter().chain(roots).collect();
        let authorities = (!authorities.is_empty()).then(|| authorities.join(&b'\n'));
        server_config(&certificate, &key, authorities.as_deref(), crl, &self.demands)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// A server's side of TLS. A client certificate is optional; one that is presented must
/// come from `client_authority` and not be among those that `crl` revokes.
pub fn server_config(
    certificate: &[u8],
    key: &[u8],
    client_authority: Option<&[u8]>,
    crl: Option<&[u8]>,
    demands: &Demands,
) -> Result<Arc<ServerConfig>, TlsError> {
    let cipher_suites = demands.cipher_suites.clone();
    let provider = Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() });
    let chain = certificates(certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { what: "private key", source })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&demands.versions)
        .map_err(TlsError::Certificate)?;
    let builder = match client_authority {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(pem, "client certificate authority")? {
                roots.add(authority).map_err(TlsError::Certificate)?;
            }
            let lists = CertificateRevocationListDer::pem_slice_iter(crl.unwrap_or_default());
            let lists: Result<Vec<_>, _> = lists.collect();
            let lists = lists.map_err(|source| TlsError::Pem { what: "revocation list", source })?;
            // Not every authority of a chain has a list.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .with_crls(lists)
                .allow_unknown_revocation_status()
                .build()
                .map_err(TlsError::Authority)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Certificate)?;
    config.alpn_protocols = demands.protocols.iter().map(|protocol| protocol.to_vec()).collect();
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

#[cfg(test)]
mod tests;
