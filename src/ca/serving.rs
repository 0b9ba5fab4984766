//! The certificate of our own TLS servers, issued by the authority and kept in memory (contract §4.5).

use std::time::{Duration, SystemTime};

use super::{
    key::{KeyKind, PrivateKey},
    signer::{Leaf, Names, Signer, SignerError},
};

/// A certificate with its key, PEM.
#[derive(Clone)]
pub struct ServingCertificate {
    /// The chain, leaf first.
    pub chain: String,
    /// The key.
    pub key: String,
    /// When it should be replaced: half of its lifetime is over.
    pub renew_at: SystemTime,
}

/// The names of a control plane's services in its namespace, and those of `ISTIOD_CUSTOM_HOST`.
#[must_use]
pub fn hosts(namespace: &str, revision: &str, custom: &[String]) -> Vec<String> {
    let mut services = vec!["istiod".to_owned(), "istiod-remote".to_owned(), "istio-pilot".to_owned()];
    if !matches!(revision, "" | "default") {
        services.push(format!("istiod-{revision}"));
    }
    let own = services.into_iter().map(|service| format!("{service}.{namespace}.svc"));
    let mut hosts: Vec<String> = own.chain(custom.iter().map(|host| host.trim().to_owned())).collect();
    hosts.retain(|host| !host.is_empty());
    let mut seen = std::collections::HashSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    hosts
}

/// The same with the host of the mesh configuration's `discoveryAddress`, if there is one.
#[must_use]
pub fn with_discovery_host<'a>(hosts: &'a [String], host: &'a str) -> Vec<&'a str> {
    let known = hosts.iter().map(String::as_str);
    let is_new = !host.is_empty() && hosts.iter().all(|known| known != host);
    known.chain(is_new.then_some(host)).collect()
}

/// Issues one.
///
/// # Errors
/// A name cannot stand in a certificate, or the authority does not sign.
pub fn issue(
    signer: &Signer,
    hosts: &[&str],
    lifetime: Duration,
    now: SystemTime,
) -> Result<ServingCertificate, SignerError> {
    let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
    let names = Names::hosts(hosts.iter().copied()).ok_or(SignerError::Name)?;
    let leaf = signer.sign(&Leaf { public_key: &key, names: &names, validity: lifetime }, now)?;
    let left = leaf.not_after().duration_since(now).unwrap_or_default();
    let chain = leaf.pem() + &signer.intermediates().iter().map(|c| c.pem()).collect::<String>();
    Ok(ServingCertificate { chain, key: key.pem().to_owned(), renew_at: now + left / 2 })
}
