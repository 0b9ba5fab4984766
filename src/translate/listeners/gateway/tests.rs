use std::sync::Arc;

use envoy_types::pb::envoy::{
    config::listener::v3::{FilterChain, filter::ConfigType},
    extensions::filters::network::http_connection_manager::v3::{
        HttpConnectionManager, http_connection_manager::RouteSpecifier,
    },
};
use prost::Message as _;

use super::*;
use crate::model::code::without_code;
use crate::model::{
    Age, Bind, Gateway, Server, ServerTls, ServerTlsMode,
    gateway::{Certificates, ClientCa, ServerHost},
};

mod merging;
mod property;
mod tls;

/// A server of these hosts; `tls` as given.
pub(super) fn server(port: u16, protocol: Protocol, hosts: &[&str], tls: Option<ServerTls>) -> Server {
    Server {
        index: 0,
        name: "".into(),
        port,
        port_name: format!("p{port}").into(),
        protocol,
        bind: None,
        hosts: hosts.iter().map(|h| ServerHost { namespace: None, host: (*h).into() }).collect(),
        https_redirect: false,
        tls,
    }
}

pub(super) fn simple(credential: &str) -> Option<ServerTls> {
    let certificates = Certificates::Credentials(vec![credential.into()]);
    Some(ServerTls { certificates, ..ServerTls::of_mode(ServerTlsMode::Simple) })
}

pub(super) fn passthrough() -> Option<ServerTls> {
    Some(ServerTls::of_mode(ServerTlsMode::Passthrough))
}

pub(super) fn gateway(name: &str, servers: Vec<Server>) -> Arc<Gateway> {
    let number = |(index, server)| Server { index, ..server };
    Arc::new(Gateway {
        object: ObjectRef::new("Gateway", "ns", name),
        age: Age { created: 0, name: name.into(), namespace: "ns".into() },
        namespace: "ns".into(),
        name: name.into(),
        selector: None,
        servers: servers.into_iter().enumerate().map(number).collect(),
    })
}

pub(super) fn merged(gateways: &[Arc<Gateway>]) -> Merged {
    merge_servers(gateways, &PortTranslation::default(), false, IpFamilies::V4)
}

/// Every secret is there, and connections go to cluster `to`.
pub(super) fn build(listener: &GatewayListener, deny_all: bool) -> ListenerOutput {
    build_with(listener, deny_all, &|_| SecretState::Present)
}

pub(super) fn build_with(
    listener: &GatewayListener,
    deny_all: bool,
    secret_state: &dyn Fn(&str) -> SecretState,
) -> ListenerOutput {
    let mesh = MeshConfig { access_log_file: "/dev/stdout".into(), ..MeshConfig::default() };
    let tcp_routes = |server: &MergedServer| {
        let server_names = server.server().dns_names();
        vec![TcpRoute { server_names, ..TcpRoute::to_cluster("to") }]
    };
    let input = GatewayInput { mesh: &mesh, families: IpFamilies::V4, deny_all, secret_state, tcp_routes: &tcp_routes };
    gateway_listener(listener, &input)
}

pub(super) fn manager(chain: &FilterChain) -> HttpConnectionManager {
    let Some(ConfigType::TypedConfig(any)) = &chain.filters[0].config_type else { panic!("no config") };
    assert!(any.type_url.ends_with("HttpConnectionManager"), "{}", any.type_url);
    HttpConnectionManager::decode(&any.value[..]).expect("a connection manager")
}

pub(super) fn problems(of: &[Problem]) -> Vec<String> {
    of.iter().map(without_code).collect()
}

fn one_listener(servers: Vec<Server>) -> Listener {
    let merged = merged(&[gateway("gw", servers)]);
    assert_eq!(problems(&merged.problems), Vec::<String>::new());
    assert_eq!(merged.listeners.len(), 1);
    build(&merged.listeners[0], false).message()
}

#[test]
fn a_plaintext_port_is_one_chain_by_rds() {
    let listener = one_listener(vec![
        server(80, Protocol::Http, &["a.com"], None),
        server(80, Protocol::GrpcWeb, &["b.com"], None),
    ]);
    assert_eq!(listener.name, "0.0.0.0_80");
    assert_eq!(listener.filter_chains.len(), 1);
    assert!(listener.listener_filters.is_empty() && listener.access_log.len() == 1);
    let chain = &listener.filter_chains[0];
    assert!(chain.filter_chain_match.is_none());
    let hcm = manager(chain);
    assert_eq!(hcm.stat_prefix, "outbound_0.0.0.0_80;");
    let Some(RouteSpecifier::Rds(rds)) = &hcm.route_specifier else { panic!("no RDS") };
    assert_eq!(rds.route_config_name, "http.80");
    let source = rds.config_source.as_ref().expect("a source");
    assert_eq!(source.initial_fetch_timeout.map(|d| (d.seconds, d.nanos)), Some((0, 0)));
    assert!(hcm.http_filters.iter().any(|f| f.name == "envoy.filters.http.grpc_web"));
}

