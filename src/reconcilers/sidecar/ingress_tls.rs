//! TLS of an inbound listener: a part of what servers of Gateways have.

use super::super::{
    Problems,
    tls_names::{CIPHERS, known},
};
use crate::{
    api::gateway::{ServerTlsMode, ServerTlsSettings, TlsProtocol},
    model::Code,
};

pub(super) fn check(field: &str, tls: &ServerTlsSettings, problems: &mut Problems) {
    for (name, set) in [
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ("httpsRedirect", tls.https_redirect),
        ("credentialName", !tls.credential_name.is_empty()),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("caCertCredentialName", !tls.ca_cert_credential_name.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
    ] {
        if set {
            problems.add(Code::IngressTlsUnsupported, format!("{field}.{name}"), "does not go with a Sidecar");
        }
    }
    if let ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough = tls.mode {
        let reason = "does not go with a Sidecar: use SIMPLE, MUTUAL or OPTIONAL_MUTUAL";
        problems.add(Code::IngressTlsUnsupported, format!("{field}.mode"), reason);
    }
    check_files(field, tls, problems);
    check_parameters(field, tls, problems);
}

fn check_files(field: &str, tls: &ServerTlsSettings, problems: &mut Problems) {
    let ends_here = matches!(tls.mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let pair = [("serverCertificate", &tls.server_certificate), ("privateKey", &tls.private_key)];
    for (name, _) in pair.into_iter().filter(|(_, path)| ends_here && path.is_empty()) {
        problems.add(Code::CertificateMissing, format!("{field}.{name}"), "is missing: the mode needs it");
    }
    let files = pair.into_iter().chain([("caCertificates", &tls.ca_certificates), ("caCrl", &tls.ca_crl)]);
    for (name, _) in files.filter(|(_, path)| tls.mode == ServerTlsMode::Passthrough && !path.is_empty()) {
        problems.add(Code::CertificateUnused, format!("{field}.{name}"), "has no effect with mode PASSTHROUGH");
    }
    if matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) && tls.ca_certificates.is_empty() {
        let reason = "is missing: the mode needs it to check clients";
        problems.add(Code::ClientAuthorityMissing, format!("{field}.caCertificates"), reason);
    }
}

fn check_parameters(field: &str, tls: &ServerTlsSettings, problems: &mut Problems) {
    let old = |version| matches!(version, TlsProtocol::Tls10 | TlsProtocol::Tls11);
    if old(tls.min_protocol_version) && tls.cipher_suites.is_empty() {
        let reason = "is below TLS 1.2, for which Envoy offers no ciphers unless cipherSuites lists them";
        problems.add(Code::TlsVersionOld, format!("{field}.minProtocolVersion"), reason);
    }
    known(&tls.cipher_suites, &CIPHERS, |i, reason| {
        problems.add(Code::CipherUnknown, format!("{field}.cipherSuites[{i}]"), reason);
    });
}
