use std::sync::Arc;

use envoy_types::pb::envoy::config::{
    core::v3::address::Address as Kind,
    endpoint::v3::{LbEndpoint, lb_endpoint::HostIdentifier},
};
use proptest::prelude::*;

use super::*;
use crate::{
    model::{
        Labels,
        destination_rule::{LoadBalancer, OutlierDetection},
        locality_lb::{Distribute, LocalityLb},
        service::{EndpointAddress, Health, TrafficDistribution},
        workload::{label, parse_locality},
    },
    translate::fixtures::{endpoint, labels, service},
};

mod join;

/// One test case: defaults, and what it changes.
struct Case {
    service: Service,
    policy: EffectivePolicy,
    subset: Option<Subset>,
    members: Vec<Arc<Endpoint>>,
    peers: NamespacePeers,
    client: ClientFacts,
}

fn case(members: Vec<Endpoint>) -> Case {
    Case {
        service: service(),
        policy: EffectivePolicy::default(),
        subset: None,
        members: members.into_iter().map(Arc::new).collect(),
        peers: NamespacePeers::default(),
        client: ClientFacts::default(),
    }
}

impl Case {
    fn assignment(&self) -> ClusterLoadAssignment {
        load_assignment(&EndpointInput {
            service: &self.service,
            port: &self.service.ports[0],
            subset: self.subset.as_ref(),
            policy: &self.policy,
            mesh: &MeshConfig::default(),
            members: &self.members,
            peers: &self.peers,
            client: &self.client,
        })
    }

    fn facets(&self) -> Facets {
        facets(&self.service, &self.policy, &MeshConfig::default())
    }

    fn with_locality(mut self, setting: LocalityLb, outlier: bool) -> Self {
        let balancer = LoadBalancer { locality: Some(setting), ..LoadBalancer::default() };
        self.policy.blocks.load_balancer = Some(Arc::new(balancer));
        if outlier {
            self.policy.blocks.outlier_detection = Some(Arc::default());
        }
        self
    }

    fn from(mut self, place: &str) -> Self {
        self.client.locality = parse_locality(place);
        self
    }

    /// Lines of `priority locality weight: addresses`.
    fn table(&self) -> Vec<String> {
        let line = |l: &LocalityLbEndpoints| {
            let place = l.locality.as_ref().expect("a locality");
            let all: Vec<String> = l.lb_endpoints.iter().map(address).collect();
            let weight = l.load_balancing_weight.as_ref().expect("a weight").value;
            format!("{} {}/{}/{} {weight}: {}", l.priority, place.region, place.zone, place.sub_zone, all.join(" "))
        };
        self.assignment().endpoints.iter().map(line).collect()
    }
}

fn address(lb: &LbEndpoint) -> String {
    let Some(HostIdentifier::Endpoint(e)) = &lb.host_identifier else { panic!("no endpoint") };
    match e.address.as_ref().and_then(|a| a.address.as_ref()) {
        Some(Kind::SocketAddress(socket)) => socket.address.clone(),
        Some(Kind::Pipe(pipe)) => pipe.path.clone(),
        other => panic!("{other:?}"),
    }
}

fn three_regions() -> Vec<Endpoint> {
    [
        ("10.0.0.1", "r1/z1/s1"),
        ("10.0.0.2", "r1/z1/s2"),
        ("10.0.0.3", "r1/z2/"),
        ("10.0.0.4", "r2/z1/"),
        ("10.0.0.5", "r3/z1/"),
    ]
    .map(|(ip, place)| endpoint(ip, place))
    .into()
}

#[test]
fn members_are_grouped_by_locality_in_order() {
    let mut heavy = endpoint("10.0.0.9", "b/z/");
    heavy.weight = 5;
    let made = case(vec![heavy, endpoint("10.0.0.2", "b/z/"), endpoint("10.0.0.1", "a/"), endpoint("10.0.0.3", "")]);
    assert_eq!(made.table(), ["0 // 1: 10.0.0.3", "0 a// 1: 10.0.0.1", "0 b/z/ 6: 10.0.0.2 10.0.0.9"]);
    assert_eq!(made.assignment().cluster_name, "outbound|80||web.shop.svc.cluster.local");
    assert_eq!(made.facets(), Facets::default());
}