#[test]
fn https_servers_are_chains_by_sni() {
    let named = Server { name: "secure".into(), ..server(443, Protocol::Https, &["a.com", "*.a.com"], simple("x")) };
    let other = Server { port_name: "q".into(), ..server(443, Protocol::Https, &["b.com"], simple("y")) };
    let listener = one_listener(vec![named, other]);
    let names = |i: usize| listener.filter_chains[i].filter_chain_match.clone().expect("a match").server_names;
    assert_eq!(names(0), ["*.a.com", "a.com"]);
    assert_eq!(names(1), ["b.com"]);
    assert_eq!(listener.filter_chains[0].name, "https.443.p443.gw.ns");
    assert_eq!(manager(&listener.filter_chains[0]).stat_prefix, "secure");
    assert_eq!(manager(&listener.filter_chains[1]).stat_prefix, "outbound_0.0.0.0_443;");
    assert_eq!(listener.listener_filters[0].name, "envoy.filters.listener.tls_inspector");
    assert!(listener.filter_chains.iter().all(|c| c.transport_socket.is_some()));
}

#[test]
fn any_name_and_plaintext_on_one_port_are_told_apart_by_transport() {
    let listener = one_listener(vec![
        server(443, Protocol::Https, &["*"], simple("x")),
        server(443, Protocol::Http, &["*"], None),
    ]);
    let transports: Vec<_> = listener
        .filter_chains
        .iter()
        .map(|c| c.filter_chain_match.clone().map(|m| m.transport_protocol).unwrap_or_default())
        .collect();
    assert_eq!(transports, ["tls", ""]);
}

#[test]
fn tcp_and_passthrough_follow_their_routes() {
    let listener = one_listener(vec![
        server(443, Protocol::Tls, &["a.com"], passthrough()),
        Server { port_name: "t".into(), ..server(443, Protocol::Tcp, &["*"], None) },
    ]);
    let passed = &listener.filter_chains[0];
    assert_eq!(passed.name, "tls.443.p443.gw.ns");
    assert!(passed.transport_socket.is_none());
    assert_eq!(passed.filter_chain_match.as_ref().expect("a match").server_names, ["a.com"]);
    assert_eq!(passed.filters[0].name, "envoy.filters.network.tcp_proxy");
    assert_eq!(listener.filter_chains[1].name, "tcp.443.t.gw.ns");
}

#[test]
fn a_policy_that_cannot_be_enforced_refuses_everything() {
    let merged = merged(&[gateway(
        "gw",
        vec![server(80, Protocol::Http, &["*"], None), server(90, Protocol::Tcp, &["*"], None)],
    )]);
    let built: Vec<Listener> = merged.listeners.iter().map(|l| build(l, true).message()).collect();
    let first = &manager(&built[0].filter_chains[0]).http_filters[0];
    assert_eq!(first.name, "envoy.filters.http.rbac");
    assert_eq!(built[1].filter_chains[0].filters[0].name, "envoy.filters.network.rbac");
}

#[test]
fn weightless_routes_are_told_and_left_out() {
    let merged = merged(&[gateway("gw", vec![server(90, Protocol::Tcp, &["*"], None)])]);
    let mut route = TcpRoute::to_cluster("a");
    route.target.clusters = vec![("a".into(), 0), ("b".into(), 0)];
    route.origin = Some((ObjectRef::new("VirtualService", "ns", "vs"), "spec.tcp[0]".to_owned()));
    let mesh = MeshConfig::default();
    let input = GatewayInput {
        mesh: &mesh,
        families: IpFamilies::V4,
        deny_all: false,
        secret_state: &|_| SecretState::Present,
        tcp_routes: &|_| vec![route.clone()],
    };
    let output = gateway_listener(&merged.listeners[0], &input);
    assert!(output.is_empty() && output.resource().is_none());
    assert_eq!(
        problems(&output.problems),
        ["VirtualService ns/vs: spec.tcp[0]: all destinations have weight 0; the route is not programmed"]
    );
}

#[test]
fn sockets_and_addresses_bind_as_told() {
    let bound = Server { bind: Bind::parse("10.0.0.1"), ..server(80, Protocol::Http, &["*"], None) };
    let piped = Server { bind: Bind::parse("unix:///run/gw"), ..server(80, Protocol::Http, &["*"], None) };
    let merged = merged(&[gateway("gw", vec![bound, piped])]);
    let names: Vec<_> = merged.listeners.iter().map(|l| build(l, false).name).collect();
    assert_eq!(names, ["unix:///run/gw", "10.0.0.1_80"]);
    assert_eq!(merged.listeners[1].servers[0].route.as_deref(), Some("http.80.10.0.0.1"));
}
