//! Private keys of the authority.

use std::{fmt, sync::Arc};

use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey, SubjectPublicKeyInfo};
use rsa::{
    pkcs8::{EncodePrivateKey, LineEnding},
    rand_core::{TryCryptoRng, TryRng},
};
use rustls::{
    SignatureScheme,
    crypto::{GetRandomFailed, SecureRandom, ring},
    pki_types::{PrivateKeyDer, pem::PemObject},
};

/// What kind of key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on the curve P-256.
    EcdsaP256,
    /// RSA with so many bits.
    Rsa(u16),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not PEM, or of no known form.
    #[error("the private key is not valid PEM (PKCS#8, PKCS#1 or SEC1)")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// Its content is not usable.
    #[error("the private key is neither RSA of at least 2048 bits nor ECDSA on P-256 or P-384 nor Ed25519")]
    Unsupported,
    /// It cannot be made.
    #[error("cannot make a key: {0}")]
    Generate(String),
}

/// A private key; it signs, and is not shown.
#[derive(Clone)]
pub struct PrivateKey {
    pem: Arc<str>,
    signer: Arc<dyn rustls::sign::SigningKey>,
    scheme: SignatureScheme,
    algorithm: &'static SignatureAlgorithm,
    public: SubjectPublicKeyInfo,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What the key of each kind signs with: the first that it can.
const SCHEMES: [(SignatureScheme, &SignatureAlgorithm); 4] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, &rcgen::PKCS_ECDSA_P384_SHA384),
    (SignatureScheme::ED25519, &rcgen::PKCS_ED25519),
    (SignatureScheme::RSA_PKCS1_SHA256, &rcgen::PKCS_RSA_SHA256),
];

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// The kind is not supported, or there is no randomness.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let failed = |error: &dyn fmt::Display| KeyError::Generate(error.to_string());
        let pem = match kind {
            KeyKind::EcdsaP256 => rcgen::KeyPair::generate().map_err(|e| failed(&e))?.serialize_pem(),
            // Ring makes no RSA keys. What the crate `rsa` makes is used by ring only.
            KeyKind::Rsa(bits @ 2048..=8192) => {
                let key = rsa::PrivateKey::new(&mut Random, bits.into()).map_err(|e| failed(&e))?;
                key.to_pkcs8_pem(LineEnding::LF).map_err(|e| failed(&e))?.to_string()
            }
            KeyKind::Rsa(bits) => {
                return Err(failed(&format_args!("RSA with {bits} bits: there may be 2048 to 8192")));
            }
        };
        Self::from_pem(pem.as_bytes())
    }

    /// Reads a key: PKCS#8, PKCS#1 (`RSA PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    /// It is not PEM, or not of a kind that is supported.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(KeyError::Pem)?;
        let signer = ring::sign::any_supported_type(&der).map_err(|_| KeyError::Unsupported)?;
        let usable = |(scheme, _): &&(SignatureScheme, _)| signer.choose_scheme(&[*scheme]).is_some();
        let (scheme, algorithm) = *SCHEMES.iter().find(usable).ok_or(KeyError::Unsupported)?;
        let public = {
            let der = signer.public_key().ok_or(KeyError::Unsupported)?;
            SubjectPublicKeyInfo::from_der(&der).map_err(|_| KeyError::Unsupported)?
        };
        Ok(Self { pem: String::from_utf8_lossy(pem).into(), signer, scheme, algorithm, public })
    }

    /// The key, PEM, as it was read or made.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signer = self.signer.choose_scheme(&[self.scheme]).ok_or(rcgen::Error::UnsupportedSignatureAlgorithm)?;
        signer.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// Random bytes of the operating system.
///
/// # Errors
/// It has none.
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    provider().fill(&mut bytes).map_err(|_| KeyError::Generate("there is no randomness".to_owned()))?;
    Ok(bytes)
}

fn provider() -> &'static dyn SecureRandom {
    ring::default_provider().secure_random
}

/// The same, as the crate `rsa` takes it.
struct Random;

#[derive(Debug, thiserror::Error)]
#[error("there is no randomness")]
struct NoRandomness;

impl TryRng for Random {
    type Error = NoRandomness;

    fn try_next_u32(&mut self) -> Result<u32, NoRandomness> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandomness> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        provider().fill(bytes).map_err(|GetRandomFailed| NoRandomness)
    }
}

impl TryCryptoRng for Random {}

#[cfg(test)]
mod tests;
