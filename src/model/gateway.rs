//! Gateways: which ports a gateway proxy opens, for which hosts, with which TLS (translation §7).

use std::{fmt, net::IpAddr, sync::Arc};

use super::{Age, Host, Labels, Namespace, ObjectRef, Protocol};

/// Where a listener binds when the user says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bind {
    /// An address.
    Ip(IpAddr),
    /// The path of a Unix socket.
    Pipe(Arc<str>),
}

impl Bind {
    /// Reads an IP address or `unix://<path>`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix://") {
            Some("") => None,
            Some(path) => Some(Self::Pipe(path.into())),
            None => text.parse().ok().map(Self::Ip),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Pipe(path) => write!(f, "unix://{path}"),
        }
    }
}

/// A Gateway object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The object.
    pub object: ObjectRef,
    /// Decides conflicts, oldest first.
    pub age: Age,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: Arc<str>,
    /// The labels of the pods it applies to, in any namespace; `None` is every gateway pod (translation §7.1).
    pub selector: Option<Labels>,
    /// The servers that are usable; others are problems of the conversion.
    pub servers: Vec<Server>,
}

impl Gateway {
    /// Whether it applies to a gateway pod with these labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.selector.as_ref().is_none_or(|s| s.iter().all(|(k, v)| labels.get(k) == Some(v)))
    }
}

/// One server of a Gateway: a port with hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its position in `spec.servers`, to name the field of a problem.
    pub index: usize,
    /// `name`: the stat prefix of an HTTPS server (translation §7.2); empty when not given.
    pub name: Arc<str>,
    /// `port.number`, before translation to the target port.
    pub port: u16,
    /// `port.name`; part of the name of an HTTPS server's routes.
    pub port_name: Arc<str>,
    /// `port.protocol`.
    pub protocol: Protocol,
    /// `bind`; `None` is the wildcard address.
    pub bind: Option<Bind>,
    /// The hosts, never empty.
    pub hosts: Vec<ServerHost>,
    /// `tls.httpsRedirect`: every plaintext request is redirected.
    pub https_redirect: bool,
    /// TLS; `None` is plaintext.
    pub tls: Option<ServerTls>,
}

impl Server {
    /// How the bytes inside of a possible TLS connection are treated (translation §7.2).
    #[must_use]
    pub fn is_http(&self) -> bool {
        match self.protocol {
            Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb | Protocol::HttpProxy => {
                self.tls.as_ref().is_none_or(|tls| !tls.mode.is_passthrough())
            }
            Protocol::Https => self.tls.as_ref().is_some_and(|tls| !tls.mode.is_passthrough()),
            _ => false,
        }
    }

    /// Whether its connections begin with a TLS handshake.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The DNS names of the hosts without namespaces: sorted, no duplicates.
    #[must_use]
    pub fn dns_names(&self) -> Vec<Host> {
        let mut names: Vec<Host> = self.hosts.iter().map(|h| h.host.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// A host of a server: `[namespace/]dnsName` (translation §7.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerHost {
    /// The namespace whose VirtualServices may use it; `None` is any. `./` is resolved by the conversion.
    pub namespace: Option<Namespace>,
    /// Lower case: `*`, `*.suffix` or a full name.
    pub host: Host,
}

impl ServerHost {
    /// Whether a VirtualService of this namespace may use it.
    #[must_use]
    pub fn admits(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// `tls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerTlsMode {
    /// The bytes pass, chosen by SNI.
    Passthrough,
    /// A server certificate.
    Simple,
    /// And a client certificate.
    Mutual,
    /// A client certificate is checked if there is one.
    OptionalMutual,
    /// The mesh's own certificates.
    IstioMutual,
}

impl ServerTlsMode {
    /// Whether TLS is not terminated here.
    #[must_use]
    pub const fn is_passthrough(self) -> bool {
        matches!(self, Self::Passthrough)
    }

    /// Whether a client certificate is looked at.
    #[must_use]
    pub const fn checks_client(self) -> bool {
        matches!(self, Self::Mutual | Self::OptionalMutual | Self::IstioMutual)
    }

    /// The word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passthrough => "PASSTHROUGH",
            Self::Simple => "SIMPLE",
            Self::Mutual => "MUTUAL",
            Self::OptionalMutual => "OPTIONAL_MUTUAL",
            Self::IstioMutual => "ISTIO_MUTUAL",
        }
    }
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.0.
    V1_0,
    /// 1.1.
    V1_1,
    /// 1.2.
    V1_2,
    /// 1.3.
    V1_3,
}

/// A certificate with its key, as files on the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The chain.
    pub certificate: Arc<str>,
    /// The key.
    pub key: Arc<str>,
}

/// Where a server's certificates come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Certificates {
    /// None needed (pass-through modes, `ISTIO_MUTUAL`).
    None,
    /// Names of Secrets in the proxy's namespace, one or two (RSA and ECDSA).
    Credentials(Vec<Arc<str>>),
    /// Files on the proxy, one or two.
    Files(Vec<CertificateFiles>),
}

impl Certificates {
    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Credentials(names) => names.len(),
            Self::Files(files) => files.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where the authorities that sign client certificates come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientCa {
    /// None (modes that look at no client certificate, `ISTIO_MUTUAL`).
    None,
    /// The resource name without `-cacert`: a Secret's name, or `configmap://ns/name`.
    Credential(Arc<str>),
    /// A file on the proxy.
    File(Arc<str>),
}

/// TLS of a server (translation §7.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The mode.
    pub mode: ServerTlsMode,
    /// The server's certificates.
    pub certificates: Certificates,
    /// Who signs clients' certificates.
    pub client_ca: ClientCa,
    /// `caCrl`: a file on the proxy.
    pub ca_crl: Option<Arc<str>>,
    /// SANs that clients must have.
    pub subject_alt_names: Vec<Arc<str>>,
    /// Base64 SHA-256 of the clients' public keys.
    pub verify_spki: Vec<Arc<str>>,
    /// Hex SHA-256 of the clients' certificates.
    pub verify_hash: Vec<Arc<str>>,
    /// `minProtocolVersion`; `None` is TLS_AUTO.
    pub min_version: Option<TlsVersion>,
    /// `maxProtocolVersion`; `None` is TLS_AUTO.
    pub max_version: Option<TlsVersion>,
    /// Ciphers; empty is Envoy's default.
    pub cipher_suites: Vec<Arc<str>>,
}

impl ServerTls {
    /// TLS of a mode with nothing else said.
    #[must_use]
    pub const fn of_mode(mode: ServerTlsMode) -> Self {
        Self {
            mode,
            certificates: Certificates::None,
            client_ca: ClientCa::None,
            ca_crl: None,
            subject_alt_names: Vec::new(),
            verify_spki: Vec::new(),
            verify_hash: Vec::new(),
            min_version: None,
            max_version: None,
            cipher_suites: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_addresses_or_sockets() {
        assert_eq!(Bind::parse("10.0.0.1").map(|b| b.to_string()).as_deref(), Some("10.0.0.1"));
        assert_eq!(Bind::parse("::").map(|b| b.to_string()).as_deref(), Some("::"));
        assert_eq!(Bind::parse("unix:///run/x").map(|b| b.to_string()).as_deref(), Some("unix:///run/x"));
        assert!(["", "unix://", "host", "10.0.0.1:80"].into_iter().all(|t| Bind::parse(t).is_none()));
    }
}
