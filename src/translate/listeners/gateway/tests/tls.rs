//! The table of translation §7.5, row by row, and secrets that are not there.

use envoy_types::pb::envoy::{
    config::core::v3::{ConfigSource, config_source::ConfigSourceSpecifier, transport_socket},
    extensions::transport_sockets::tls::v3::{
        CommonTlsContext, DownstreamTlsContext, common_tls_context::ValidationContextType, tls_parameters::TlsProtocol,
    },
};

use super::*;
use crate::model::gateway::{CertificateFiles, TlsVersion};

fn context(protocol: Protocol, tls: ServerTls) -> (DownstreamTlsContext, Vec<String>) {
    let merged = merged(&[gateway("gw", vec![server(443, protocol, &["a.com"], Some(tls))])]);
    let output = build(&merged.listeners[0], false);
    let chain = &output.chains[0];
    let socket = chain.message.transport_socket.clone().expect("TLS");
    let Some(transport_socket::ConfigType::TypedConfig(any)) = socket.config_type else { panic!("no config") };
    let secrets = chain.refs.secrets.iter().map(ToString::to_string).collect();
    (DownstreamTlsContext::decode(&any.value[..]).expect("a context"), secrets)
}

fn certificates(common: &CommonTlsContext) -> Vec<&str> {
    common.tls_certificate_sds_secret_configs.iter().map(|s| s.name.as_str()).collect()
}

fn authorities(common: &CommonTlsContext) -> Option<&str> {
    match &common.validation_context_type {
        Some(ValidationContextType::CombinedValidationContext(c)) => {
            c.validation_context_sds_secret_config.as_ref().map(|s| s.name.as_str())
        }
        _ => None,
    }
}

fn over_ads(source: Option<&ConfigSource>) -> bool {
    let source = source.expect("a source");
    // Envoy's own 15 s: a secret that never comes must not block a listener for ever.
    assert!(
        source.initial_fetch_timeout.is_none()
            || !matches!(source.config_source_specifier, Some(ConfigSourceSpecifier::Ads(_)))
    );
    matches!(source.config_source_specifier, Some(ConfigSourceSpecifier::Ads(_)))
}

fn with(mode: ServerTlsMode, client_ca: ClientCa) -> ServerTls {
    ServerTls { client_ca, ..ServerTls { mode, ..simple("cred").expect("TLS") } }
}

#[test]
fn simple_asks_for_no_client_certificate() {
    let (made, secrets) = context(Protocol::Https, with(ServerTlsMode::Simple, ClientCa::None));
    let common = made.common_tls_context.expect("a context");
    assert_eq!((certificates(&common), authorities(&common)), (vec!["kubernetes://cred"], None));
    assert!(over_ads(common.tls_certificate_sds_secret_configs[0].sds_config.as_ref()));
    assert_eq!(made.require_client_certificate.map(|b| b.value), Some(false));
    assert_eq!(common.alpn_protocols, ["h2", "http/1.1"]);
    let parameters = common.tls_params.expect("parameters");
    assert_eq!(parameters.tls_minimum_protocol_version(), TlsProtocol::TlSv12);
    assert_eq!(parameters.tls_maximum_protocol_version(), TlsProtocol::TlsAuto);
    assert_eq!(secrets, ["kubernetes://cred"]);
}

#[test]
fn mutual_requires_and_optional_mutual_checks() {
    for (mode, required) in [(ServerTlsMode::Mutual, true), (ServerTlsMode::OptionalMutual, false)] {
        let (made, secrets) = context(Protocol::Https, with(mode, ClientCa::Credential("cred".into())));
        let common = made.common_tls_context.expect("a context");
        assert_eq!(authorities(&common), Some("kubernetes://cred-cacert"));
        assert_eq!(made.require_client_certificate.map(|b| b.value), Some(required));
        assert_eq!(secrets, ["kubernetes://cred", "kubernetes://cred-cacert"]);
    }
    let map = with(ServerTlsMode::Mutual, ClientCa::Credential("configmap://ns/ca".into()));
    assert_eq!(
        authorities(&context(Protocol::Https, map).0.common_tls_context.expect("one")),
        Some("configmap://ns/ca")
    );
}

#[test]
fn what_clients_must_show_is_checked() {
    let tls = ServerTls {
        subject_alt_names: ["spiffe://td/x", "a.com", "10.0.0.1", "me@a.com"].map(Into::into).to_vec(),
        verify_hash: vec!["ab".into()],
        min_version: Some(TlsVersion::V1_3),
        cipher_suites: vec!["ECDHE-ECDSA-AES256-GCM-SHA384".into()],
        ..with(ServerTlsMode::Mutual, ClientCa::Credential("cred".into()))
    };
    let common = context(Protocol::Https, tls).0.common_tls_context.expect("a context");
    let parameters = common.tls_params.clone().expect("parameters");
    assert_eq!(parameters.tls_minimum_protocol_version(), TlsProtocol::TlSv13);
    assert_eq!(parameters.cipher_suites.len(), 1);
    let Some(ValidationContextType::CombinedValidationContext(c)) = common.validation_context_type else {
        panic!("no validation")
    };
    let checks = c.default_validation_context.expect("checks");
    let types: Vec<_> = checks.match_typed_subject_alt_names.iter().map(|m| m.san_type().as_str_name()).collect();
    assert_eq!(types, ["URI", "DNS", "IP_ADDRESS", "EMAIL"]);
    assert_eq!(checks.verify_certificate_hash, ["ab"]);
}

