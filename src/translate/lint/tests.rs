use std::sync::Arc;

use envoy_types::pb::{
    envoy::config::route::v3::{Route, weighted_cluster::ClusterWeight},
    google::protobuf::UInt32Value,
};

use super::*;
use crate::snapshot::{Encoder, PartState, Refs, Resource};

fn snapshot(resources: &[(ResourceType, Resource)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for t in ResourceType::ALL {
        let own = resources.iter().filter(|(of, _)| *of == t);
        let map = own.map(|(_, r)| (r.name.clone(), Some(Arc::new(r.clone())))).collect();
        snapshot.views[t] = View::new(vec![PartState { id: 1, map }]);
    }
    snapshot
}

fn cluster(name: &str) -> (ResourceType, Resource) {
    let message = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        ..Cluster::default()
    };
    (ResourceType::Cluster, Encoder::message(ResourceType::Cluster, name.into(), &message, Refs::default()))
}

fn routes(hosts: Vec<VirtualHost>) -> (ResourceType, Resource) {
    let message = RouteConfiguration { name: "r".to_owned(), virtual_hosts: hosts, ..RouteConfiguration::default() };
    (ResourceType::Route, Encoder::message(ResourceType::Route, "r".into(), &message, Refs::default()))
}

fn host(name: &str, domains: &[&str], clusters: &[(&str, u32)]) -> VirtualHost {
    let weight = |&(name, weight): &(&str, u32)| ClusterWeight {
        name: name.to_owned(),
        weight: Some(UInt32Value { value: weight }),
        ..ClusterWeight::default()
    };
    let weighted = WeightedCluster { clusters: clusters.iter().map(weight).collect(), ..WeightedCluster::default() };
    let specifier = Some(ClusterSpecifier::WeightedClusters(weighted));
    let action = RouteAction { cluster_specifier: specifier, ..RouteAction::default() };
    VirtualHost {
        name: name.to_owned(),
        domains: domains.iter().map(|d| (*d).to_owned()).collect(),
        routes: vec![Route { action: Some(Action::Route(action)), ..Route::default() }],
        ..VirtualHost::default()
    }
}

fn found(resources: &[(ResourceType, Resource)]) -> Vec<String> {
    lint(&snapshot(resources)).iter().map(ToString::to_string).collect()
}

#[test]
fn route_configurations() {
    let hosts =
        vec![host("a", &["x.test", ""], &[("gone", 1)]), host("a", &["X.test"], &[("gone", 0)]), host("b", &[], &[])];
    assert_eq!(
        found(&[routes(hosts)]),
        [
            "rds r: DuplicateName: a",
            "rds r: DuplicateDomain: x.test of a",
            "rds r: EmptyDomain: a",
            "rds r: EmptyDomain: b",
            "rds r: MissingCluster: gone",
            "rds r: ZeroWeights: a",
            "rds r: ZeroWeights: b",
        ]
    );
}

#[test]
fn clusters_have_their_assignments_and_names() {
    assert_eq!(found(&[cluster("c")]), ["cds c: MissingEndpoints: c"]);
    let (t, mut renamed) = cluster("c");
    renamed.name = "d".into();
    assert_eq!(found(&[(t, renamed)]), ["cds d: Misnamed: c", "cds c: MissingEndpoints: c"]);
}

#[test]
fn listeners() {
    let chain = |name: &str, port: u32| FilterChain {
        name: name.to_owned(),
        filter_chain_match: Some(envoy_types::pb::envoy::config::listener::v3::FilterChainMatch {
            destination_port: Some(UInt32Value { value: port }),
            ..Default::default()
        }),
        ..FilterChain::default()
    };
    let listener = Listener {
        name: "l".to_owned(),
        filter_chains: vec![chain("one", 1), chain("two", 1), chain("one", 2)],
        ..Listener::default()
    };
    let refs = Refs { secrets: [Name::from("kubernetes://s")].into(), ..Refs::default() };
    let resource = Encoder::message(ResourceType::Listener, "l".into(), &listener, refs);
    assert_eq!(
        found(&[(ResourceType::Listener, resource)]),
        ["lds l: DuplicateName: one", "lds l: DuplicateMatch: two", "lds l: MissingSecret: kubernetes://s",]
    );
}
