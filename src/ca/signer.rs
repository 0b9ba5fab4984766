//! What signs: a certificate of an authority with its key, the way to its root, and the roots to trust.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber, date_time_ymd, string::Ia5String,
};

use super::{
    certificate::{Certificate, CertificateError, bundle},
    key::{self, KeyError, PrivateKey},
};

/// How far clocks may differ: a certificate is valid from so long before it was made (contract §4.3).
pub const CLOCK_SKEW: Duration = Duration::from_secs(2 * 60);

/// The last second that a certificate can name, since 1970: the end of the year 9999.
const LAST_TIME: Duration = Duration::from_secs(253_402_300_799);

/// How many certificates may lie between a leaf and its root.
const LONGEST_CHAIN: usize = 10;

/// Why something cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// A certificate cannot be read.
    #[error("the {what} cannot be used")]
    Certificate {
        /// Which one.
        what: &'static str,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// The key cannot be read.
    #[error("the key of the authority cannot be used")]
    Key(#[from] KeyError),
    /// The key is that of another certificate.
    #[error("the private key is not that of the authority's certificate")]
    KeyMismatch,
    /// The certificate may not sign.
    #[error(
        "the certificate is not that of an authority: it needs basicConstraints CA:TRUE and, if it has a keyUsage, keyCertSign"
    )]
    NoAuthority,
    /// Nobody whom proxies trust vouches for it.
    #[error(
        "the authority's certificate leads to none of the roots; its chain must hold each intermediate certificate"
    )]
    NoPath,
    /// It is too late, or too early.
    #[error("the certificate of the authority, of an intermediate one or of the root is not valid now")]
    NotValidNow,
    /// Its subject is none that can be written as an issuer.
    #[error("the subject of the authority's certificate cannot be written as an issuer")]
    Subject,
    /// A name is none of ASCII.
    #[error("a name of the certificate is not of ASCII")]
    Name,
    /// A certificate cannot be made.
    #[error("cannot sign")]
    Sign(#[source] rcgen::Error),
}

/// The parts that a signer is made of, PEM.
#[derive(Clone, Copy, Debug)]
pub struct SignerPem<'a> {
    /// The certificate of the authority.
    pub certificate: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// The certificates between it and a root, itself included or not; may be empty.
    pub chain: &'a [u8],
    /// The roots to trust.
    pub roots: &'a [u8],
}

/// An authority that can sign. It never changes: another one takes its place.
#[derive(Debug)]
pub struct Signer {
    certificate: Certificate,
    key: PrivateKey,
    /// The authority itself and those above it, roots left out; empty when it is a root.
    intermediates: Vec<Certificate>,
    roots: Vec<Certificate>,
    roots_pem: Arc<str>,
    /// When the first of those ends on which a leaf depends.
    not_after: SystemTime,
}

impl Signer {
    /// Reads an authority and checks it.
    ///
    /// # Errors
    /// A part is broken, they do not fit together, or it is not valid at this time.
    pub fn new(pem: SignerPem<'_>, now: SystemTime) -> Result<Self, SignerError> {
        let all = |what, pem: &[u8]| Certificate::all(pem).map_err(|source| SignerError::Certificate { what, source });
        let own = all("certificate of the authority", pem.certificate)?;
        let is_blank = pem.chain.iter().all(u8::is_ascii_whitespace);
        let mut chain = if is_blank { Vec::new() } else { all("chain of certificates", pem.chain)? };
        let roots = all("root certificates", pem.roots)?;
        // What follows the certificate in its own file belongs to the chain.
        let mut own = own.into_iter();
        let certificate = own.next().expect("there is at least one");
        chain.extend(own);
        Self::of(certificate, PrivateKey::from_pem(pem.key)?, &chain, roots, now)
    }

    pub(super) fn of(
        certificate: Certificate,
        key: PrivateKey,
        chain: &[Certificate],
        roots: Vec<Certificate>,
        now: SystemTime,
    ) -> Result<Self, SignerError> {
        if certificate.parsed().public_key().raw != key.subject_public_key_info() {
            return Err(SignerError::KeyMismatch);
        }
        let path = path(&certificate, chain, &roots)?;
        let not_after = path.iter().map(Certificate::not_after).min().expect("the certificate itself");
        if now >= not_after || path.iter().any(|c| c.not_before() > now + CLOCK_SKEW) {
            return Err(SignerError::NotValidNow);
        }
        let intermediates = path.into_iter().filter(|c| !roots.contains(c)).collect();
        let roots_pem = bundle(&roots).into();
        let signer = Self { certificate, key, intermediates, roots, roots_pem, not_after };
        signer.prove(now)?;
        Ok(signer)
    }