#[test]
fn port_subset_and_node_select() {
    let other_port = Endpoint { port_name: "other".into(), ..endpoint("10.0.0.1", "") };
    let v1 = Endpoint { labels: Arc::new(labels(&[("version", "v1")])), ..endpoint("10.0.0.2", "") };
    let near = Endpoint { node: "n1".into(), ..v1.clone() };
    let named = endpoint("host.example", "");
    let mut made = case(vec![
        other_port,
        v1,
        named,
        endpoint("10.0.0.4", ""),
        Endpoint { address: EndpointAddress::Ip([10, 0, 0, 3].into()), ..near },
    ]);
    assert_eq!(made.table(), ["0 // 3: 10.0.0.2 10.0.0.3 10.0.0.4"]);
    made.subset = Some(Subset { name: "v1".into(), labels: labels(&[("version", "v1")]), policy: None });
    assert_eq!(made.table(), ["0 // 2: 10.0.0.2 10.0.0.3"]);
    assert_eq!(made.assignment().cluster_name, "outbound|80|v1|web.shop.svc.cluster.local");
    made.service.node_local = true;
    made.client.node = "n1".into();
    assert_eq!(made.table(), ["0 // 1: 10.0.0.3"]);
    assert!(made.facets().node);
}

#[test]
fn an_address_counts_once_and_the_healthiest_says_how() {
    let sick = Endpoint { health: Health::Unhealthy, ..endpoint("10.0.0.1", "") };
    let made = case(vec![sick, endpoint("10.0.0.1", ""), Endpoint { port: 9, ..endpoint("10.0.0.1", "") }]);
    let all = made.assignment();
    let health: Vec<i32> = all.endpoints[0].lb_endpoints.iter().map(|e| e.health_status).collect();
    assert_eq!(health, [1, 1]);
}

#[test]
fn health_decides_who_is_sent() {
    let all = [Health::Healthy, Health::Unhealthy, Health::Draining, Health::Terminating];
    let members = (1..).zip(all).map(|(i, health)| Endpoint { health, ..endpoint(&format!("10.0.0.{i}"), "") });
    let mut made = case(members.collect());
    assert_eq!(made.table(), ["0 // 2: 10.0.0.1 10.0.0.2"]);
    made.policy.blocks.outlier_detection =
        Some(Arc::new(OutlierDetection { min_health_percent: 10, ..OutlierDetection::default() }));
    assert_eq!(made.table(), ["0 // 1: 10.0.0.1"]);
    made.service.traffic_distribution = Some(TrafficDistribution::PreferSameZone);
    assert_eq!(made.table(), ["0 // 2: 10.0.0.1 10.0.0.2"]);
    made.service.labels = labels(&[(label::PERSISTENT_SESSION, "cookie")]).into();
    assert_eq!(made.table(), ["0 // 3: 10.0.0.1 10.0.0.2 10.0.0.3"]);
}

#[test]
fn failover_prefers_the_nearest() {
    let made = case(three_regions()).with_locality(LocalityLb::default(), true).from("r1/z1/s1");
    let nearest_first = [
        "0 r1/z1/s1 1: 10.0.0.1",
        "1 r1/z1/s2 1: 10.0.0.2",
        "2 r1/z2/ 1: 10.0.0.3",
        "3 r2/z1/ 1: 10.0.0.4",
        "3 r3/z1/ 1: 10.0.0.5",
    ];
    assert_eq!(made.table(), nearest_first);
    assert!(made.facets().locality && made.facets().labels.is_empty());
}

#[test]
fn failover_follows_regions_and_leaves_no_gaps() {
    let setting = LocalityLb { failover: vec![("r1".into(), "r3".into())], ..LocalityLb::default() };
    let made = case(three_regions().split_off(3)).with_locality(setting, true).from("r1/z1/s1");
    assert_eq!(made.table(), ["1 r2/z1/ 1: 10.0.0.4", "0 r3/z1/ 1: 10.0.0.5"]);
}

