use std::collections::BTreeSet;

use super::*;
use crate::model::{
    Age, Service, ServicePort,
    service::{Registry, Resolution},
    sidecar::{CaptureMode, EgressHost, EgressListener, EgressPort},
};

mod contributing;
mod table;

pub(super) fn service(host: &str) -> Service {
    Service {
        host: host.into(),
        namespace: "ns".into(),
        name: host.into(),
        object: ObjectRef::new("Service", "ns", host),
        age: Age { created: 0, name: host.into(), namespace: "ns".into() },
        registry: Registry::Kubernetes,
        resolution: Resolution::ClientSideLb,
        ports: Arc::default(),
        vips: Arc::default(),
        cidrs: Arc::default(),
        primary_ipv6: false,
        visibility: None,
        mesh_external: false,
        headless: false,
        node_local: false,
        traffic_distribution: None,
        external_name: None,
        subject_alt_names: Arc::default(),
        service_accounts: Vec::new(),
        labels: Arc::default(),
        selector: None,
    }
}

pub(super) fn port(number: u16, protocol: Protocol) -> ServicePort {
    ServicePort { name: "p".into(), number, protocol, target: None, target_name: "".into() }
}

/// What a service without an address brings to the wildcard listener of a port.
pub(super) fn wildcard(host: &str, number: u16, protocol: Protocol) -> Arc<Contribution> {
    let (service, port) = (service(host), port(number, protocol));
    let cluster = format!("outbound|{number}||{host}");
    let of = PortOfService {
        service: &service,
        port: &port,
        egress: None,
        default: &TcpRoute::to_cluster(&cluster),
        aliases: &[],
        routes: &[],
        members: &[],
    };
    let mut all = contribute(&of, IpFamilies::V4, &MeshConfig::default());
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].0.place, Place::Wildcard);
    Arc::new(all.remove(0).1)
}

pub(super) fn build(place: Place, contributions: &[Arc<Contribution>], policy: OutboundPolicy) -> ListenerOutput {
    let mesh = MeshConfig::default();
    let input = SidecarInput { mesh: &mesh, families: IpFamilies::V4, policy, unprivileged: true };
    outbound_listener(&ListenerKey { place, port: 99 }, contributions, &input)
}

#[test]
fn http_alone_leaves_other_bytes_to_the_policy() {
    for (policy, cluster) in
        [(OutboundPolicy::AllowAny, "PassthroughCluster"), (OutboundPolicy::RegistryOnly, "BlackHoleCluster")]
    {
        let output = build(Place::Wildcard, &[wildcard("a", 99, Protocol::Http)], policy);
        let message = output.message();
        assert_eq!(message.name, "0.0.0.0_99");
        assert_eq!(message.bind_to_port.map(|b| b.value), Some(false));
        assert!(message.continue_on_listener_filters_timeout);
        assert_eq!(message.default_filter_chain.map(|c| c.name).as_deref(), Some("PassthroughFilterChain"));
        assert_eq!(output.header_refs.clusters, BTreeSet::from([cluster.into()]));
        let filters: Vec<_> = message.listener_filters.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(filters, ["envoy.filters.listener.tls_inspector", "envoy.filters.listener.http_inspector"]);
        assert!(output.resource().expect("a resource").refs.clusters.contains(&cluster.into()));
    }
}

#[test]
fn a_bound_listener_has_no_original_destination() {
    let bound = |p: u16| Place::Bound(Bind::parse(&format!("127.0.0.{p}")).expect("an address"));
    let http = Arc::new(Contribution { tcp: Vec::new(), ..(*wildcard("a", 99, Protocol::Http)).clone() });
    let refused = build(bound(1), std::slice::from_ref(&http), OutboundPolicy::AllowAny);
    assert!(refused.is_empty());
    assert!(refused.problems[0].reason.contains("port 99 cannot be opened"));
    let mesh = MeshConfig::default();
    let input =
        SidecarInput { mesh: &mesh, families: IpFamilies::V4, policy: OutboundPolicy::AllowAny, unprivileged: false };
    let output = outbound_listener(&ListenerKey { place: bound(1), port: 9080 }, &[http], &input).message();
    assert_eq!((output.filter_chains.len(), output.default_filter_chain.is_none()), (1, true));
    assert!(output.filter_chains[0].filter_chain_match.is_none());
    assert!(output.bind_to_port.is_none());
}

#[test]
fn one_tcp_service_on_its_address_is_one_chain() {
    let output = build(
        Place::Captured("10.0.0.1".parse().expect("one")),
        &[wildcard("a", 99, Protocol::Tcp)],
        OutboundPolicy::AllowAny,
    );
    let message = output.message();
    assert_eq!((message.name.as_str(), message.filter_chains.len()), ("10.0.0.1_99", 1));
    assert!(message.default_filter_chain.is_none() && message.listener_filters.is_empty());
    assert_eq!(message.filter_chains[0].name, "outbound|99||a");
}

#[test]
fn the_virtual_listeners_are_absent_without_interception() {
    use crate::{
        model::proxy::InterceptionMode,
        translate::listeners::{http_proxy::http_proxy, virtual_outbound::virtual_outbound},
    };
    let mesh = MeshConfig::default();
    let families = IpFamilies::V4V6;
    let input = SidecarInput { mesh: &mesh, families, policy: OutboundPolicy::AllowAny, unprivileged: false };
    assert!(virtual_outbound(&input, InterceptionMode::None).is_none());
    assert!(http_proxy(0, &input).is_none());
    let names = |o: &ListenerOutput| o.chains.iter().map(|c| c.message.name.clone()).collect::<Vec<_>>();
    let out = virtual_outbound(&input, InterceptionMode::Tproxy).expect("one");
    assert_eq!(names(&out), ["virtualOutbound-blackhole", "virtualOutbound-catchall-tcp"]);
    assert_eq!(out.header.transparent.map(|b| b.value), Some(true));
    assert_eq!(out.header.additional_addresses.len(), 1);
    let proxy = http_proxy(15080, &input).expect("one");
    assert_eq!((proxy.name.as_str(), proxy.chains[0].refs.routes.len()), ("127.0.0.1_15080", 1));
}

#[test]
fn egress_sockets_are_as_the_sidecar_says() {
    let egress = |bind: &str, capture| EgressListener {
        port: Some(EgressPort { number: 9080, name: "http".into(), protocol: Protocol::Http }),
        bind: Bind::parse(bind),
        capture,
        hosts: vec![EgressHost::everything()],
    };
    let keys = |egress: &EgressListener| {
        let (service, port) = (service("a"), port(80, Protocol::Http));
        let of = PortOfService {
            service: &service,
            port: &port,
            egress: Some(egress),
            default: &TcpRoute::to_cluster("c"),
            aliases: &[],
            routes: &[],
            members: &[],
        };
        let mut all = contribute(&of, IpFamilies::V4, &MeshConfig::default());
        assert_eq!(all.len(), 1);
        let (key, contribution) = all.remove(0);
        (key.name(IpFamilies::V4), contribution.route.expect("routes").to_string())
    };
    let owned = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(keys(&egress("", CaptureMode::Iptables)), owned("0.0.0.0_9080", "9080"));
    assert_eq!(keys(&egress("", CaptureMode::None)), owned("127.0.0.1_9080", "9080"));
    assert_eq!(keys(&egress("10.1.1.1", CaptureMode::None)), owned("10.1.1.1_9080", "9080"));
    assert_eq!(keys(&egress("unix:///run/s", CaptureMode::Iptables)), owned("unix:///run/s", "unix:///run/s"));
}