    /// Verifiers compare the issuer of a leaf and the subject of its authority byte by byte.
    fn prove(&self, now: SystemTime) -> Result<(), SignerError> {
        let leaf = Leaf { public_key: &self.key, names: &Names::default(), validity: Duration::ZERO };
        let proof = self.sign(&leaf, now)?;
        if proof.is_signed_by(&self.certificate) { Ok(()) } else { Err(SignerError::Subject) }
    }

    /// The certificate of the authority.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its key.
    pub(super) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The certificates between a leaf and its root; none when the authority is a root.
    #[must_use]
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// The roots to trust.
    #[must_use]
    pub fn roots(&self) -> &[Certificate] {
        &self.roots
    }

    /// The same, PEM.
    #[must_use]
    pub fn roots_pem(&self) -> &Arc<str> {
        &self.roots_pem
    }

    /// When the first certificate ends of those on which a leaf depends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Signs a leaf (contract §4.3). It ends with its authority at the latest.
    ///
    /// # Errors
    /// The authority has ended, or the key does not sign.
    pub fn sign(&self, leaf: &Leaf<'_, impl PublicKeyData>, now: SystemTime) -> Result<Certificate, SignerError> {
        if now >= self.not_after {
            return Err(SignerError::NotValidNow);
        }
        let issuer = Issuer::from_ca_cert_der(self.certificate.der(), &self.key).map_err(SignerError::Sign)?;
        let end = now.checked_add(leaf.validity).map_or(self.not_after, |end| end.min(self.not_after));
        let mut params = CertificateParams::default();
        set_validity(&mut params, now.checked_sub(CLOCK_SKEW).unwrap_or(UNIX_EPOCH), end);
        params.serial_number = Some(SerialNumber::from_slice(&key::random::<16>()?));
        // Without a subject the names are critical.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names.clone_from(&leaf.names.0);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(leaf.public_key, &issuer).map_err(SignerError::Sign)?;
        Certificate::from_der(made.der().clone()).ok_or(SignerError::Sign(rcgen::Error::CouldNotParseCertificate))
    }
}

/// What a leaf says.
#[derive(Debug)]
pub struct Leaf<'a, K> {
    /// Whose it is.
    pub public_key: &'a K,
    /// The subject's alternative names.
    pub names: &'a Names,
    /// How long it is valid.
    pub validity: Duration,
}

/// The alternative names of a leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<SanType>);

impl Names {
    /// URIs; `None` when one is not of ASCII.
    #[must_use]
    pub fn uris<'a>(uris: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let uri = |uri: &str| Some(SanType::URI(Ia5String::try_from(uri).ok()?));
        uris.into_iter().map(uri).collect::<Option<_>>().map(Self)
    }

    /// Names of hosts, or their addresses; `None` when one is not of ASCII.
    #[must_use]
    pub fn hosts<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let host = |host: &str| match host.parse() {
            Ok(address) => Some(SanType::IpAddress(address)),
            Err(_) => Some(SanType::DnsName(Ia5String::try_from(host).ok()?)),
        };
        hosts.into_iter().map(host).collect::<Option<_>>().map(Self)
    }
}

/// The certificate and those that vouch for it, up to a root, which is the last one.
fn path(first: &Certificate, chain: &[Certificate], roots: &[Certificate]) -> Result<Vec<Certificate>, SignerError> {
    let mut path = vec![first.clone()];
    loop {
        let last = path.last().expect("it begins with one");
        if !may_sign(last) {
            return Err(SignerError::NoAuthority);
        }
        if roots.contains(last) {
            return Ok(path);
        }
        if path.len() > LONGEST_CHAIN {
            return Err(SignerError::NoPath);
        }
        let vouches = |c: &&Certificate| !path.contains(c) && last.is_signed_by(c);
        let next = roots.iter().find(vouches).or_else(|| chain.iter().find(vouches));
        let next = next.ok_or(SignerError::NoPath)?.clone();
        path.push(next);
    }
}

fn may_sign(certificate: &Certificate) -> bool {
    let parsed = certificate.parsed();
    let usage = parsed.key_usage().ok().flatten();
    parsed.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign())
}

/// The crate that makes certificates takes times of a crate that it does not show, and has a constructor of them.
pub(super) fn set_validity(params: &mut CertificateParams, from: SystemTime, to: SystemTime) {
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST_TIME);
    params.not_before = date_time_ymd(1970, 1, 1) + since_epoch(from);
    params.not_after = date_time_ymd(1970, 1, 1) + since_epoch(to);
}

#[cfg(test)]
mod tests;
