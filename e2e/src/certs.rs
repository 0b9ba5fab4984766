//! Certificates for the tests' servers and clients.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};

use crate::workload::openssl;

/// A certificate and its private key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairPem {
    /// The certificate.
    pub cert: String,
    /// The private key (PKCS#8).
    pub key: String,
}

impl std::fmt::Debug for KeyPairPem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPairPem").field("cert", &self.cert).finish_non_exhaustive()
    }
}

/// What an operator plugs into a control plane: an authority below his own.
pub struct PluggedIn {
    /// The files of the Secret `cacerts`, by name (contract §4.4).
    pub files: [(&'static str, String); 4],
    /// What signs with it.
    pub issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for PluggedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluggedIn").finish_non_exhaustive()
    }
}

/// A certificate authority made for one test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("pem", &self.pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority with its own key.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let (params, key) = (authority(name), KeyPair::generate()?);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate, good for servers and clients, of these names: DNS names, IP addresses or `spiffe://` URIs. The
    /// first one is the common name too.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue(&self, names: &[&str]) -> Result<KeyPairPem> {
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) if name.contains("://") => SanType::URI((*name).try_into()?),
                Err(_) => SanType::DnsName((*name).try_into()?),
            });
        }
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, *first);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        Ok(KeyPairPem { cert: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }

    /// A list of these certificates, which it does not stand by any more, PEM.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn revoke(&self, certificates: &[&KeyPairPem]) -> Result<String> {
        let certificates: Vec<&str> = certificates.iter().map(|pair| pair.cert.as_str()).collect();
        revocations(&self.issuer, &certificates)
    }

    /// A new authority below it for a control plane, whose workloads trust `roots` (PEM).
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn plug_in(&self, roots: &str) -> Result<PluggedIn> {
        let (mut params, key) = (authority("below"), KeyPair::generate()?);
        params.use_authority_key_identifier_extension = true;
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        let files = [
            ("ca-cert.pem", pem.clone()),
            ("cert-chain.pem", pem),
            ("root-cert.pem", roots.to_owned()),
            ("ca-key.pem", key.serialize_pem()),
        ];
        Ok(PluggedIn { files, issuer: Issuer::new(params, key) })
    }

    /// A certificate for the key of a request (PEM), of this name and good for so long from now on.
    ///
    /// # Errors
    /// When it is no request.
    pub fn sign(&self, request: &str, name: &str, lifetime: Duration) -> Result<String> {
        let mut request = CertificateSigningRequestParams::from_pem(request)?;
        request.params.subject_alt_names = vec![SanType::URI(name.try_into()?)];
        request.params.use_authority_key_identifier_extension = true;
        request.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        request.params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        #[expect(clippy::disallowed_methods, reason = "certificates are dated by the clock on the wall")]
        let now = SystemTime::now();
        request.params.not_before = now.into();
        request.params.not_after = (now + lifetime).into();
        Ok(request.signed_by(&self.issuer)?.pem())
    }
}

/// A list of certificates (PEM), which their issuer does not stand by any more, PEM.
///
/// # Errors
/// When one cannot be read.
pub fn revocations(issuer: &Issuer<'_, KeyPair>, certificates: &[&str]) -> Result<String> {
    let revoked = certificates.iter().map(|pem| {
        Ok(RevokedCertParams {
            serial_number: serial(pem)?,
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        })
    });
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(u64::try_from(certificates.len())?),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect::<Result<_>>()?,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(issuer)?.pem()?)
}

/// The serial number of a certificate.
fn serial(pem: &str) -> Result<SerialNumber> {
    let told = openssl(&["x509", "-noout", "-serial"], pem)?;
    let digits = told.trim().strip_prefix("serial=").context("a serial number")?;
    let bytes = digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair)?, 16).context("hex"));
    Ok(SerialNumber::from(bytes.collect::<Result<Vec<u8>>>()?))
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
