//! What is said of a server's TLS although its mode, or another field, leaves no use for it.

use super::Reader;
use crate::{
    api::gateway as spec,
    model::{Code, ServerTlsMode},
};

pub(super) fn check(tls: &spec::ServerTlsSettings, mode: ServerTlsMode, reader: &mut Reader<'_>) {
    let word = mode.as_str();
    if mode == ServerTlsMode::IstioMutual {
        for field in authorities(tls) {
            let code = if field == "caCertificates" { Code::CertificateUnexpected } else { Code::FieldWithoutEffect };
            let reason = format!("has no effect with mode {word}: clients have certificates of the mesh");
            reader.add(code, &format!("tls.{field}"), reason);
        }
    } else if !mode.checks_client() {
        let all = authorities(tls).into_iter().chain(checks(tls));
        report(all, &format!("with mode {word}: no certificate of a client is looked at"), reader);
    }
    if mode.is_passthrough() {
        report(parameters(tls), &format!("with mode {word}: TLS does not end here"), reader);
    }
    let needed = matches!(mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let named = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    // Of those that have an effect the reference refuses what is half.
    let code = if needed && !named { Code::CertificateIncomplete } else { Code::FieldWithoutEffect };
    half_pair(code, "tls", &tls.server_certificate, &tls.private_key, reader);
    for (i, pair) in tls.tls_certificates.iter().enumerate() {
        half_pair(code, &format!("tls.tlsCertificates[{i}]"), &pair.server_certificate, &pair.private_key, reader);
    }
}

/// Who signs certificates of clients.
fn authorities(tls: &spec::ServerTlsSettings) -> Vec<String> {
    let set = [
        ("caCertificates", !tls.ca_certificates.is_empty()),
        ("caCertCredentialName", !tls.ca_cert_credential_name.is_empty()),
    ];
    let several = tls.tls_certificates.iter().enumerate().filter(|(_, c)| !c.ca_certificates.is_empty());
    named(&set).into_iter().chain(several.map(|(i, _)| format!("tlsCertificates[{i}].caCertificates"))).collect()
}

/// What else is asked of certificates of clients.
fn checks(tls: &spec::ServerTlsSettings) -> Vec<String> {
    named(&[
        ("caCrl", !tls.ca_crl.is_empty()),
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ("verifyCertificateSpki", !tls.verify_certificate_spki.is_empty()),
        ("verifyCertificateHash", !tls.verify_certificate_hash.is_empty()),
    ])
}

fn parameters(tls: &spec::ServerTlsSettings) -> Vec<String> {
    named(&[
        ("minProtocolVersion", tls.min_protocol_version != spec::TlsProtocol::TlsAuto),
        ("maxProtocolVersion", tls.max_protocol_version != spec::TlsProtocol::TlsAuto),
        ("cipherSuites", !tls.cipher_suites.is_empty()),
    ])
}

fn named(fields: &[(&str, bool)]) -> Vec<String> {
    fields.iter().filter(|(_, set)| *set).map(|(field, _)| (*field).to_owned()).collect()
}

fn report(fields: impl IntoIterator<Item = String>, why: &str, reader: &mut Reader<'_>) {
    for field in fields {
        reader.add(Code::FieldWithoutEffect, &format!("tls.{field}"), format!("has no effect {why}"));
    }
}

/// A certificate without its key, or the other way round.
fn half_pair(code: Code, within: &str, certificate: &str, key: &str, reader: &mut Reader<'_>) {
    let (lacks, has) = match (certificate.is_empty(), key.is_empty()) {
        (false, true) => ("privateKey", "serverCertificate"),
        (true, false) => ("serverCertificate", "privateKey"),
        (true, true) | (false, false) => return,
    };
    reader.add(code, &format!("{within}.{lacks}"), format!("is missing: {has} has no effect without it"));
}
