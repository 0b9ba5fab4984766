//! TLS of gateway servers (translation §7.5), and the names of their secrets.

use std::sync::Arc;

use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, TransportSocket, data_source, transport_socket::ConfigType},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
        TlsParameters,
        common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
        subject_alt_name_matcher::SanType,
        tls_parameters::TlsProtocol,
    },
    r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
};

use super::wire;
use crate::{
    model::{
        MeshConfig, SecretState, ServerTls, ServerTlsMode,
        gateway::{Certificates, ClientCa, TlsVersion},
    },
    snapshot::{Name, pack_any},
};

/// What follows the name of a credential in that of its authorities (contract §3.4).
pub const CA_SUFFIX: &str = "-cacert";

/// The resource name of a credential: a bare name is a Secret beside the proxy.
#[must_use]
pub fn credential_resource(credential: &str) -> String {
    match credential.contains("://") {
        true => credential.to_owned(),
        false => format!("kubernetes://{credential}"),
    }
}

/// The resource name of the authorities of a credential.
#[must_use]
pub fn authority_resource(credential: &str) -> String {
    // A ConfigMap holds nothing but authorities.
    let name = credential_resource(credential);
    let complete = name.starts_with("configmap://") || name.ends_with(CA_SUFFIX);
    if complete { name } else { name + CA_SUFFIX }
}

/// A secret that a chain needs over ADS, with the field of the server's `tls` that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretNeed {
    /// The resource name.
    pub resource: Name,
    /// The credential as the user wrote it.
    pub credential: Arc<str>,
    /// The field.
    pub field: &'static str,
}

impl SecretNeed {
    /// What is told of a server whose secret cannot be served.
    #[must_use]
    pub fn lacking(&self, state: SecretState) -> Option<String> {
        let because = match state {
            SecretState::Present => return None,
            SecretState::Missing => "does not exist or lacks the keys".to_owned(),
            SecretState::Broken(reason) => format!("cannot be used: {reason}"),
        };
        Some(format!(
            "secret {:?} ({}) {because}; the server's filter chain is withheld until it is there",
            self.credential, self.resource
        ))
    }
}

/// The secrets over ADS of a server; files and the mesh's own certificates are the agent's.
#[must_use]
pub fn secrets(tls: &ServerTls) -> Vec<SecretNeed> {
    let mut needs = Vec::new();
    if let Certificates::Credentials(names) = &tls.certificates {
        let field = if names.len() == 1 { "credentialName" } else { "credentialNames" };
        needs.extend(names.iter().filter(|n| !is_builtin(n)).map(|n| SecretNeed {
            resource: credential_resource(n).into(),
            credential: n.clone(),
            field,
        }));
    }
    if let (ClientCa::Credential(name), true) = (&tls.client_ca, tls.mode.checks_client())
        && !is_builtin(name)
    {
        let resource = authority_resource(name).into();
        needs.push(SecretNeed { resource, credential: name.clone(), field: "caCertCredentialName" });
    }
    needs
}

fn is_builtin(credential: &str) -> bool {
    credential.starts_with("builtin://")
}

/// The transport socket of a server that terminates TLS. What it does not say itself the mesh says for all servers but
/// those of mutual TLS in the mesh.
#[must_use]
pub fn downstream(tls: &ServerTls, http: bool, mesh: &MeshConfig) -> TransportSocket {
    let alpn: &[&str] = match (http, tls.mode) {
        (true, _) => &["h2", "http/1.1"],
        // Istio's first entry, istio-peer-exchange, needs a filter that stock Envoy lacks (translation §10).
        (false, ServerTlsMode::IstioMutual) => &["istio", "h2", "http/1.1"],
        (false, _) => &[],
    };
    let common = CommonTlsContext {
        tls_params: Some(parameters(tls, mesh)),
        alpn_protocols: alpn.iter().map(|p| (*p).to_owned()).collect(),
        tls_certificate_sds_secret_configs: certificates(tls),
        validation_context_type: validation(tls),
        ..CommonTlsContext::default()
    };
    let required = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::IstioMutual);
    socket(&DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: wire::boolean(required),
        ..DownstreamTlsContext::default()
    })
}

/// What is inside of mutual TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// HTTP, of a version that ALPN decides.
    Http,
    /// Anything.
    Tcp,
}

/// Istio's list of ciphers for mutual TLS before TLS 1.3 (translation §3.3).
const MESH_CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// The transport socket of a workload that takes mutual TLS: its own certificate, and clients of the mesh's trust domains
/// only.
#[must_use]
pub(super) fn workload(inside: Inside, mesh: &MeshConfig) -> TransportSocket {
    let alpn: &[&str] = match inside {
        Inside::Http => &["h2", "http/1.1"],
        Inside::Tcp => &["istio", "h2", "http/1.1"],
    };
    let own: Vec<String> = mesh.mtls_cipher_suites.iter().map(ToString::to_string).collect();
    let cipher_suites = if own.is_empty() { MESH_CIPHERS.map(ToOwned::to_owned).into() } else { own };
    let lowest = match mesh.mtls_min_version {
        Some(TlsVersion::V1_3) => TlsProtocol::TlSv13,
        _ => TlsProtocol::TlSv12,
    };
    let parameters = TlsParameters {
        tls_minimum_protocol_version: lowest.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        cipher_suites,
        ..TlsParameters::default()
    };
    let domains = std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases);
    let checks = CertificateValidationContext {
        match_typed_subject_alt_names: domains.map(|domain| in_trust_domain(domain)).collect(),
        ..CertificateValidationContext::default()
    };
    let common = CommonTlsContext {
        tls_params: Some(parameters),
        alpn_protocols: alpn.iter().map(|p| (*p).to_owned()).collect(),
        tls_certificate_sds_secret_configs: vec![from_agent("default".to_owned())],
        validation_context_type: Some(combined(checks, from_agent("ROOTCA".to_owned()))),
        ..CommonTlsContext::default()
    };
    socket(&DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: wire::boolean(true),
        ..DownstreamTlsContext::default()
    })
}