#[test]
fn failover_needs_outlier_detection() {
    let made = case(three_regions()).with_locality(LocalityLb::default(), false).from("r1/z1/s1");
    assert!(made.table().iter().all(|line| line.starts_with("0 ")));
    assert_eq!(made.facets(), Facets::default());
    let off = LocalityLb { enabled: false, ..LocalityLb::default() };
    assert_eq!(case(Vec::new()).with_locality(off, true).facets(), Facets::default());
    let mut mesh_default = case(three_regions()).from("r2/z1/");
    mesh_default.policy.blocks.outlier_detection = Some(Arc::default());
    assert_eq!(mesh_default.table()[3], "0 r2/z1/ 1: 10.0.0.4");
}

#[test]
fn labels_rank_members_and_split_localities() {
    let with = |ip, network: &str, version: &str| Endpoint {
        labels: Arc::new(labels(&[(label::NETWORK, network), ("version", version)])),
        ..endpoint(ip, "r1/z1/")
    };
    let members = vec![with("10.0.0.1", "n1", "v1"), with("10.0.0.2", "n1", "v2"), with("10.0.0.3", "n2", "v1")];
    let setting =
        LocalityLb { failover_priority: vec![label::NETWORK.into(), "version=v2".into()], ..LocalityLb::default() };
    let mut made = case(members).with_locality(setting, true);
    made.client.labels = labels(&[(label::NETWORK, "n1")]);
    let ranked = ["0 r1/z1/ 1: 10.0.0.2", "1 r1/z1/ 1: 10.0.0.1", "2 r1/z1/ 1: 10.0.0.3"];
    assert_eq!(made.table(), ranked);
    assert_eq!(made.facets().labels, [Arc::from(label::NETWORK)]);
    assert!(!made.facets().locality);
}

#[test]
fn traffic_distribution_prefers_the_zone_without_outlier_detection() {
    let zone = |ip, zone: &str| Endpoint {
        labels: Arc::new(labels(&[(label::REGION, "r"), (label::ZONE, zone)])),
        ..endpoint(ip, &format!("r/{zone}/"))
    };
    let mut made = case(vec![zone("10.0.0.1", "z1"), zone("10.0.0.2", "z2")]);
    made.service.traffic_distribution = Some(TrafficDistribution::PreferSameZone);
    made.client.labels = labels(&[(label::REGION, "r"), (label::ZONE, "z2")]);
    assert_eq!(made.table(), ["1 r/z1/ 1: 10.0.0.1", "0 r/z2/ 1: 10.0.0.2"]);
    assert_eq!(made.facets().labels.len(), 3);
}

fn distribute(from: &str, to: &[(&str, u32)]) -> LocalityLb {
    let to = to.iter().map(|(pattern, share)| (Arc::from(*pattern), *share)).collect();
    LocalityLb { distribute: vec![Distribute { from: from.into(), to }], ..LocalityLb::default() }
}

#[test]
fn distribution_gives_shares_and_drops_the_rest() {
    let setting = distribute("r1/*", &[("r1/z1/*", 70), ("r2/*", 30)]);
    let made = case(three_regions()).with_locality(setting, false).from("r1/z9/");
    assert_eq!(made.table(), ["0 r1/z1/s1 35: 10.0.0.1", "0 r1/z1/s2 35: 10.0.0.2", "0 r2/z1/ 30: 10.0.0.4"]);
    assert!(made.facets().locality);
    let elsewhere = case(three_regions()).with_locality(distribute("r9", &[("r1", 100)]), false).from("r1/z1/");
    assert_eq!(elsewhere.table().len(), 5);
}

