use std::time::Duration;

use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::cluster::{DiscoveryType, LbConfig, LbPolicy},
            core::v3::TransportSocket,
        },
        extensions::{
            transport_sockets::{proxy_protocol::v3::ProxyProtocolUpstreamTransport, tls::v3::UpstreamTlsContext},
            upstreams::http::v3::{HttpProtocolOptions, http_protocol_options::UpstreamProtocolOptions},
        },
    },
    google::protobuf::Any,
};
use prost::Message;

use super::*;
use crate::{
    model::{
        IpFamilies, Labels, ObjectRef, ProxyKind, Visibility,
        destination_rule::{
            ClientTls, ConnectionPool, Decimal, H2Upgrade, HashKey, HashRing, Http2Keepalive, LbAlgorithm,
            LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget, TcpKeepalive, Warmup,
        },
        locality_lb::LocalityLb,
        service::Registry,
    },
    translate::fixtures::{endpoint, port, service},
};

mod properties;
mod tls_contexts;

/// One test case: defaults, and what it changes.
#[derive(Debug)]
struct Case {
    service: Service,
    policy: EffectivePolicy,
    subset: Option<Subset>,
    rule: Option<MergedRule>,
    mesh: MeshConfig,
    members: Vec<Arc<Endpoint>>,
    identities: BTreeSet<Arc<str>>,
    peers: NamespacePeers,
    client: ClientFacts,
}

fn case() -> Case {
    Case {
        service: service(),
        policy: EffectivePolicy::default(),
        subset: None,
        rule: None,
        mesh: MeshConfig::default(),
        members: Vec::new(),
        identities: BTreeSet::new(),
        peers: NamespacePeers::default(),
        client: ClientFacts::default(),
    }
}

fn with_protocol(protocol: Protocol) -> Case {
    Case { service: Service { ports: [port(protocol)].into(), ..service() }, ..case() }
}

fn with_pool(pool: ConnectionPool) -> Case {
    let mut made = case();
    made.policy.blocks.connection_pool = Some(Arc::new(pool));
    made
}

fn with_balancer(balancer: LoadBalancer) -> Case {
    let mut made = case();
    made.policy.blocks.load_balancer = Some(Arc::new(balancer));
    made
}

impl Case {
    fn try_build(&self) -> Option<BuiltCluster> {
        outbound_cluster(&ClusterInput {
            service: &self.service,
            port: &self.service.ports[0],
            subset: self.subset.as_ref(),
            rule: self.rule.as_ref(),
            policy: &self.policy,
            mesh: &self.mesh,
            members: &self.members,
            identities: &self.identities,
            peers: &self.peers,
            client: &self.client,
        })
    }

    fn build(&self) -> Cluster {
        self.try_build().expect("a cluster").cluster
    }

    fn facets(&self) -> Facets {
        facets(&self.service, &self.service.ports[0], &self.policy, &self.mesh)
    }

    fn of_router(mut self) -> Self {
        self.client.kind = ProxyKind::Router;
        self
    }
}

fn kind(cluster: &Cluster) -> DiscoveryType {
    match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(number)) => DiscoveryType::try_from(number).expect("a known type"),
        ref other => panic!("{other:?}"),
    }
}

fn unpack<M: Message + Default>(any: &Any) -> M {
    M::decode(&any.value[..]).expect("decodes")
}

fn http(cluster: &Cluster) -> Option<HttpProtocolOptions> {
    let any = cluster.typed_extension_protocol_options.get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
    any.map(unpack)
}

/// `h1`, `h2`, `client` or nothing.
fn version(cluster: &Cluster) -> &'static str {
    let Some(options) = http(cluster) else { return "" };
    match options.upstream_protocol_options.expect("a version where there are options") {
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(_) => "client",
        UpstreamProtocolOptions::ExplicitHttpConfig(c) if format!("{c:?}").contains("Http2") => "h2",
        _ => "h1",
    }
}

