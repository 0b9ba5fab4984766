//! `tls`: of connections to a service (translation §4.5).

use super::Reader;
use crate::{
    api::traffic_policy as spec,
    model::{
        Code,
        destination_rule::{ClientTls, ClientTlsMode},
        secret::CONFIG_MAP,
    },
};

/// Envoy counts a server name's length in one byte.
const MAX_SNI: usize = 255;

pub(super) fn read(reader: &mut Reader<'_>, settings: &spec::ClientTlsSettings) -> ClientTls {
    let mode = mode(settings.mode);
    check_effect(reader, settings, mode);
    check_config_map(reader, settings);
    let files = [("clientCertificate", &settings.client_certificate), ("privateKey", &settings.private_key)];
    if mode == ClientTlsMode::Mutual && settings.credential_name.is_empty() {
        for (field, _) in files.iter().filter(|(_, file)| file.is_empty()) {
            reader.wrong(
                Code::ClientCertificateMissing,
                field,
                "mode MUTUAL needs it, or credentialName: no certificate is presented",
            );
        }
    }
    let mut sni = settings.sni.as_str();
    if sni.len() > MAX_SNI {
        reader.wrong(Code::ServerNameTooLong, "sni", format!("is longer than {MAX_SNI} bytes"));
        sni = "";
    }
    ClientTls {
        mode,
        client_certificate: settings.client_certificate.as_str().into(),
        private_key: settings.private_key.as_str().into(),
        ca_certificates: settings.ca_certificates.as_str().into(),
        credential_name: settings.credential_name.as_str().into(),
        subject_alt_names: settings.subject_alt_names.iter().map(|n| n.as_str().into()).collect(),
        sni: sni.into(),
        insecure_skip_verify: settings.insecure_skip_verify.unwrap_or(false),
        ca_crl: settings.ca_crl.as_str().into(),
    }
}

const fn mode(mode: spec::ClientTlsMode) -> ClientTlsMode {
    match mode {
        spec::ClientTlsMode::Disable => ClientTlsMode::Disable,
        spec::ClientTlsMode::Simple => ClientTlsMode::Simple,
        spec::ClientTlsMode::Mutual => ClientTlsMode::Mutual,
        spec::ClientTlsMode::IstioMutual => ClientTlsMode::IstioMutual,
    }
}

/// Reports what a mode, or another field, leaves no use for.
fn check_effect(reader: &mut Reader<'_>, given: &spec::ClientTlsSettings, mode: ClientTlsMode) {
    let own =
        [("clientCertificate", !given.client_certificate.is_empty()), ("privateKey", !given.private_key.is_empty())];
    let authorities = [("caCertificates", !given.ca_certificates.is_empty()), ("caCrl", !given.ca_crl.is_empty())];
    let credential = !given.credential_name.is_empty();
    let lax = given.insecure_skip_verify == Some(true);
    let (credential_name, skip) = (("credentialName", credential), ("insecureSkipVerify", lax));
    let names = ("subjectAltNames", !given.subject_alt_names.is_empty());
    match mode {
        ClientTlsMode::Disable => {
            let rest = [credential_name, skip, names, ("sni", !given.sni.is_empty())];
            reader.without_effect([own, authorities].concat().into_iter().chain(rest), "with mode DISABLE");
        }
        ClientTlsMode::IstioMutual => {
            let rest = [credential_name, skip];
            reader.without_effect([own, authorities].concat().into_iter().chain(rest), "with mode ISTIO_MUTUAL");
        }
        ClientTlsMode::Simple | ClientTlsMode::Mutual if credential => {
            for (field, _) in own.into_iter().chain(authorities).filter(|(_, set)| *set) {
                reader.wrong(Code::CredentialWithFiles, field, "has no effect beside credentialName");
            }
        }
        ClientTlsMode::Simple => reader.without_effect(own, "with mode SIMPLE"),
        ClientTlsMode::Mutual => {}
    }
    if matches!(mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) && lax {
        let simple = ("credentialName", credential && mode == ClientTlsMode::Simple);
        for (field, _) in [authorities[0], names, simple].into_iter().filter(|(_, set)| *set) {
            reader.wrong(Code::FieldsExclusive, field, "has no effect beside insecureSkipVerify");
        }
        reader.without_effect([authorities[1]].into_iter().filter(|_| !credential), "beside insecureSkipVerify");
    }
}

/// A ConfigMap is read in the namespace of the rule.
fn check_config_map(reader: &mut Reader<'_>, given: &spec::ClientTlsSettings) {
    let Some(name) = given.credential_name.strip_prefix(CONFIG_MAP) else { return };
    let own = reader.problems.object().namespace.clone();
    match name.split_once('/') {
        _ if name.is_empty() => reader.wrong(Code::CredentialForeign, "credentialName", "names no ConfigMap"),
        Some((namespace, _)) if *namespace != *own => {
            let reason = format!("{:?} is not in namespace {own:?}, where the rule is", given.credential_name);
            reader.wrong(Code::CredentialForeign, "credentialName", reason);
        }
        _ => {}
    }
}

/// Whether only gateways can use the TLS of a rule that selects no workloads: sidecars then read no Secrets.
pub(in crate::reconcilers) fn is_for_gateways_only(given: &spec::ClientTlsSettings) -> bool {
    let private = !given.credential_name.is_empty() && !given.credential_name.starts_with(CONFIG_MAP);
    private && matches!(given.mode, spec::ClientTlsMode::Simple | spec::ClientTlsMode::Mutual)
}
