//! Secrets with certificates, and ConfigMaps with authorities (translation §7.5, contract §3.4). What Envoy would
//! refuse is found here, so that it never gets a listener whose secret it cannot use.

mod pem;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{Problems, name, namespace};
use crate::model::{
    Code, Problem, TlsSecret,
    secret::{Authorities, KeyPair, Material, PrivateKey},
};

/// The names of the parts in an object's data: Istio's own, and those of `kubernetes.io/tls`.
struct Keys {
    certificate: &'static str,
    key: &'static str,
    staple: Option<&'static str>,
    authorities: &'static str,
    crl: &'static str,
}

const GENERIC: Keys = Keys { certificate: "cert", key: "key", staple: None, authorities: "cacert", crl: "crl" };

const TLS: Keys = Keys {
    certificate: "tls.crt",
    key: "tls.key",
    staple: Some("tls.ocsp-staple"),
    authorities: "ca.crt",
    crl: "ca.crl",
};

/// The TLS content of a Secret; `None` when it has none.
#[must_use]
pub fn convert(secret: &Secret) -> (Option<TlsSecret>, Vec<Problem>) {
    let mut problems = Problems::of("Secret", &secret.metadata);
    // Files may give text, as a client would; it wins over data, as in the API server.
    let get = |key: &str| {
        let text = secret.string_data.as_ref().and_then(|d| d.get(key)).map(String::as_bytes);
        let data = || secret.data.as_ref().and_then(|d| d.get(key)).map(|b| b.0.as_slice());
        text.or_else(data).filter(|bytes| !bytes.is_empty())
    };
    let certificate = [GENERIC, TLS].iter().map(|keys| certificate(keys, &get)).find(|m| *m != Material::Absent);
    let authorities = [GENERIC, TLS].iter().map(|keys| authorities(keys, &get)).find(|m| *m != Material::Absent);
    if certificate.is_none() && authorities.is_none() {
        return (None, Vec::new());
    }
    let (certificate, authorities) = (certificate.unwrap_or_default(), authorities.unwrap_or_default());
    report(&certificate, &mut problems);
    report(&authorities, &mut problems);
    let made = TlsSecret {
        object: problems.object().clone(),
        namespace: namespace(&secret.metadata),
        name: name(&secret.metadata),
        certificate,
        authorities,
    };
    (Some(made), problems.into_vec())
}

/// The authorities of a ConfigMap; `None` when it has none.
#[must_use]
pub fn convert_config_map(map: &ConfigMap) -> (Option<TlsSecret>, Vec<Problem>) {
    let mut problems = Problems::of("ConfigMap", &map.metadata);
    let get =
        |key: &str| map.data.as_ref().and_then(|d| d.get(key)).map(String::as_bytes).filter(|bytes| !bytes.is_empty());
    let found = [GENERIC, TLS].iter().map(|keys| authorities(keys, &get)).find(|m| *m != Material::Absent);
    let Some(authorities) = found else { return (None, Vec::new()) };
    report(&authorities, &mut problems);
    let made = TlsSecret {
        object: problems.object().clone(),
        namespace: namespace(&map.metadata),
        name: name(&map.metadata),
        certificate: Material::Absent,
        authorities,
    };
    (Some(made), problems.into_vec())
}

fn report<T>(material: &Material<T>, problems: &mut Problems) {
    if let Material::Broken(reason) = material {
        problems.add(Code::SecretUnusable, "data", &**reason);
    }
}

fn certificate<'a>(keys: &Keys, get: &dyn Fn(&str) -> Option<&'a [u8]>) -> Material<KeyPair> {
    let (chain, key) = match (get(keys.certificate), get(keys.key)) {
        (None, None) => return Material::Absent,
        (Some(_), None) => return lacks(keys.certificate, keys.key),
        (None, Some(_)) => return lacks(keys.key, keys.certificate),
        (Some(chain), Some(key)) => (chain, key),
    };
    match pem::check_pair(chain, key) {
        Ok(()) => Material::Ready(KeyPair {
            chain: chain.into(),
            key: PrivateKey::new(key),
            ocsp_staple: keys.staple.and_then(get).map(Arc::from),
        }),
        Err(pem::PairError::Certificate(reason)) => broken(keys.certificate, &reason),
        Err(pem::PairError::Key(reason)) => broken(keys.key, &reason),
    }
}

fn authorities<'a>(keys: &Keys, get: &dyn Fn(&str) -> Option<&'a [u8]>) -> Material<Authorities> {
    let Some(certificates) = get(keys.authorities) else { return Material::Absent };
    if let Err(reason) = pem::certificates(certificates) {
        return broken(keys.authorities, &reason);
    }
    let crl = get(keys.crl);
    if let Some(Err(reason)) = crl.map(pem::check_crl) {
        return broken(keys.crl, &reason);
    }
    Material::Ready(Authorities { certificates: certificates.into(), crl: crl.map(Arc::from) })
}

fn lacks<T>(has: &str, lacks: &str) -> Material<T> {
    Material::Broken(format!("{has} is there, but {lacks} is not").into())
}

fn broken<T>(key: &str, reason: &str) -> Material<T> {
    Material::Broken(format!("{key}: {reason}").into())
}

#[cfg(test)]
mod tests;