#[test]
fn weights_never_exceed_what_envoy_adds_up() {
    let heavy = |i| Endpoint { weight: u32::MAX, ..endpoint(&format!("10.0.0.{i}"), "r/z/") };
    let made = case((1..5).map(heavy).collect()).assignment();
    let total: u64 = made.endpoints[0]
        .lb_endpoints
        .iter()
        .map(|e| u64::from(e.load_balancing_weight.as_ref().expect("a weight").value))
        .sum();
    assert!(total > 0 && total <= u64::from(u32::MAX));
}

#[test]
fn metadata_tells_workload_and_tls_mode() {
    let workload = "web;shop;web;v1;Kubernetes";
    let made = case(vec![Endpoint { tls_istio: true, workload: workload.into(), ..endpoint("10.0.0.1", "") }]);
    let json = format!("{:?}", made.assignment().endpoints[0].lb_endpoints[0].metadata);
    assert!(json.contains(workload) && json.contains("tlsMode"), "{json}");
    let bare = case(vec![endpoint("10.0.0.1", "")]);
    assert_eq!(bare.assignment().endpoints[0].lb_endpoints[0].metadata, None);
}

fn any_setting() -> impl Strategy<Value = LocalityLb> {
    let place = prop::sample::select(vec!["*", "r1/*", "r1/z1/*", "r2", "", "a/b/c/d"]);
    let shares = prop::collection::vec((place.clone(), any::<u32>()), 0..3);
    let key = prop::sample::select(vec![label::NETWORK, label::ZONE, "version", "version=v1", "=", ""]);
    let failover = prop::collection::vec((place.clone(), place.clone()), 0..3);
    (prop::collection::vec((place, shares), 0..3), failover, prop::collection::vec(key, 0..4)).prop_map(
        |(distribute, failover, keys)| LocalityLb {
            enabled: true,
            distribute: distribute
                .into_iter()
                .map(|(from, to)| Distribute {
                    from: from.into(),
                    to: to.into_iter().map(|(p, w)| (p.into(), w)).collect(),
                })
                .collect(),
            failover: failover.into_iter().map(|(a, b)| (a.into(), b.into())).collect(),
            failover_priority: keys.into_iter().map(Arc::from).collect(),
        },
    )
}

fn any_member() -> impl Strategy<Value = Endpoint> {
    let place = prop::sample::select(vec!["", "r1/z1/s1", "r1/z2/", "r2"]);
    let version = prop::option::of(prop::sample::select(vec!["v1", "v2"]));
    (
        0..6_u8,
        place,
        any::<u32>(),
        version,
        prop::sample::select(vec![Health::Healthy, Health::Unhealthy, Health::Draining, Health::Terminating]),
    )
        .prop_map(|(ip, place, weight, version, health)| Endpoint {
            weight,
            health,
            labels: Arc::new(version.map_or_else(Labels::new, |v| labels(&[("version", v)]))),
            ..endpoint(&format!("10.0.0.{ip}"), place)
        })
}

proptest! {
    #[test]
    fn any_assignment_is_one_that_envoy_takes(
        setting in any_setting(),
        outlier in any::<bool>(),
        members in prop::collection::vec(any_member(), 0..12),
    ) {
        let mut reversed = members.clone();
        reversed.reverse();
        let one = case(members).with_locality(setting.clone(), outlier).from("r1/z1/s1");
        let other = case(reversed).with_locality(setting, outlier).from("r1/z1/s1");
        let made = one.assignment();
        let priorities: std::collections::BTreeSet<u32> = made.endpoints.iter().map(|l| l.priority).collect();
        prop_assert_eq!(priorities.len(), priorities.last().map_or(0, |p| *p as usize + 1));
        for locality in &made.endpoints {
            prop_assert!(!locality.lb_endpoints.is_empty());
            prop_assert!(locality.load_balancing_weight.as_ref().is_some_and(|w| w.value > 0));
        }
        for member in made.endpoints.iter().flat_map(|l| &l.lb_endpoints) {
            prop_assert!(member.load_balancing_weight.as_ref().is_some_and(|w| w.value > 0));
        }
        prop_assert_eq!(made, other.assignment());
    }
}