#[test]
fn a_plain_service_is_an_eds_cluster() {
    let built = case().try_build().expect("a cluster");
    let cluster = &built.cluster;
    assert_eq!(cluster.name, "outbound|80||web.shop.svc.cluster.local");
    assert_eq!(cluster.alt_stat_name, format!("{};", cluster.name));
    assert_eq!((kind(cluster), cluster.lb_policy()), (DiscoveryType::Eds, LbPolicy::LeastRequest));
    let eds = cluster.eds_cluster_config.as_ref().expect("EDS");
    assert_eq!(eds.service_name, cluster.name);
    assert_eq!(built.refs.endpoints.as_deref(), Some(cluster.name.as_str()));
    assert_eq!(cluster.connect_timeout.as_ref().map(|t| t.seconds), Some(10));
    let breakers = &cluster.circuit_breakers.as_ref().expect("breakers").thresholds[0];
    for limit in
        [&breakers.max_connections, &breakers.max_pending_requests, &breakers.max_requests, &breakers.max_retries]
    {
        assert_eq!(limit.as_ref().map(|l| l.value), Some(u32::MAX));
    }
    assert!(cluster.transport_socket.is_none() && version(cluster).is_empty());
    let panic = cluster.common_lb_config.as_ref().and_then(|c| c.healthy_panic_threshold.as_ref());
    assert_eq!(panic.map(|p| p.value), Some(0.0));
    assert_eq!(case().facets(), Facets::default());
}

#[test]
fn resolution_decides_the_type() {
    let of = |resolution, router: bool| {
        let member = Arc::new(endpoint("api.example", ""));
        let made = Case { service: Service { resolution, ..service() }, members: vec![member], ..case() };
        let made = if router { made.of_router() } else { made };
        (made.try_build().map(|b| (kind(&b.cluster), b.cluster.lb_policy())), made.facets().kind)
    };
    assert_eq!(of(Resolution::Dns, false), (Some((DiscoveryType::StrictDns, LbPolicy::LeastRequest)), false));
    assert_eq!(of(Resolution::DnsRoundRobin, false).0, Some((DiscoveryType::LogicalDns, LbPolicy::LeastRequest)));
    let original = (DiscoveryType::OriginalDst, LbPolicy::ClusterProvided);
    assert_eq!(of(Resolution::Passthrough, false), (Some(original), true));
    assert_eq!(of(Resolution::Passthrough, true).0, Some((DiscoveryType::Eds, LbPolicy::LeastRequest)));
    assert_eq!(of(Resolution::Alias, false).0, None);
    assert!(with_protocol(Protocol::Udp).try_build().is_none());
}

#[test]
fn dns_clusters_carry_their_members() {
    let mut made = case();
    made.service.resolution = Resolution::Dns;
    assert!(made.try_build().is_none(), "no members");
    made.members = ["a.example", "10.0.0.1"].map(|a| Arc::new(endpoint(a, ""))).into();
    made.client.families = IpFamilies::V6V4;
    let cluster = made.build();
    let hosts = &cluster.load_assignment.as_ref().expect("members").endpoints[0].lb_endpoints;
    assert_eq!((hosts.len(), cluster.dns_lookup_family().as_str_name()), (2, "ALL"));
    assert!(made.facets().families && cluster.typed_dns_resolver_config.is_some());
    assert_eq!(made.try_build().expect("a cluster").refs, Refs::default());
    made.service.resolution = Resolution::DnsRoundRobin;
    assert_eq!(made.build().load_assignment.expect("members").endpoints[0].lb_endpoints.len(), 1);
}

#[test]
fn passthrough_may_change_the_port() {
    let mut made = case();
    made.service.resolution = Resolution::Passthrough;
    assert_eq!(made.build().lb_config, None, "a headless Service");
    made.service.registry = Registry::ServiceEntry;
    let Some(LbConfig::OriginalDstLbConfig(config)) = made.build().lb_config else { panic!("no override") };
    assert_eq!(config.upstream_port_override.map(|p| p.value), Some(8080));
}

