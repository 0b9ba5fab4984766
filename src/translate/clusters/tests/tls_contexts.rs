//! Upstream TLS.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::{
    config::core::v3::transport_socket::ConfigType,
    extensions::transport_sockets::tls::v3::{
        SdsSecretConfig,
        common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    },
};

use super::*;
use crate::model::{Age, PeerAuthentication};

fn with_tls(tls: ClientTls) -> Case {
    let mut made = case();
    made.policy.blocks.tls = Some(Arc::new(tls));
    made
}

fn mode(mode: ClientTlsMode) -> ClientTls {
    ClientTls { mode, ..ClientTls::default() }
}

fn context(made: &Case) -> Option<UpstreamTlsContext> {
    let socket = made.build().transport_socket?;
    let Some(ConfigType::TypedConfig(any)) = socket.config_type else { panic!("no configuration") };
    Some(unpack(&any))
}

fn names(secrets: &[SdsSecretConfig]) -> Vec<&str> {
    secrets.iter().map(|s| s.name.as_str()).collect()
}

fn validation(context: &UpstreamTlsContext) -> Option<&CombinedCertificateValidationContext> {
    match context.common_tls_context.as_ref()?.validation_context_type.as_ref()? {
        ValidationContextType::CombinedValidationContext(combined) => Some(combined),
        other => panic!("{other:?}"),
    }
}

fn root(context: &UpstreamTlsContext) -> Option<&str> {
    validation(context)?.validation_context_sds_secret_config.as_ref().map(|s| s.name.as_str())
}

fn upstream(made: &Case) -> (bool, bool) {
    let options = http(&made.build()).and_then(|h| h.upstream_http_protocol_options).unwrap_or_default();
    (options.auto_sni, options.auto_san_validation)
}

#[test]
fn nothing_said_and_disabled_are_plaintext() {
    assert!(context(&case()).is_none());
    assert!(context(&with_tls(mode(ClientTlsMode::Disable))).is_none());
}

