//! Requests for certificates, as they come in.

use rcgen::SubjectPublicKeyInfo;
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509CertificationRequest};

/// The largest request that is looked at, in bytes. One with an RSA key of 8192 bits has 3 KB.
pub const LARGEST: usize = 16 * 1024;

/// Why a request is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CsrError {
    /// It is too large.
    #[error("the certificate signing request has {0} bytes: there may be {LARGEST}")]
    TooLarge(usize),
    /// It is not PEM.
    #[error("the certificate signing request is not valid PEM with a block CERTIFICATE REQUEST")]
    Pem,
    /// It is broken.
    #[error("the certificate signing request is not valid PKCS#10")]
    Broken,
    /// Whoever sent it does not have the key.
    #[error(
        "the signature of the certificate signing request is not by its key, or of an algorithm that is not supported"
    )]
    Signature,
    /// The key is of no use.
    #[error("the key of the certificate signing request is neither RSA nor ECDSA on P-256 or P-384 nor Ed25519")]
    Key,
}

/// The public key that a request proves to have. What it says of names and extensions is nobody's business: names are
/// those of the caller.
///
/// # Errors
/// It is broken, or the key is not supported.
pub fn public_key(pem: &str) -> Result<SubjectPublicKeyInfo, CsrError> {
    if pem.len() > LARGEST {
        return Err(CsrError::TooLarge(pem.len()));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(|_| CsrError::Pem)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| CsrError::Broken)?;
    if !rest.is_empty() {
        return Err(CsrError::Broken);
    }
    request.verify_signature().map_err(|_| CsrError::Signature)?;
    let key = request.certification_request_info.subject_pki.raw;
    SubjectPublicKeyInfo::from_der(key).map_err(|_| CsrError::Key)
}

#[cfg(test)]
mod tests;
