//! Checks of PEM material: that it parses, that Envoy takes it, and that key and certificate belong together. No
//! message ever repeats what is in a key.

use rustls::{
    InconsistentKeys,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Envoy refuses shorter RSA keys.
const SHORTEST_RSA: usize = 2048;

/// The library that checks keys reads no longer RSA keys; Envoy does.
const LONGEST_CHECKED_RSA: usize = 4096;

/// Sizes of elliptic curves that Envoy takes: P-256, P-384, P-521.
const CURVES: [usize; 3] = [256, 384, 521];

/// What is wrong with a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PairError {
    /// The certificate: why.
    Certificate(String),
    /// The key: why.
    Key(String),
}

/// The certificates of a PEM text: at least one, each of them parsed.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for (i, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let der = certificate.map_err(|e| format!("not PEM: {e}"))?;
        X509Certificate::from_der(&der).map_err(|_| format!("certificate {} is not X.509", i + 1))?;
        found.push(der.into_owned());
    }
    if found.is_empty() {
        return Err("no certificate in PEM".to_owned());
    }
    Ok(found)
}

/// Checks a revocation list.
pub(super) fn check_crl(pem: &[u8]) -> Result<(), String> {
    let mut lists = 0;
    for list in CertificateRevocationListDer::pem_slice_iter(pem) {
        let der = list.map_err(|e| format!("not PEM: {e}"))?;
        CertificateRevocationList::from_der(&der).map_err(|_| "not a revocation list of X.509".to_owned())?;
        lists += 1;
    }
    if lists == 0 { Err("no revocation list in PEM".to_owned()) } else { Ok(()) }
}

/// Checks a certificate chain and its key.
pub(super) fn check_pair(chain: &[u8], key: &[u8]) -> Result<(), PairError> {
    let chain = certificates(chain).map_err(PairError::Certificate)?;
    let strength = leaf_key(&chain[0]).map_err(PairError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| PairError::Key(key_error(&e)))?;
    let Ok(signer) = any_supported_type(&key) else {
        return match strength {
            // It is structured like a key; whether it fits is for Envoy to find out.
            LeafKey::Unchecked => Ok(()),
            LeafKey::Checked => Err(PairError::Key("not a usable private key".to_owned())),
        };
    };
    match CertifiedKey::new(chain, signer).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(PairError::Key("the private key does not belong to the first certificate".to_owned()))
        }
        Err(other) => Err(PairError::Certificate(other.to_string())),
    }
}

fn key_error(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            "no private key in PEM (encrypted keys cannot be used)".to_owned()
        }
        // The error's own text might repeat a part of the key.
        _ => "the private key is not PEM".to_owned(),
    }
}

/// Whether the key of a certificate can be compared here.
enum LeafKey {
    Checked,
    Unchecked,
}

fn leaf_key(leaf: &CertificateDer<'_>) -> Result<LeafKey, String> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| "certificate 1 is not X.509".to_owned())?;
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < SHORTEST_RSA => {
            Err(format!("Envoy takes no RSA keys below {SHORTEST_RSA} bits, this one has {}", rsa.key_size()))
        }
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() > LONGEST_CHECKED_RSA => Ok(LeafKey::Unchecked),
        Ok(PublicKey::EC(point)) if curve(point.key_size()) == Some(521) => Ok(LeafKey::Unchecked),
        Ok(PublicKey::EC(point)) if curve(point.key_size()).is_none() => {
            Err("of ECDSA keys Envoy takes only P-256, P-384 and P-521".to_owned())
        }
        _ => Ok(LeafKey::Checked),
    }
}

/// The curve of a point; the parser rounds the size of P-521 up to whole bytes.
fn curve(size: usize) -> Option<usize> {
    CURVES.into_iter().find(|c| c.div_ceil(8) == size.div_ceil(8))
}
