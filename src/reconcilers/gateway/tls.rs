//! TLS of a server (translation §7.5).

mod unused;

use std::sync::Arc;

use super::Reader;
use crate::{
    api::gateway as spec,
    model::{
        Code, ServerTls, ServerTlsMode,
        gateway::{CertificateFiles, Certificates, ClientCa, TlsVersion},
    },
    reconcilers::tls_names::{CIPHERS, known},
};

/// As many certificates as there are kinds of keys: RSA and ECDSA.
const MAX_CERTIFICATES: usize = 2;

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
    let supported = mode(tls.mode, reader);
    let mode = supported.unwrap_or(ServerTlsMode::Passthrough);
    unused::check(tls, mode, reader);
    check_sources(tls, mode, reader);
    let certificates = certificates(tls, mode, reader);
    let client_ca = client_ca(tls, mode, reader);
    let hashes_are_right = hashes_are_right(tls, reader);
    let (min_version, max_version) = (version(tls.min_protocol_version), version(tls.max_protocol_version));
    let versions_cross = matches!((min_version, max_version), (Some(min), Some(max)) if min > max);
    if versions_cross {
        let reason = "it is below minProtocolVersion, so no version is left; the server is not programmed";
        reader.add(Code::TlsVersionsCrossed, "tls.maxProtocolVersion", reason);
    }
    let cipher_suites = known(&tls.cipher_suites, &CIPHERS, |i, reason| {
        reader.add(Code::CipherUnknown, &format!("tls.cipherSuites[{i}]"), reason);
    });
    let (certificates, client_ca) = (certificates?, client_ca?);
    (supported.is_some() && hashes_are_right && !versions_cross).then(|| ServerTls {
        mode,
        certificates,
        client_ca,
        ca_crl: some(&tls.ca_crl),
        subject_alt_names: shared(&tls.subject_alt_names),
        verify_spki: shared(&tls.verify_certificate_spki),
        verify_hash: shared(&tls.verify_certificate_hash),
        min_version,
        max_version,
        cipher_suites,
    })
}

/// What the reference refuses of certificates, and what it warns of.
fn check_sources(tls: &spec::ServerTlsSettings, mode: ServerTlsMode, reader: &mut Reader<'_>) {
    let named = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let checks_files = mode.checks_client() && mode != ServerTlsMode::IstioMutual && !named;
    if checks_files && tls.ca_certificates.is_empty() && !tls.ca_cert_credential_name.is_empty() {
        let reason = format!("mode {} with files needs it", mode.as_str());
        reader.add(Code::ClientAuthorityMissing, "tls.caCertificates", reason);
    }
    if !tls.ca_crl.is_empty() && mode == ServerTlsMode::Simple && !named {
        reader.add(Code::FieldsExclusive, "tls.caCrl", "cannot be set with mode SIMPLE");
    }
    let old = matches!(tls.min_protocol_version, spec::TlsProtocol::Tls10 | spec::TlsProtocol::Tls11);
    if old && tls.cipher_suites.is_empty() {
        let reason = "Envoy offers no ciphers for versions below TLSV1_2 unless cipherSuites names some";
        reader.add(Code::TlsVersionOld, "tls.minProtocolVersion", reason);
    }
    let mut seen = std::collections::HashSet::new();
    for (i, name) in tls.cipher_suites.iter().enumerate().filter(|(_, name)| !seen.insert(name.as_str())) {
        let reason = format!("{name:?} is there twice");
        reader.add(Code::CipherDuplicate, &format!("tls.cipherSuites[{i}]"), reason);
    }
}