#[test]
fn protocols_decide_the_http_version() {
    let of = |made: Case| version(&made.build());
    assert_eq!(of(with_protocol(Protocol::Http)), "");
    for protocol in [Protocol::Http2, Protocol::Grpc, Protocol::GrpcWeb] {
        assert_eq!(of(with_protocol(protocol)), "h2");
    }
    assert_eq!(of(with_protocol(Protocol::Auto)), "client");
    assert_eq!(of(with_protocol(Protocol::Auto).of_router()), "");
    assert!(with_protocol(Protocol::Auto).facets().kind);
}

#[test]
fn http1_is_upgraded_by_rule_or_mesh() {
    let of = |protocol, h2_upgrade, mesh_upgrade| {
        let mut made = with_protocol(protocol);
        made.mesh.h2_upgrade = mesh_upgrade;
        made.policy.blocks.connection_pool = Some(Arc::new(ConnectionPool { h2_upgrade, ..ConnectionPool::default() }));
        version(&made.build())
    };
    assert_eq!(of(Protocol::Http, H2Upgrade::Upgrade, false), "h2");
    assert_eq!(of(Protocol::Http, H2Upgrade::Default, true), "h2");
    assert_eq!(of(Protocol::Http, H2Upgrade::DoNotUpgrade, true), "");
    assert_eq!(of(Protocol::Tcp, H2Upgrade::Default, true), "");
}