#[test]
fn the_meshs_own_certificates_and_files_come_from_the_agent() {
    let (made, secrets) = context(Protocol::Tls, ServerTls::of_mode(ServerTlsMode::IstioMutual));
    let common = made.common_tls_context.expect("a context");
    assert_eq!((certificates(&common), authorities(&common)), (vec!["default"], Some("ROOTCA")));
    assert!(!over_ads(common.tls_certificate_sds_secret_configs[0].sds_config.as_ref()));
    assert_eq!(made.require_client_certificate.map(|b| b.value), Some(true));
    assert_eq!(common.alpn_protocols, ["istio", "h2", "http/1.1"]);
    assert!(secrets.is_empty());
    let files = ServerTls {
        certificates: Certificates::Files(vec![CertificateFiles { certificate: "/c".into(), key: "/k".into() }]),
        client_ca: ClientCa::File("/ca".into()),
        ..ServerTls::of_mode(ServerTlsMode::Mutual)
    };
    let common = context(Protocol::Https, files).0.common_tls_context.expect("a context");
    assert_eq!((certificates(&common), authorities(&common)), (vec!["file-cert:/c~/k"], Some("file-root:/ca")));
}

#[test]
fn tcp_inside_of_tls_has_no_alpn_and_two_certificates_are_two() {
    let certificates = Certificates::Credentials(vec!["rsa".into(), "ecdsa".into()]);
    let tls = ServerTls { certificates, ..ServerTls::of_mode(ServerTlsMode::Simple) };
    let (made, secrets) = context(Protocol::Tls, tls);
    assert!(made.common_tls_context.expect("a context").alpn_protocols.is_empty());
    assert_eq!(secrets, ["kubernetes://ecdsa", "kubernetes://rsa"]);
}

#[test]
fn a_chain_without_its_secret_is_withheld_and_the_others_stay() {
    let servers = vec![
        server(443, Protocol::Https, &["a.com"], simple("gone")),
        Server { port_name: "b".into(), ..server(443, Protocol::Https, &["b.com"], simple("broken")) },
        Server { port_name: "c".into(), ..server(443, Protocol::Https, &["c.com"], simple("good")) },
    ];
    let merged = merged(&[gateway("gw", servers)]);
    let state = |name: &str| match name {
        "kubernetes://gone" => SecretState::Missing,
        "kubernetes://broken" => SecretState::Broken("tls.key: not PEM".into()),
        _ => SecretState::Present,
    };
    let output = build_with(&merged.listeners[0], false, &state);
    assert_eq!(output.chains.iter().map(|c| c.message.name.as_str()).collect::<Vec<_>>(), ["https.443.c.gw.ns"]);
    assert_eq!(
        problems(&output.problems),
        [
            "Gateway ns/gw: spec.servers[0].tls.credentialName: secret \"gone\" (kubernetes://gone) does not exist or \
             lacks the keys; the server's filter chain is withheld until it is there",
            "Gateway ns/gw: spec.servers[1].tls.credentialName: secret \"broken\" (kubernetes://broken) cannot be \
             used: tls.key: not PEM; the server's filter chain is withheld until it is there",
        ]
    );
}

#[test]
fn the_mesh_fills_what_a_server_does_not_say_of_tls() {
    let mesh = MeshConfig {
        tls_min_version: Some(TlsVersion::V1_3),
        tls_ecdh_curves: vec!["X25519".into()],
        tls_cipher_suites: vec!["AES128-SHA".into()],
        ..MeshConfig::default()
    };
    let parameters = |tls: &ServerTls| {
        let socket = tls_context::downstream(tls, true, &mesh).config_type;
        let Some(transport_socket::ConfigType::TypedConfig(any)) = socket else { panic!("no context") };
        let made = DownstreamTlsContext::decode(&any.value[..]).expect("a context");
        made.common_tls_context.and_then(|c| c.tls_params).expect("parameters")
    };
    let plain = ServerTls::of_mode(ServerTlsMode::Simple);
    let made = parameters(&plain);
    assert_eq!(made.tls_minimum_protocol_version(), TlsProtocol::TlSv13);
    assert_eq!((made.ecdh_curves, made.cipher_suites), (vec!["X25519".to_owned()], vec!["AES128-SHA".to_owned()]));
    let own = parameters(&ServerTls {
        min_version: Some(TlsVersion::V1_1),
        cipher_suites: vec!["AES256-SHA".into()],
        ..plain.clone()
    });
    assert_eq!(own.tls_minimum_protocol_version(), TlsProtocol::TlSv11);
    assert_eq!((own.ecdh_curves.len(), own.cipher_suites), (1, vec!["AES256-SHA".to_owned()]));
    let bounded = parameters(&ServerTls { max_version: Some(TlsVersion::V1_2), ..plain });
    assert_eq!(bounded.tls_minimum_protocol_version(), TlsProtocol::TlSv12, "some version is left");
    let of_mesh = parameters(&ServerTls::of_mode(ServerTlsMode::IstioMutual));
    assert_eq!(of_mesh.tls_minimum_protocol_version(), TlsProtocol::TlSv12);
    assert!(of_mesh.ecdh_curves.is_empty() && of_mesh.cipher_suites.is_empty());
}
