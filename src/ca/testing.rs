//! Authorities for tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{
    key::{KeyKind, PrivateKey},
    root,
    signer::{Signer, SignerPem, set_validity},
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A time of whole seconds, as certificates have them.
pub(super) fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

pub(super) fn own_root(lifetime: Duration) -> Signer {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).expect("a key");
    root::create(key, "cluster.local", lifetime, noon()).expect("a root")
}

/// An authority of another kind, with its key.
pub(super) struct Pair {
    pub(super) params: CertificateParams,
    pub(super) key: KeyPair,
    pub(super) pem: String,
}

impl Pair {
    /// One that signs itself, or that another one signs.
    pub(super) fn new(name: &str, by: Option<&Pair>, lifetime: Duration) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        set_validity(&mut params, noon() - HOUR, noon() + lifetime);
        let key = KeyPair::generate().expect("a key");
        let made = match by {
            None => params.self_signed(&key),
            Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)),
        };
        Self { pem: made.expect("signed").pem(), params, key }
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

pub(super) fn signer_pem<'a>(own: &'a Pair, key: &'a str, chain: &'a str, roots: &'a str) -> SignerPem<'a> {
    SignerPem { certificate: own.pem.as_bytes(), key: key.as_bytes(), chain: chain.as_bytes(), roots: roots.as_bytes() }
}

/// A request for a certificate with a name that it wishes for.
pub(super) fn request(key: &KeyPair, wish: &str) -> String {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(wish.try_into().expect("ASCII"))];
    params.serialize_request(key).and_then(|r| r.pem()).expect("a request")
}