fn mode(mode: spec::ServerTlsMode, reader: &mut Reader<'_>) -> Option<ServerTlsMode> {
    Some(match mode {
        spec::ServerTlsMode::Passthrough => ServerTlsMode::Passthrough,
        spec::ServerTlsMode::Simple => ServerTlsMode::Simple,
        spec::ServerTlsMode::Mutual => ServerTlsMode::Mutual,
        spec::ServerTlsMode::IstioMutual => ServerTlsMode::IstioMutual,
        spec::ServerTlsMode::OptionalMutual => ServerTlsMode::OptionalMutual,
        spec::ServerTlsMode::AutoPassthrough => {
            reader.add(
                Code::TlsModeUnsupported,
                "tls.mode",
                "AUTO_PASSTHROUGH is not honoured yet; the server is not programmed",
            );
            return None;
        }
    })
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
    let mut sources = sources(tls);
    let needed = !mode.is_passthrough() && mode != ServerTlsMode::IstioMutual;
    match (needed, sources.len()) {
        (false, _) => {
            if sources.len() > 1 && mode != ServerTlsMode::IstioMutual {
                several(&sources, reader);
            }
            let code = match mode {
                ServerTlsMode::IstioMutual => Code::CertificateUnexpected,
                _ => Code::CertificateUnused,
            };
            for (field, _) in sources {
                let reason = format!("mode {} uses no certificate of its own; it is ignored", mode.as_str());
                reader.add(code, &format!("tls.{field}"), reason);
            }
            Some(Certificates::None)
        }
        (true, 1) => {
            let (field, certificates) = sources.remove(0);
            let count = certificates.len();
            if count > MAX_CERTIFICATES {
                let reason =
                    format!("there are {count}, of which {MAX_CERTIFICATES} can be used; the server is not programmed");
                reader.add(Code::CertificatesTooMany, &format!("tls.{field}"), reason);
                return None;
            }
            Some(certificates)
        }
        (true, 0) => {
            let reason = format!(
                "mode {} needs credentialName, credentialNames, tlsCertificates, or serverCertificate with \
                 privateKey; the server is not programmed",
                mode.as_str()
            );
            reader.add(Code::CertificateMissing, "tls", reason);
            None
        }
        (true, _) => {
            several(&sources, reader);
            None
        }
    }
}

fn several(sources: &[(&str, Certificates)], reader: &mut Reader<'_>) {
    let names: Vec<_> = sources.iter().map(|(name, _)| *name).collect();
    let reason = format!("only one of {} can be used; the server is not programmed", names.join(", "));
    reader.add(Code::CertificateAmbiguous, "tls", reason);
}

/// What is said of certificates, by field.
fn sources(tls: &spec::ServerTlsSettings) -> Vec<(&'static str, Certificates)> {
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
    sources
}

/// Who signs certificates of clients: of all that is said the first counts.
fn client_ca(tls: &spec::ServerTlsSettings, mode: ServerTlsMode, reader: &mut Reader<'_>) -> Option<ClientCa> {
    if !mode.checks_client() || mode == ServerTlsMode::IstioMutual {
        return Some(ClientCa::None);
    }
    let credential = |field: &str, name: &str| Some((field.to_owned(), ClientCa::Credential(some(name)?)));
    let file = |field: String, path: &str| Some((field, ClientCa::File(some(path)?)));
    let of_certificates = tls.tls_certificates.iter().enumerate();
    let of_certificates =
        of_certificates.filter_map(|(i, c)| file(format!("tlsCertificates[{i}].caCertificates"), &c.ca_certificates));
    let credentials = [
        credential("caCertCredentialName", &tls.ca_cert_credential_name),
        credential("credentialName", &tls.credential_name),
        credential("credentialNames", tls.credential_names.first().map_or("", |name| name)),
    ];
    let found = credentials.into_iter().flatten().next();
    let mut files = file("caCertificates".to_owned(), &tls.ca_certificates).into_iter().chain(of_certificates);
    let Some((first, authority)) = found.or_else(|| files.next()) else {
        let reason = format!(
            "mode {} needs it (or caCertCredentialName) to check clients; the server is not programmed",
            mode.as_str()
        );
        reader.add(Code::ClientAuthorityMissing, "tls.caCertificates", reason);
        return None;
    };
    for (field, _) in files {
        reader.add(Code::FieldWithoutEffect, &format!("tls.{field}"), format!("has no effect beside {first}"));
    }
    Some(authority)
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
    let mut are_right = true;
    let mut wrong = |field: String, form: &str| {
        are_right = false;
        reader.add(
            Code::CertificateHashInvalid,
            &field,
            format!("not a SHA-256 in {form}; the server is not programmed"),
        );
    };
    for (i, _) in tls.verify_certificate_hash.iter().enumerate().filter(|(_, text)| !hexadecimal(text)) {
        wrong(format!("tls.verifyCertificateHash[{i}]"), "64 hexadecimal digits");
    }
    for (i, _) in tls.verify_certificate_spki.iter().enumerate().filter(|(_, text)| !base64(text)) {
        wrong(format!("tls.verifyCertificateSpki[{i}]"), "base64");
    }
    are_right
}
