//! Certificates as they are read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
};

/// Columns of a line of PEM.
const LINE: usize = 64;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It is not PEM.
    #[error("it is not valid PEM")]
    Pem(#[source] pem::Error),
    /// There is none in it.
    #[error("it holds no certificate")]
    Empty,
    /// One is broken.
    #[error("certificate {0} in it is not valid X.509")]
    Broken(usize),
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Certificate {
    /// All certificates of a file.
    ///
    /// # Errors
    /// There is none, or one is broken.
    pub fn all(pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let mut all = Vec::new();
        for (index, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let der = der.map_err(CertificateError::Pem)?;
            all.push(Self::from_der(der).ok_or(CertificateError::Broken(index + 1))?);
        }
        if all.is_empty() { Err(CertificateError::Empty) } else { Ok(all) }
    }

    /// `None` when it is broken.
    pub(super) fn from_der(der: CertificateDer<'static>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(&der).ok()?;
        let validity = parsed.validity();
        let (not_before, not_after) = (system_time(validity.not_before), system_time(validity.not_after));
        rest.is_empty().then_some(())?;
        Some(Self { not_before, not_after, der })
    }

    /// Its bytes.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// One PEM block.
    #[must_use]
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let lines = text.as_bytes().chunks(LINE).map(|line| String::from_utf8_lossy(line) + "\n");
        format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
    }

    /// From when it is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Until when it is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Its content.
    pub(super) fn parsed(&self) -> X509Certificate<'_> {
        X509Certificate::from_der(&self.der).expect("it was parsed before").1
    }

    /// Whether the other one vouches for it.
    pub(super) fn is_signed_by(&self, other: &Self) -> bool {
        let (own, other) = (self.parsed(), other.parsed());
        own.issuer().as_raw() == other.subject().as_raw() && own.verify_signature(Some(other.public_key())).is_ok()
    }
}

/// The blocks of several certificates, one after the other.
pub(super) fn bundle(certificates: &[Certificate]) -> String {
    certificates.iter().map(Certificate::pem).collect()
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(seconds)
}
