//! Upstream TLS as DestinationRules say it (translation §4.5). Nothing said is plaintext.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::{Cluster, cluster::TransportSocketMatch},
            core::v3::{
                ApiConfigSource, ApiVersion, ConfigSource, DataSource, GrpcService, TransportSocket,
                api_config_source::ApiType, config_source::ConfigSourceSpecifier, data_source, grpc_service,
                transport_socket::ConfigType,
            },
        },
        extensions::transport_sockets::{
            raw_buffer::v3::RawBuffer,
            tls::v3::{
                CertificateValidationContext, CommonTlsContext, SdsSecretConfig, TlsParameters, UpstreamTlsContext,
                common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
                tls_parameters::TlsProtocol,
            },
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::Struct,
};

use super::{
    ClusterInput,
    convert::duration,
    discovery::{Kind, ads},
    http_protocol::HttpProtocol,
    is_auto_mtls,
    metadata::text,
    naming::sni_name,
};
use crate::{
    model::{
        Endpoint, MeshConfig, ProtocolClass, ProxyKind,
        destination_rule::{ClientTls, ClientTlsMode},
        gateway::TlsVersion,
        peer_authentication::MtlsMode,
        secret::CONFIG_MAP,
        service::Registry,
    },
    snapshot::{Name, pack_any},
};

/// The agent's certificates by SDS (contract §3.4).
const AGENT_CLUSTER: &str = "sds-grpc";
const OWN_CERTIFICATE: &str = "default";
const MESH_ROOT: &str = "ROOTCA";
const SYSTEM_ROOTS: &str = "system";
const CA_SUFFIX: &str = "-cacert";
/// The ALPN of mutual TLS in the mesh: servers tell it from others by it, and what is inside (translation §10).
const ALPN_MESH: [&str; 1] = ["istio"];
const ALPN_MESH_HTTP: [&str; 3] = ["istio-http/1.1", "istio", "http/1.1"];
const ALPN_MESH_H2: [&str; 3] = ["istio-h2", "istio", ALPN_H2];
/// What the metadata of members says (translation §0).
const TLS_MODE: &str = "tlsMode";
const TLS_MODE_ISTIO: &str = "istio";
const ALPN_H2: &str = "h2";

/// Sets the transport socket; returns the secrets that it makes Envoy ask for over ADS.
pub(super) fn apply(cluster: &mut Cluster, http: &mut HttpProtocol, kind: Kind, input: &ClusterInput<'_>) -> Vec<Name> {
    let Some(tls) = input.policy.blocks.tls.as_deref() else {
        if is_auto_mtls(input.service, input.policy, input.mesh, input.peers) {
            apply_auto(cluster, http, kind, input);
        }
        return Vec::new();
    };
    let mut secrets = Vec::new();
    let context = match tls.mode {
        ClientTlsMode::Disable => return secrets,
        ClientTlsMode::IstioMutual => mesh_context(tls, http, input),
        ClientTlsMode::Simple | ClientTlsMode::Mutual => {
            verify_by_sni(tls, http);
            user_context(tls, http, input, &mut secrets)
        }
    };
    cluster.transport_socket = Some(socket(&context));
    secrets.sort();
    secrets
}

/// Mutual TLS to the members that take it, plaintext to others (translation §4.5).
fn apply_auto(cluster: &mut Cluster, http: &mut HttpProtocol, kind: Kind, input: &ClusterInput<'_>) {
    let mesh = socket(&mesh_context(&ClientTls::default(), http, input));
    if kind == Kind::OriginalDst {
        // Envoy knows no members, whose metadata could say.
        let takes = |e: &Arc<Endpoint>| e.tls_istio && input.peers.of(&e.labels).of_port(e.port) != MtlsMode::Disable;
        let all = !input.members.is_empty() && input.members.iter().all(takes);
        cluster.transport_socket = all.then_some(mesh);
        return;
    }
    let matching = Struct { fields: HashMap::from([(TLS_MODE.to_owned(), text(TLS_MODE_ISTIO))]) };
    cluster.transport_socket_matches = vec![
        TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            r#match: Some(matching),
            transport_socket: Some(mesh),
        },
        TransportSocketMatch {
            name: "tlsMode-disabled".to_owned(),
            r#match: Some(Struct::default()),
            transport_socket: Some(PLAINTEXT.clone()),
        },
    ];
}