fn in_trust_domain(domain: &str) -> SubjectAltNameMatcher {
    let prefix = MatchPattern::Prefix(format!("spiffe://{domain}/"));
    let matcher = StringMatcher { match_pattern: Some(prefix), ..StringMatcher::default() };
    SubjectAltNameMatcher { san_type: SanType::Uri.into(), matcher: Some(matcher), ..SubjectAltNameMatcher::default() }
}

fn socket(context: &DownstreamTlsContext) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(context))),
    }
}

fn combined(checks: CertificateValidationContext, authorities: SdsSecretConfig) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(checks),
        validation_context_sds_secret_config: Some(authorities),
        ..CombinedCertificateValidationContext::default()
    })
}

fn from_ads(name: String) -> SdsSecretConfig {
    SdsSecretConfig { name, sds_config: wire::over_ads(None) }
}

fn from_agent(name: String) -> SdsSecretConfig {
    SdsSecretConfig { name, sds_config: wire::over_agent_sds() }
}

fn certificates(tls: &ServerTls) -> Vec<SdsSecretConfig> {
    match &tls.certificates {
        _ if tls.mode == ServerTlsMode::IstioMutual => vec![from_agent("default".to_owned())],
        Certificates::None => Vec::new(),
        Certificates::Credentials(names) => names
            .iter()
            .map(|n| if is_builtin(n) { from_agent("default".to_owned()) } else { from_ads(credential_resource(n)) })
            .collect(),
        Certificates::Files(files) => {
            files.iter().map(|f| from_agent(format!("file-cert:{}~{}", f.certificate, f.key))).collect()
        }
    }
}

fn validation(tls: &ServerTls) -> Option<ValidationContextType> {
    if !tls.mode.checks_client() {
        return None;
    }
    let authorities = match &tls.client_ca {
        _ if tls.mode == ServerTlsMode::IstioMutual => from_agent("ROOTCA".to_owned()),
        ClientCa::None => return None,
        ClientCa::Credential(name) if is_builtin(name) => from_agent("ROOTCA".to_owned()),
        ClientCa::Credential(name) => from_ads(authority_resource(name)),
        ClientCa::File(path) => from_agent(format!("file-root:{path}")),
    };
    let file = |path: &Arc<str>| DataSource {
        specifier: Some(data_source::Specifier::Filename(path.to_string())),
        ..DataSource::default()
    };
    let strings = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
    let checks = CertificateValidationContext {
        match_typed_subject_alt_names: tls.subject_alt_names.iter().map(|san| subject_alt_name(san)).collect(),
        verify_certificate_spki: strings(&tls.verify_spki),
        verify_certificate_hash: strings(&tls.verify_hash),
        crl: tls.ca_crl.as_ref().map(file),
        ..CertificateValidationContext::default()
    };
    Some(combined(checks, authorities))
}

/// A SAN as it is written; its form tells its type.
fn subject_alt_name(san: &str) -> SubjectAltNameMatcher {
    let san_type = if san.contains("://") {
        SanType::Uri
    } else if san.parse::<std::net::IpAddr>().is_ok() {
        SanType::IpAddress
    } else if san.contains('@') {
        SanType::Email
    } else {
        SanType::Dns
    };
    let matcher =
        StringMatcher { match_pattern: Some(MatchPattern::Exact(san.to_owned())), ..StringMatcher::default() };
    SubjectAltNameMatcher { san_type: san_type.into(), matcher: Some(matcher), ..SubjectAltNameMatcher::default() }
}

fn parameters(tls: &ServerTls, mesh: &MeshConfig) -> TlsParameters {
    let protocol = |version: TlsVersion| match version {
        TlsVersion::V1_0 => TlsProtocol::TlSv10,
        TlsVersion::V1_1 => TlsProtocol::TlSv11,
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    };
    let strings = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
    let defaults = (tls.mode != ServerTlsMode::IstioMutual).then_some(mesh);
    let lowest = defaults.and_then(|m| m.tls_min_version).unwrap_or(TlsVersion::V1_2);
    // A highest version of the server's own stays possible.
    let lowest = tls.max_version.map_or(lowest, |max| lowest.min(max));
    let ciphers =
        defaults.filter(|_| tls.cipher_suites.is_empty()).map_or(&tls.cipher_suites, |m| &m.tls_cipher_suites);
    TlsParameters {
        tls_minimum_protocol_version: protocol(tls.min_version.unwrap_or(lowest)).into(),
        tls_maximum_protocol_version: tls.max_version.map_or(TlsProtocol::TlsAuto, protocol).into(),
        cipher_suites: strings(ciphers),
        ecdh_curves: defaults.map_or_else(Vec::new, |m| strings(&m.tls_ecdh_curves)),
        ..TlsParameters::default()
    }
}
