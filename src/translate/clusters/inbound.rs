//! Clusters of a sidecar's own workload (translation §3.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use envoy_types::pb::envoy::config::{
    cluster::v3::{
        Cluster,
        cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy},
    },
    core::v3::{
        Address, BindConfig, ExtraSourceAddress, Metadata, SocketAddress, address, socket_address::PortSpecifier,
    },
    endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
};

use super::{BuiltCluster, connection_pool, http_protocol::HttpProtocol, metadata, naming};
use crate::{
    model::{EffectivePolicy, IpFamilies, MeshConfig, Protocol, destination_rule::PolicyBlocks, service::InboundPort},
    snapshot::Refs,
};

/// From where a sidecar connects to its workload: the redirection lets connections from here through.
const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6));

/// `inbound|<port>||`: the port is the workload's.
#[must_use]
pub fn inbound_cluster_name(target: u16) -> String {
    format!("inbound|{target}||")
}

/// The cluster of a port of the workload: to the address that the client meant, or to its loopback address when the
/// mesh says so.
#[must_use]
pub fn inbound_cluster(port: &InboundPort, mesh: &MeshConfig, families: IpFamilies) -> BuiltCluster {
    let name = inbound_cluster_name(port.target);
    let mut cluster = Cluster {
        alt_stat_name: naming::stat_name(&name),
        metadata: Some(of_service(port)),
        name,
        ..Cluster::default()
    };
    if mesh.inbound_localhost {
        cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into()));
        cluster.load_assignment = Some(loopback(&cluster.name, port.target, families));
    } else {
        cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into()));
        cluster.lb_policy = LbPolicy::ClusterProvided.into();
        cluster.upstream_bind_config = Some(source(families));
    }
    let mut http = HttpProtocol::default();
    if port.protocol.is_http2() {
        http.use_http2();
    } else if port.protocol == Protocol::Auto {
        http.use_downstream();
    }
    let blocks = PolicyBlocks { connection_pool: mesh.default_connection_pool.clone(), ..PolicyBlocks::default() };
    connection_pool::apply(&mut cluster, &mut http, &EffectivePolicy { blocks, ..EffectivePolicy::default() }, mesh);
    http.apply(&mut cluster);
    BuiltCluster { cluster, refs: Refs::default() }
}

/// Connections that are not redirected again.
pub(super) fn source(families: IpFamilies) -> BindConfig {
    let sources = families.wildcards().iter().map(|ip| if ip.is_ipv4() { SOURCE_V4 } else { SOURCE_V6 });
    let mut sources = sources.map(|ip| socket_address(ip, 0));
    let extra = |address| ExtraSourceAddress { address: Some(address), ..ExtraSourceAddress::default() };
    BindConfig {
        source_address: sources.next(),
        extra_source_addresses: sources.map(extra).collect(),
        ..BindConfig::default()
    }
}

fn socket_address(ip: IpAddr, port: u16) -> SocketAddress {
    SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    }
}

fn loopback(name: &str, port: u16, families: IpFamilies) -> ClusterLoadAssignment {
    let ip = if families.wildcard().is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let address = Address { address: Some(address::Address::SocketAddress(socket_address(ip, port))) };
    let endpoint = Endpoint { address: Some(address), ..Endpoint::default() };
    let member = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints: vec![member], ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
}

fn of_service(port: &InboundPort) -> Metadata {
    metadata::of_services(&port.host, &port.service, &port.namespace)
}