/// The same in every cluster.
static PLAINTEXT: LazyLock<TransportSocket> = LazyLock::new(|| TransportSocket {
    name: "envoy.transport_sockets.raw_buffer".to_owned(),
    config_type: Some(ConfigType::TypedConfig(pack_any(&RawBuffer {}))),
});

fn socket(context: &UpstreamTlsContext) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(context))),
    }
}

/// Whether the proxy may read what the TLS needs: a sidecar reads Secrets only for a rule that selects it. The reference
/// leaves the connections of others in plaintext; here they have no members, which the rule is told.
pub(super) fn may_read_credential(input: &ClusterInput<'_>) -> bool {
    let Some(tls) = input.policy.blocks.tls.as_deref() else { return true };
    if !matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) {
        return true;
    }
    let private = !tls.credential_name.is_empty() && !tls.credential_name.starts_with(CONFIG_MAP);
    let selected = input.rule.is_some_and(|r| r.workload_selector.is_some());
    !private || input.client.kind == ProxyKind::Router || selected
}

/// Without an SNI of the rule the request's host is sent, and verified unless other names are given.
fn verify_by_sni(tls: &ClientTls, http: &mut HttpProtocol) {
    if tls.sni.is_empty() {
        let options = http.upstream();
        options.auto_sni = true;
        options.auto_san_validation = tls.subject_alt_names.is_empty() && !tls.insecure_skip_verify;
    }
}

fn mesh_context(tls: &ClientTls, http: &mut HttpProtocol, input: &ClusterInput<'_>) -> UpstreamTlsContext {
    let subset = input.subset.map_or("", |s| &s.name);
    let sni = match &*tls.sni {
        "" => sni_name(input.port.number, subset, &input.service.host),
        given => given.to_owned(),
    };
    let names: Vec<&str> = if tls.subject_alt_names.is_empty() {
        input.identities.iter().map(|i| &**i).collect()
    } else {
        tls.subject_alt_names.iter().map(|n| &**n).collect()
    };
    let alpn: &[&str] = match input.port.protocol.class() {
        _ if http.is_http2() => &ALPN_MESH_H2,
        // A server that decides for HTTP/1.1 would not read HTTP/2.
        _ if http.is_downstream() && input.port.protocol.class() == ProtocolClass::Http => &ALPN_MESH_HTTP[..2],
        ProtocolClass::Http => &ALPN_MESH_HTTP,
        // With HTTP inside, routes say so.
        ProtocolClass::Auto | ProtocolClass::Tcp => &ALPN_MESH,
    };
    let common = CommonTlsContext {
        tls_params: Some(mesh_parameters(input.mesh)),
        tls_certificate_sds_secret_configs: vec![from_agent(OWN_CERTIFICATE)],
        validation_context_type: Some(combined(validation(&names), from_agent(MESH_ROOT))),
        alpn_protocols: alpn.iter().map(|a| (*a).to_owned()).collect(),
        ..CommonTlsContext::default()
    };
    UpstreamTlsContext { common_tls_context: Some(common), sni, ..UpstreamTlsContext::default() }
}

fn user_context(
    tls: &ClientTls,
    http: &mut HttpProtocol,
    input: &ClusterInput<'_>,
    secrets: &mut Vec<Name>,
) -> UpstreamTlsContext {
    let mut common = CommonTlsContext {
        tls_params: Some(user_parameters(input.mesh)),
        alpn_protocols: if http.is_http2() { vec![ALPN_H2.to_owned()] } else { Vec::new() },
        ..CommonTlsContext::default()
    };
    let given = if tls.subject_alt_names.is_empty() && input.service.registry == Registry::ServiceEntry {
        &input.service.subject_alt_names[..]
    } else {
        &tls.subject_alt_names[..]
    };
    let names: Vec<&str> = given.iter().map(|n| &**n).collect();
    let mut verified = validation(&names);
    if tls.credential_name.is_empty() {
        if has_own_certificate(tls) {
            let file = format!("file-cert:{}~{}", tls.client_certificate, tls.private_key);
            common.tls_certificate_sds_secret_configs.push(from_agent(&file));
        }
        if !tls.ca_crl.is_empty() {
            let specifier = Some(data_source::Specifier::Filename(tls.ca_crl.to_string()));
            verified.crl = Some(DataSource { specifier, ..DataSource::default() });
        }
        let root = if tls.ca_certificates.is_empty() { SYSTEM_ROOTS } else { &tls.ca_certificates };
        common.validation_context_type = Some(combined(verified, from_agent(&format!("file-root:{root}"))));
    } else {
        let name = credential(&tls.credential_name);
        if tls.mode == ClientTlsMode::Mutual {
            common.tls_certificate_sds_secret_configs.push(over_ads(&name, secrets));
        }
        if !tls.insecure_skip_verify {
            let root = over_ads(&format!("{name}{CA_SUFFIX}"), secrets);
            common.validation_context_type = Some(combined(verified, root));
        }
    }
    if tls.insecure_skip_verify {
        common.validation_context_type = None;
    }
    UpstreamTlsContext { common_tls_context: Some(common), sni: tls.sni.to_string(), ..UpstreamTlsContext::default() }
}

