//! Certificates and keys of Secrets and ConfigMaps (translation §7.5, contract §3.4).

use std::{fmt, sync::Arc};

use super::{Namespace, ObjectRef};

/// The scheme of credentials that are ConfigMaps: authorities only, which everybody may read.
pub const CONFIG_MAP: &str = "configmap://";

/// A private key in PEM. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Arc<[u8]>);

impl PrivateKey {
    /// Keeps a key.
    #[must_use]
    pub fn new(pem: &[u8]) -> Self {
        Self(pem.into())
    }

    /// The PEM text, for the one place that writes it into an Envoy secret.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([redacted])")
    }
}

/// A certificate chain with its key; they have been checked to parse and to belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The chain in PEM, the leaf first.
    pub chain: Arc<[u8]>,
    /// The key.
    pub key: PrivateKey,
    /// A stapled OCSP response in DER.
    pub ocsp_staple: Option<Arc<[u8]>>,
}

/// Authorities; they have been checked to parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// Certificates in PEM.
    pub certificates: Arc<[u8]>,
    /// Revocation list in PEM.
    pub crl: Option<Arc<[u8]>>,
}

/// What an object holds of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Material<T> {
    /// It has no keys for it.
    #[default]
    Absent,
    /// It has them, but they cannot be used: why.
    Broken(Arc<str>),
    /// It is usable.
    Ready(T),
}

impl<T> Material<T> {
    /// What a filter chain that needs it looks at.
    #[must_use]
    pub fn state(&self) -> SecretState {
        match self {
            Self::Absent => SecretState::Missing,
            Self::Broken(reason) => SecretState::Broken(reason.clone()),
            Self::Ready(_) => SecretState::Present,
        }
    }

    /// The usable value.
    pub const fn ready(&self) -> Option<&T> {
        match self {
            Self::Ready(value) => Some(value),
            Self::Absent | Self::Broken(_) => None,
        }
    }
}

/// Whether a filter chain may refer to a secret (translation §7.6: Envoy would warm for ever without it).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretState {
    /// It can be served.
    Present,
    /// There is no such object, or it lacks the keys.
    Missing,
    /// It cannot be used: why.
    Broken(Arc<str>),
}

/// The TLS content of a Secret (or the authorities of a ConfigMap).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSecret {
    /// The object.
    pub object: ObjectRef,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: Arc<str>,
    /// Server certificate and key.
    pub certificate: Material<KeyPair>,
    /// Authorities of peers.
    pub authorities: Material<Authorities>,
}

/// What can be served of a Secret or ConfigMap, without what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretUse {
    /// Server certificate and key.
    pub certificate: SecretState,
    /// Authorities of peers.
    pub authorities: SecretState,
}

impl TlsSecret {
    /// What can be served of it.
    #[must_use]
    pub fn usable(&self) -> SecretUse {
        SecretUse { certificate: self.certificate.state(), authorities: self.authorities.state() }
    }
}
