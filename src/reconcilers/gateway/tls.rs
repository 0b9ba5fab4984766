//! TLS of a server (translation §7.5).

use std::sync::Arc;

use super::Reader;
use crate::{
    api::gateway as spec,
    model::{
        ServerTls, ServerTlsMode,
        gateway::{CertificateFiles, Certificates, ClientCa, TlsVersion},
    },
};

/// The ciphers of TLS 1.2 that Envoy knows; it refuses a listener that names another.
const CIPHERS: [&str; 21] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
    "DES-CBC3-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
];

/// Whether plaintext is asked for more than redirects.
pub(super) fn says_more_than_redirect(tls: &spec::ServerTlsSettings) -> bool {
    let redirect = spec::ServerTlsSettings { https_redirect: tls.https_redirect, ..Default::default() };
    *tls != redirect
}

/// The TLS of a server; `None` when it must not be programmed.
pub(super) fn read(tls: &spec::ServerTlsSettings, reader: &mut Reader<'_>) -> Option<ServerTls> {
    if tls.insecure_skip_verify == Some(true) {
        reader.not_honoured("tls.insecureSkipVerify");
    }
    let mode = mode(tls.mode);
    let certificates = certificates(tls, mode, reader)?;
    let client_ca = client_ca(tls, mode, reader)?;
    if !hashes_are_right(tls, reader) {
        return None;
    }
    let (min_version, max_version) = (version(tls.min_protocol_version), version(tls.max_protocol_version));
    if let (Some(min), Some(max)) = (min_version, max_version)
        && min > max
    {
        let reason = "it is below minProtocolVersion, so no version is left; the server is not programmed";
        reader.add("tls.maxProtocolVersion", reason);
        return None;
    }
    Some(ServerTls {
        mode,
        certificates,
        client_ca,
        ca_crl: some(&tls.ca_crl),
        subject_alt_names: shared(&tls.subject_alt_names),
        verify_spki: shared(&tls.verify_certificate_spki),
        verify_hash: shared(&tls.verify_certificate_hash),
        min_version,
        max_version,
        cipher_suites: ciphers(&tls.cipher_suites, reader),
    })
}

const fn mode(mode: spec::ServerTlsMode) -> ServerTlsMode {
    match mode {
        spec::ServerTlsMode::Passthrough => ServerTlsMode::Passthrough,
        spec::ServerTlsMode::Simple => ServerTlsMode::Simple,
        spec::ServerTlsMode::Mutual => ServerTlsMode::Mutual,
        spec::ServerTlsMode::AutoPassthrough => ServerTlsMode::AutoPassthrough,
        spec::ServerTlsMode::IstioMutual => ServerTlsMode::IstioMutual,
        spec::ServerTlsMode::OptionalMutual => ServerTlsMode::OptionalMutual,
    }
}

const fn version(version: spec::TlsProtocol) -> Option<TlsVersion> {
    match version {
        spec::TlsProtocol::TlsAuto => None,
        spec::TlsProtocol::Tls10 => Some(TlsVersion::V1_0),
        spec::TlsProtocol::Tls11 => Some(TlsVersion::V1_1),
        spec::TlsProtocol::Tls12 => Some(TlsVersion::V1_2),
        spec::TlsProtocol::Tls13 => Some(TlsVersion::V1_3),
    }
}

fn some(text: &str) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}

fn shared(list: &[String]) -> Vec<Arc<str>> {
    list.iter().filter_map(|text| some(text)).collect()
}

