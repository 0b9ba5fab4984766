//! Roots that sign themselves (contract §4.3, §4.4).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyUsagePurpose, SerialNumber,
};
use x509_parser::{der_parser::asn1_rs::Tag, x509::X509Name};

use super::{
    certificate::Certificate,
    key::{self, PrivateKey},
    signer::{CLOCK_SKEW, Signer, SignerError, set_validity},
};

/// A new root of a trust domain.
///
/// # Errors
/// The key does not sign.
pub fn create(key: PrivateKey, trust_domain: &str, lifetime: Duration, now: SystemTime) -> Result<Signer, SignerError> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, trust_domain);
    self_signed(key, subject, lifetime, now)
}

/// A root of the same key and subject that ends later. What either of them signed is trusted by those who trust the
/// other one: workloads move over without noticing.
///
/// # Errors
/// The subject is of a form that cannot be written again, or the key does not sign.
pub fn renew(old: &Signer, lifetime: Duration, now: SystemTime) -> Result<Signer, SignerError> {
    let parsed = old.certificate().parsed();
    let subject = subject(parsed.subject()).ok_or(SignerError::Subject)?;
    let renewed = self_signed(old.key().clone(), subject, lifetime, now)?;
    let same = renewed.certificate().parsed().subject().as_raw() == parsed.subject().as_raw();
    if same { Ok(renewed) } else { Err(SignerError::Subject) }
}

/// Whether so little of a root's lifetime is left that it is to be renewed; `grace` is a share of its lifetime in percent.
#[must_use]
pub fn is_due(root: &Certificate, grace: u32, now: SystemTime) -> bool {
    let lifetime = root.not_after().duration_since(root.not_before()).unwrap_or_default();
    let left = root.not_after().duration_since(now).unwrap_or_default();
    left <= lifetime * grace.min(100) / 100
}

fn self_signed(
    key: PrivateKey,
    subject: DistinguishedName,
    lifetime: Duration,
    now: SystemTime,
) -> Result<Signer, SignerError> {
    let mut params = CertificateParams::default();
    let end = now.checked_add(lifetime).ok_or(SignerError::NotValidNow)?;
    set_validity(&mut params, now.checked_sub(CLOCK_SKEW).unwrap_or(UNIX_EPOCH), end);
    params.serial_number = Some(SerialNumber::from_slice(&key::random::<16>()?));
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let made = params.self_signed(&key).map_err(SignerError::Sign)?;
    let broken = SignerError::Sign(rcgen::Error::CouldNotParseCertificate);
    let root = Certificate::from_der(made.der().clone()).ok_or(broken)?;
    Signer::of(root.clone(), key, &[], vec![root], now)
}

/// A subject, to be written byte by byte as it is; `None` for forms that nobody uses.
fn subject(name: &X509Name<'_>) -> Option<DistinguishedName> {
    let mut made = DistinguishedName::new();
    for set in name.iter() {
        let mut attributes = set.iter();
        let (attribute, None) = (attributes.next()?, attributes.next()) else { return None };
        let text = str::from_utf8(attribute.attr_value().data).ok()?;
        let value = match attribute.attr_value().header.tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(text.try_into().ok()?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into().ok()?),
            _ => return None,
        };
        made.push(DnType::from_oid(&attribute.attr_type().iter()?.collect::<Vec<_>>()), value);
    }
    Some(made)
}

#[cfg(test)]
mod tests;