#[test]
fn the_connection_pool_is_honoured() {
    let second = Duration::from_secs;
    let pool = ConnectionPool {
        max_connections: 1,
        connect_timeout: Some(Duration::from_millis(1500)),
        keepalive: Some(TcpKeepalive { probes: Some(9), time: Some(second(7)), interval: None }),
        max_connection_duration: Some(second(60)),
        tcp_idle_timeout: Some(second(11)),
        max_pending_requests: 2,
        max_requests: 3,
        max_requests_per_connection: 4,
        max_retries: 5,
        max_concurrent_streams: 6,
        h2_upgrade: H2Upgrade::Upgrade,
        http2_keepalive: Some(Http2Keepalive { interval: Some(second(1)), timeout: Some(second(2)) }),
        ..ConnectionPool::default()
    };
    let mut made = with_pool(pool);
    made.mesh.tcp_keepalive = Some(TcpKeepalive { probes: Some(1), interval: Some(second(3)), time: None });
    let cluster = made.build();
    let breakers = &cluster.circuit_breakers.as_ref().expect("breakers").thresholds[0];
    let limits =
        [&breakers.max_connections, &breakers.max_pending_requests, &breakers.max_requests, &breakers.max_retries];
    assert_eq!(limits.map(|l| l.as_ref().map_or(0, |v| v.value)), [1, 2, 3, 5]);
    let timeout = cluster.connect_timeout.as_ref().expect("a timeout");
    assert_eq!((timeout.seconds, timeout.nanos), (1, 500_000_000));
    let keepalive =
        cluster.upstream_connection_options.as_ref().and_then(|o| o.tcp_keepalive.as_ref()).expect("keepalive");
    let parts = [&keepalive.keepalive_probes, &keepalive.keepalive_time, &keepalive.keepalive_interval];
    assert_eq!(parts.map(|p| p.as_ref().map(|v| v.value)), [Some(9), Some(7), Some(3)]);
    let text = format!("{:?}", http(&cluster).expect("HTTP options"));
    for part in [
        "max_requests_per_connection: Some(UInt32Value { value: 4 })",
        "max_concurrent_streams: Some(UInt32Value { value: 6 })",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let common = http(&cluster).and_then(|h| h.common_http_protocol_options).expect("common options");
    assert_eq!(common.idle_timeout.map(|t| t.seconds), Some(11));
    assert_eq!(common.max_connection_duration.map(|t| t.seconds), Some(60));
}

#[test]
fn options_without_a_version_are_http1_and_clients_may_decide() {
    let idle = ConnectionPool { http_idle_timeout: Some(Duration::ZERO), ..ConnectionPool::default() };
    assert_eq!(version(&with_pool(idle).build()), "h1");
    let client = ConnectionPool { use_client_protocol: true, ..ConnectionPool::default() };
    assert_eq!(version(&with_pool(client).build()), "client");
}

#[test]
fn retry_budgets_have_defaults() {
    let mut made = case();
    made.policy.retry_budget = Some(RetryBudget { percent: None, min_concurrency: Some(9), interval: None });
    let breakers = made.build().circuit_breakers.expect("breakers");
    let budget = breakers.thresholds[0].retry_budget.as_ref().expect("a budget");
    assert_eq!(budget.budget_percent.as_ref().map(|p| p.value), Some(20.0));
    assert_eq!(budget.min_retry_concurrency.as_ref().map(|c| c.value), Some(9));
}

#[test]
fn outlier_detection_enforces_what_is_said() {
    let mut made = case();
    let outlier = OutlierDetection {
        consecutive_5xx: Some(7),
        consecutive_gateway: Some(0),
        split_local_origin: true,
        consecutive_local_origin: Some(3),
        interval: Some(Duration::from_secs(1)),
        base_ejection_time: Some(Duration::from_secs(2)),
        max_ejection_percent: 100,
        min_health_percent: 40,
        http_error_codes: vec![429, 503],
    };
    made.policy.blocks.outlier_detection = Some(Arc::new(outlier));
    let cluster = made.build();
    let detection = cluster.outlier_detection.as_ref().expect("detection");
    let number = |v: &Option<envoy_types::pb::google::protobuf::UInt32Value>| v.as_ref().map(|v| v.value);
    assert_eq!(
        (number(&detection.consecutive_5xx), number(&detection.enforcing_consecutive_5xx)),
        (Some(7), Some(100))
    );
    assert_eq!(number(&detection.enforcing_consecutive_gateway_failure), Some(0));
    assert_eq!(number(&detection.enforcing_success_rate), Some(0));
    assert_eq!(number(&detection.enforcing_consecutive_local_origin_failure), Some(100));
    assert_eq!(number(&detection.max_ejection_percent), Some(100));
    let panic = cluster.common_lb_config.as_ref().and_then(|c| c.healthy_panic_threshold.as_ref());
    assert_eq!(panic.map(|p| p.value), Some(40.0));
    let matcher = format!("{:?}", http(&cluster).and_then(|h| h.outlier_detection));
    assert!(matcher.contains("429") && matcher.contains("OrMatch"), "{matcher}");
}

#[test]
fn algorithms_have_their_tables_and_warmups() {
    let hash = |ring| LbAlgorithm::ConsistentHash { key: Some(HashKey::SourceIp), ring };
    let warmup =
        Warmup { duration: Duration::from_secs(30), minimum_percent: Some(Decimal::from_f64(12.5)), aggression: None };
    let of = |algorithm, warmup| {
        let cluster = with_balancer(LoadBalancer { algorithm, warmup, ..LoadBalancer::default() }).build();
        (kind(&cluster), cluster.lb_policy(), format!("{:?}", cluster.lb_config))
    };
    assert_eq!(of(LbAlgorithm::Random, None).1, LbPolicy::Random);
    let (_, policy, config) = of(LbAlgorithm::RoundRobin, Some(warmup));
    assert_eq!(policy, LbPolicy::RoundRobin);
    assert!(config.contains("seconds: 30") && config.contains("12.5"), "{config}");
    assert!(of(LbAlgorithm::LeastRequest, Some(warmup)).2.contains("LeastRequestLbConfig"));
    let (_, policy, config) = of(hash(HashRing::Ring { minimum_size: 2048 }), None);
    assert!(policy == LbPolicy::RingHash && config.contains("2048"), "{config}");
    assert_eq!(of(hash(HashRing::Maglev { table_size: None }), None).1, LbPolicy::Maglev);
    let (discovery, policy, _) = of(LbAlgorithm::Passthrough, None);
    assert_eq!((discovery, policy), (DiscoveryType::OriginalDst, LbPolicy::ClusterProvided));
}

#[test]
fn localities_are_weighed_only_where_the_user_orders_them() {
    let of = |setting: LocalityLb| {
        let mut made = with_balancer(LoadBalancer { locality: Some(setting), ..LoadBalancer::default() });
        made.policy.blocks.outlier_detection = Some(Arc::default());
        made.build().common_lb_config.expect("common").locality_config_specifier.is_some()
    };
    assert!(!of(LocalityLb::default()));
    assert!(of(LocalityLb { failover: vec![("a".into(), "b".into())], ..LocalityLb::default() }));
    assert!(of(LocalityLb { failover_priority: vec!["zone".into()], ..LocalityLb::default() }));
}

#[test]
fn metadata_names_service_rule_and_subset() {
    let mut made = case();
    made.service.mesh_external = true;
    made.rule = Some(rule(None));
    let text = |made: &Case| format!("{:?}", made.build().metadata);
    let whole = text(&made);
    assert!(whole.contains("/apis/networking.istio.io/v1/namespaces/shop/destination-rule/web"), "{whole}");
    assert!(whole.contains("\"external\"") && !whole.contains("\"subset\""), "{whole}");
    made.subset = Some(Subset { name: "v1".into(), labels: Labels::new(), policy: None });
    let part = text(&made);
    assert!(part.contains("\"subset\"") && !part.contains("\"external\""), "{part}");
    assert_eq!(made.build().name, "outbound|80|v1|web.shop.svc.cluster.local");
}

fn rule(workload_selector: Option<Labels>) -> MergedRule {
    MergedRule {
        objects: vec![ObjectRef::new("DestinationRule", "shop", "web")],
        host: "web.shop.svc.cluster.local".into(),
        namespace: "shop".into(),
        policy: None,
        subsets: Vec::new(),
        visibility: Visibility::Public,
        workload_selector,
    }
}

#[test]
fn a_proxy_protocol_header_wraps_any_socket() {
    let mut made = case();
    made.policy.proxy_protocol = Some(ProxyProtocol::V2);
    let inner = |socket: Option<TransportSocket>| {
        let socket = socket.expect("a socket");
        assert_eq!(socket.name, "envoy.transport_sockets.upstream_proxy_protocol");
        let Some(envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType::TypedConfig(any)) =
            socket.config_type
        else {
            panic!("no configuration")
        };
        unpack::<ProxyProtocolUpstreamTransport>(&any).transport_socket.expect("an inner socket").name
    };
    let each = made.build().transport_socket_matches.into_iter().map(|m| inner(m.transport_socket));
    assert_eq!(each.collect::<Vec<_>>(), ["envoy.transport_sockets.tls", "envoy.transport_sockets.raw_buffer"]);
    made.policy.blocks.tls = Some(Arc::new(ClientTls { mode: ClientTlsMode::Simple, ..ClientTls::default() }));
    assert_eq!(inner(made.build().transport_socket), "envoy.transport_sockets.tls");
    made.policy.blocks.tls = None;
    made.mesh.auto_mtls = false;
    assert_eq!(inner(made.build().transport_socket), "envoy.transport_sockets.raw_buffer");
}

#[test]
fn builtin_clusters_take_the_mesh_defaults() {
    let pool = ConnectionPool { max_connections: 42, ..ConnectionPool::default() };
    let mesh = MeshConfig { default_connection_pool: Some(Arc::new(pool)), ..MeshConfig::default() };
    let through = passthrough(&mesh).cluster;
    assert_eq!((through.name.as_str(), kind(&through)), (PASSTHROUGH, DiscoveryType::OriginalDst));
    assert_eq!((version(&through), through.lb_policy()), ("client", LbPolicy::ClusterProvided));
    let limit = through.circuit_breakers.as_ref().and_then(|b| b.thresholds[0].max_connections.as_ref());
    assert_eq!(limit.map(|l| l.value), Some(42));
    assert_eq!(http(&through).and_then(|h| h.common_http_protocol_options?.idle_timeout).map(|t| t.seconds), Some(300));
    let hole = black_hole(&mesh).cluster;
    assert_eq!((hole.name.as_str(), kind(&hole)), (BLACK_HOLE, DiscoveryType::Static));
}