/// What a cluster does on its own: by the metadata of its members, in order.
fn automatic(made: &Case) -> Vec<(String, String)> {
    let matches = made.build().transport_socket_matches.into_iter();
    matches
        .map(|m| {
            (format!("{:?}", m.r#match.expect("a match").fields.keys()), m.transport_socket.expect("a socket").name)
        })
        .collect()
}

#[test]
fn mutual_tls_is_automatic_towards_members_that_take_it() {
    let mut made = case();
    let both = [("[\"tlsMode\"]", "envoy.transport_sockets.tls"), ("[]", "envoy.transport_sockets.raw_buffer")];
    assert_eq!(automatic(&made), both.map(|(m, s)| (m.to_owned(), s.to_owned())));
    assert!(needs_identities(&made.service, &made.policy, &made.mesh, &made.peers));
    made.mesh.auto_mtls = false;
    assert!(automatic(&made).is_empty(), "the mesh says no");
    let mut external = case();
    external.service.mesh_external = true;
    assert!(automatic(&external).is_empty(), "who is outside of the mesh has no identity in it");
    let mut disabled = case();
    disabled.peers = peers(None, Some(MtlsMode::Disable));
    assert!(automatic(&disabled).is_empty(), "the namespace takes none");
    disabled.peers = peers(Some("web"), Some(MtlsMode::Disable));
    assert_eq!(automatic(&disabled).len(), 2, "clients do not know which workload they will reach");
    assert!(automatic(&with_tls(mode(ClientTlsMode::Disable))).is_empty(), "a rule says no");
}

#[test]
fn what_is_inside_is_told_by_the_port_and_left_open_where_it_is_sniffed() {
    let offered = |protocol| {
        let made = Case { policy: with_tls(mode(ClientTlsMode::IstioMutual)).policy, ..with_protocol(protocol) };
        context(&made).and_then(|tls| tls.common_tls_context).expect("TLS").alpn_protocols.join(" ")
    };
    assert_eq!(offered(Protocol::Http), "istio-http/1.1 istio http/1.1");
    assert_eq!(offered(Protocol::Grpc), "istio-h2 istio h2");
    assert_eq!((offered(Protocol::Tcp), offered(Protocol::Auto)), ("istio".to_owned(), "istio".to_owned()));
    let pool = ConnectionPool { use_client_protocol: true, ..ConnectionPool::default() };
    let mut client = with_tls(mode(ClientTlsMode::IstioMutual));
    client.policy.blocks.connection_pool = Some(Arc::new(pool));
    let offered = context(&client).and_then(|tls| tls.common_tls_context).expect("TLS").alpn_protocols.join(" ");
    assert_eq!(offered, "istio-http/1.1 istio", "the server must not decide for HTTP/1.1");
}

#[test]
fn headless_services_are_reached_one_way_that_all_members_take() {
    let mut made = case();
    made.service.resolution = Resolution::Passthrough;
    let socket = |made: &Case| made.build().transport_socket.map(|s| s.name);
    assert_eq!(socket(&made), None, "there are no members");
    let member = |tls_istio| Arc::new(Endpoint { tls_istio, ..endpoint("10.0.0.1", "") });
    made.members = vec![member(true), member(true)];
    assert_eq!(socket(&made).as_deref(), Some("envoy.transport_sockets.tls"));
    made.members.push(member(false));
    assert_eq!(socket(&made), None);
}

fn peers(app: Option<&str>, mode: Option<MtlsMode>) -> NamespacePeers {
    let namespace = service().namespace;
    let policy = PeerAuthentication {
        object: ObjectRef::new("PeerAuthentication", &namespace, "p"),
        age: Age { created: 0, name: "p".into(), namespace: namespace.clone() },
        selector: app.map(|app| Labels::from([("app".to_owned(), app.to_owned())])),
        mode,
        ports: BTreeMap::new(),
    };
    NamespacePeers::new(&namespace, &"root".into(), &[Arc::new(policy)])
}

#[test]
fn istio_mutual_uses_the_agents_certificates() {
    let mut made = with_tls(mode(ClientTlsMode::IstioMutual));
    made.identities = ["spiffe://a", "spiffe://b"].map(Arc::from).into();
    made.subset = Some(Subset { name: "v1".into(), labels: Labels::new(), policy: None });
    let tls = context(&made).expect("TLS");
    assert_eq!(tls.sni, "outbound_.80_.v1_.web.shop.svc.cluster.local");
    let common = tls.common_tls_context.as_ref().expect("common");
    assert_eq!(names(&common.tls_certificate_sds_secret_configs), ["default"]);
    assert_eq!(
        (root(&tls), common.alpn_protocols.join(" ")),
        (Some("ROOTCA"), "istio-http/1.1 istio http/1.1".to_owned())
    );
    let text = format!("{:?}", validation(&tls).and_then(|v| v.default_validation_context.as_ref()));
    assert!(text.contains("spiffe://a") && text.contains("spiffe://b"), "{text}");
    assert!(
        needs_identities(&made.service, &made.policy, &made.mesh, &made.peers)
            && made.try_build().expect("a cluster").refs.secrets.is_empty()
    );
    made.service.ports = [port(Protocol::Grpc)].into();
    let alpn = context(&made).and_then(|c| c.common_tls_context).expect("common").alpn_protocols;
    assert_eq!(alpn, ["istio-h2", "istio", "h2"]);
    assert_eq!(upstream(&made), (false, false));
}

#[test]
fn simple_verifies_the_requested_name() {
    let made = with_tls(mode(ClientTlsMode::Simple));
    let tls = context(&made).expect("TLS");
    assert_eq!((root(&tls), upstream(&made)), (Some("file-root:system"), (true, true)));
    let named = with_tls(ClientTls { subject_alt_names: vec!["a".into()], ..mode(ClientTlsMode::Simple) });
    assert_eq!(upstream(&named), (true, false));
    let fixed = with_tls(ClientTls { sni: "x".into(), ..mode(ClientTlsMode::Simple) });
    assert_eq!((upstream(&fixed), context(&fixed).expect("TLS").sni), ((false, false), "x".to_owned()));
    let lax = with_tls(ClientTls { insecure_skip_verify: true, ..mode(ClientTlsMode::Simple) });
    assert_eq!((root(&context(&lax).expect("TLS")), upstream(&lax)), (None, (true, false)));
}

#[test]
fn mutual_presents_files_and_never_falls_back_to_plaintext() {
    let files = ClientTls {
        client_certificate: "/c.pem".into(),
        private_key: "/k.pem".into(),
        ca_certificates: "/ca.pem".into(),
        ca_crl: "/crl.pem".into(),
        ..mode(ClientTlsMode::Mutual)
    };
    let tls = context(&with_tls(files)).expect("TLS");
    let common = tls.common_tls_context.as_ref().expect("common");
    assert_eq!(names(&common.tls_certificate_sds_secret_configs), ["file-cert:/c.pem~/k.pem"]);
    assert_eq!(root(&tls), Some("file-root:/ca.pem"));
    assert!(format!("{tls:?}").contains("/crl.pem"));
    let incomplete = context(&with_tls(mode(ClientTlsMode::Mutual))).expect("TLS");
    assert!(incomplete.common_tls_context.expect("common").tls_certificate_sds_secret_configs.is_empty());
}

#[test]
fn credentials_come_over_ads_to_those_who_may_read_them() {
    let tls = ClientTls { credential_name: "cred".into(), ..mode(ClientTlsMode::Mutual) };
    let sidecar = with_tls(tls.clone());
    let withheld = sidecar.build();
    assert!(withheld.transport_socket.is_none() && sidecar.facets().kind);
    assert_eq!(kind(&withheld), DiscoveryType::Static, "no member is reached in plaintext");
    let gateway = with_tls(tls.clone()).of_router();
    let made = context(&gateway).expect("TLS");
    let common = made.common_tls_context.as_ref().expect("common");
    assert_eq!(names(&common.tls_certificate_sds_secret_configs), ["kubernetes://cred"]);
    assert_eq!(root(&made), Some("kubernetes://cred-cacert"));
    let refs = gateway.try_build().expect("a cluster").refs;
    let secrets: Vec<&str> = refs.secrets.iter().map(|s| &**s).collect();
    assert_eq!(secrets, ["kubernetes://cred", "kubernetes://cred-cacert"]);
    let mut selected = with_tls(tls);
    selected.rule = Some(rule(Some(Labels::new())));
    assert!(context(&selected).is_some());
    let public = ClientTls { credential_name: "configmap://ns/ca".into(), ..mode(ClientTlsMode::Simple) };
    let made = context(&with_tls(public)).expect("TLS");
    assert_eq!(root(&made), Some("configmap://ns/ca-cacert"));
}

#[test]
fn names_of_a_service_entry_are_expected() {
    let mut made = with_tls(mode(ClientTlsMode::Simple));
    made.service.subject_alt_names = ["san.example".into()].into();
    let expects = |made: &Case| format!("{:?}", context(made)).contains("san.example");
    assert!(!expects(&made), "a Kubernetes Service");
    made.service.registry = Registry::ServiceEntry;
    assert!(expects(&made));
}

#[test]
fn gateways_of_different_namespaces_read_different_secrets() {
    let simple = |credential: &str| {
        with_tls(ClientTls { credential_name: credential.into(), ..mode(ClientTlsMode::Simple) }).facets()
    };
    assert!(simple("cred").gateway_namespace && !simple("").gateway_namespace);
}

#[test]
fn a_cluster_whose_secret_is_not_there_waits_for_nothing() {
    let tls = ClientTls { credential_name: "cred".into(), ..mode(ClientTlsMode::Mutual) };
    let gateway = with_tls(tls).of_router();
    let (built, withheld) = (gateway.build(), gateway.try_build().expect("a cluster").without_members());
    assert_eq!(withheld.refs, Refs::default());
    let (cluster, name) = (withheld.cluster, built.name);
    assert_eq!((kind(&cluster), cluster.name, cluster.metadata), (DiscoveryType::Static, name, built.metadata));
    assert_eq!((cluster.transport_socket, cluster.load_assignment), (None, None));
}