fn certificates(tls: &spec::ServerTlsSettings, mode: ServerTlsMode, reader: &mut Reader<'_>) -> Option<Certificates> {
    let pair = |certificate: &str, key: &str| Some((some(certificate)?, some(key)?));
    let files = |(certificate, key)| CertificateFiles { certificate, key };
    let mut sources = Vec::new();
    sources.extend(some(&tls.credential_name).map(|n| ("credentialName", Certificates::Credentials(vec![n]))));
    let names = shared(&tls.credential_names);
    sources.extend((!names.is_empty()).then_some(("credentialNames", Certificates::Credentials(names))));
    let several: Option<Vec<_>> =
        tls.tls_certificates.iter().map(|c| pair(&c.server_certificate, &c.private_key).map(files)).collect();
    sources.extend(several.filter(|f| !f.is_empty()).map(|f| ("tlsCertificates", Certificates::Files(f))));
    let single = pair(&tls.server_certificate, &tls.private_key).map(|p| Certificates::Files(vec![files(p)]));
    sources.extend(single.map(|f| ("serverCertificate", f)));
    let needed = !mode.is_passthrough() && mode != ServerTlsMode::IstioMutual;
    match (needed, sources.len()) {
        (false, 0) => Some(Certificates::None),
        (false, _) => {
            let reason = format!("mode {} uses no certificate of its own; it is ignored", mode.as_str());
            reader.add(&format!("tls.{}", sources[0].0), reason);
            Some(Certificates::None)
        }
        (true, 1) => sources.pop().map(|(_, certificates)| certificates),
        (true, 0) => {
            let reason = format!(
                "mode {} needs credentialName, credentialNames, tlsCertificates, or serverCertificate with \
                 privateKey; the server is not programmed",
                mode.as_str()
            );
            reader.add("tls", reason);
            None
        }
        (true, _) => {
            let names: Vec<_> = sources.iter().map(|(name, _)| *name).collect();
            reader.add("tls", format!("only one of {} can be used; the server is not programmed", names.join(", ")));
            None
        }
    }
}

fn client_ca(tls: &spec::ServerTlsSettings, mode: ServerTlsMode, reader: &mut Reader<'_>) -> Option<ClientCa> {
    if !mode.checks_client() || mode == ServerTlsMode::IstioMutual {
        return Some(ClientCa::None);
    }
    let credential = some(&tls.ca_cert_credential_name)
        .or_else(|| some(&tls.credential_name))
        .or_else(|| tls.credential_names.first().and_then(|name| some(name)));
    let file = || {
        let of_certificates = || tls.tls_certificates.iter().find_map(|c| some(&c.ca_certificates));
        some(&tls.ca_certificates).or_else(of_certificates)
    };
    let found = credential.map(ClientCa::Credential).or_else(|| file().map(ClientCa::File));
    if found.is_none() {
        let reason = format!(
            "mode {} needs it (or caCertCredentialName) to check clients; the server is not programmed",
            mode.as_str()
        );
        reader.add("tls.caCertificates", reason);
    }
    found
}

/// A hash that Envoy would refuse is no check that may be dropped.
fn hashes_are_right(tls: &spec::ServerTlsSettings, reader: &mut Reader<'_>) -> bool {
    let hexadecimal = |text: &String| {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) && [64, 95].contains(&text.len())
    };
    let base64 = |text: &String| {
        let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        text.len() == 44 && text.ends_with('=') && text.bytes().take(43).all(digit)
    };
    let first_bad = |list: &[String], good: &dyn Fn(&String) -> bool| list.iter().position(|text| !good(text));
    if let Some(i) = first_bad(&tls.verify_certificate_hash, &hexadecimal) {
        let field = format!("tls.verifyCertificateHash[{i}]");
        reader.add(&field, "not a SHA-256 in 64 hexadecimal digits; the server is not programmed");
        return false;
    }
    if let Some(i) = first_bad(&tls.verify_certificate_spki, &base64) {
        let field = format!("tls.verifyCertificateSpki[{i}]");
        reader.add(&field, "not a SHA-256 in base64; the server is not programmed");
        return false;
    }
    true
}

fn ciphers(list: &[String], reader: &mut Reader<'_>) -> Vec<Arc<str>> {
    let mut known: Vec<Arc<str>> = Vec::with_capacity(list.len());
    for (i, cipher) in list.iter().enumerate() {
        if !CIPHERS.contains(&cipher.as_str()) {
            reader.add(&format!("tls.cipherSuites[{i}]"), format!("{cipher:?} is not known; it is left out"));
        } else if !known.iter().any(|k| **k == **cipher) {
            known.push(cipher.as_str().into());
        }
    }
    known
}