/// MUTUAL without both files is reported where the rule is read; the server then decides about a client without
/// a certificate, and nothing goes out in plaintext.
fn has_own_certificate(tls: &ClientTls) -> bool {
    tls.mode == ClientTlsMode::Mutual && !tls.client_certificate.is_empty() && !tls.private_key.is_empty()
}

fn parameters() -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..TlsParameters::default()
    }
}

/// Of mutual TLS in the mesh.
fn mesh_parameters(mesh: &MeshConfig) -> TlsParameters {
    let lowest = match mesh.mtls_min_version {
        Some(TlsVersion::V1_3) => TlsProtocol::TlSv13,
        _ => TlsProtocol::TlSv12,
    };
    TlsParameters { tls_minimum_protocol_version: lowest.into(), ..parameters() }
}

fn user_parameters(mesh: &MeshConfig) -> TlsParameters {
    let strings = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
    let lowest = match mesh.tls_min_version {
        Some(TlsVersion::V1_3) => TlsProtocol::TlSv13,
        _ => TlsProtocol::TlSv12,
    };
    TlsParameters {
        tls_minimum_protocol_version: lowest.into(),
        ecdh_curves: strings(&mesh.tls_ecdh_curves),
        cipher_suites: strings(&mesh.tls_cipher_suites),
        ..parameters()
    }
}

#[expect(deprecated, reason = "the reference writes this field, and it matches a name of any type")]
fn validation(names: &[&str]) -> CertificateValidationContext {
    let exact = |name: &&str| StringMatcher {
        match_pattern: Some(MatchPattern::Exact((*name).to_owned())),
        ..StringMatcher::default()
    };
    CertificateValidationContext {
        match_subject_alt_names: names.iter().map(exact).collect(),
        ..CertificateValidationContext::default()
    }
}

fn combined(verified: CertificateValidationContext, root: SdsSecretConfig) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(verified),
        validation_context_sds_secret_config: Some(root),
        ..CombinedCertificateValidationContext::default()
    })
}

/// The secrets that a policy makes gateways, and sidecars that its rule selects, ask for over ADS.
#[must_use]
pub fn secrets(tls: &ClientTls) -> Vec<Name> {
    if tls.credential_name.is_empty() || !matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) {
        return Vec::new();
    }
    let name = credential(&tls.credential_name);
    let authorities = (!tls.insecure_skip_verify).then(|| format!("{name}{CA_SUFFIX}").into());
    let own = (tls.mode == ClientTlsMode::Mutual).then(|| name.into());
    own.into_iter().chain(authorities).collect()
}

/// The name of a credential as a resource; names without a scheme are Secrets of the proxy's namespace.
fn credential(name: &str) -> String {
    if name.contains("://") { name.to_owned() } else { format!("kubernetes://{name}") }
}

fn over_ads(name: &str, secrets: &mut Vec<Name>) -> SdsSecretConfig {
    secrets.push(name.into());
    let mut source = ads(Duration::ZERO);
    // Envoy's own 15 s: a cluster whose secret is missing must not warm for ever.
    source.initial_fetch_timeout = None;
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
}

fn from_agent(name: &str) -> SdsSecretConfig {
    let target =
        grpc_service::EnvoyGrpc { cluster_name: AGENT_CLUSTER.to_owned(), ..grpc_service::EnvoyGrpc::default() };
    let service = GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(target)),
        ..GrpcService::default()
    };
    let api = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        set_node_on_first_message_only: true,
        grpc_services: vec![service],
        ..ApiConfigSource::default()
    };
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(api)),
        initial_fetch_timeout: Some(duration(Duration::ZERO)),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    };
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
}
