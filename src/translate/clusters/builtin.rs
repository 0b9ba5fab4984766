//! Clusters that every proxy has: where unknown traffic goes (translation §0).

use std::time::Duration;

use envoy_types::pb::envoy::config::{
    cluster::v3::{
        Cluster,
        cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy},
    },
    core::v3::{BindConfig, HttpProtocolOptions as CommonOptions, SocketAddress},
};

use super::{BuiltCluster, connection_pool, convert::duration, http_protocol::HttpProtocol, naming};
use crate::{
    model::{EffectivePolicy, IpFamilies, MeshConfig, destination_rule::PolicyBlocks},
    snapshot::Refs,
};

/// Traffic that is refused.
pub const BLACK_HOLE: &str = "BlackHoleCluster";
/// Traffic to the address that the client meant; sidecars only.
pub const PASSTHROUGH: &str = "PassthroughCluster";

/// Traffic to the workload itself, whatever the port; sidecars only.
pub const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// Where connections to the workload come from: redirection does not catch these (contract §6.5).
const INBOUND_SOURCE_V4: &str = "127.0.0.6";
const INBOUND_SOURCE_V6: &str = "::6";

/// Connections to unknown servers are not kept longer.
const PASSTHROUGH_IDLE: Duration = Duration::from_secs(300);

/// The cluster without members.
#[must_use]
pub fn black_hole(mesh: &MeshConfig) -> BuiltCluster {
    let mut cluster = named(BLACK_HOLE, DiscoveryType::Static, LbPolicy::RoundRobin);
    cluster.connect_timeout = Some(duration(mesh.connect_timeout));
    BuiltCluster { cluster, refs: Refs::default() }
}

/// The cluster of original destinations, with the mesh's default connection pool.
#[must_use]
pub fn passthrough(mesh: &MeshConfig) -> BuiltCluster {
    let mut cluster = named(PASSTHROUGH, DiscoveryType::OriginalDst, LbPolicy::ClusterProvided);
    let blocks = PolicyBlocks { connection_pool: mesh.default_connection_pool.clone(), ..PolicyBlocks::default() };
    let mut http = HttpProtocol::default();
    http.use_downstream();
    *http.common() = CommonOptions { idle_timeout: Some(duration(PASSTHROUGH_IDLE)), ..CommonOptions::default() };
    connection_pool::apply(&mut cluster, &mut http, &EffectivePolicy { blocks, ..EffectivePolicy::default() }, mesh);
    http.apply(&mut cluster);
    BuiltCluster { cluster, refs: Refs::default() }
}

/// The cluster of the workload itself: connections go on to the address that they came to, from an address that
/// traffic redirection leaves alone (translation §3.3).
#[must_use]
pub fn inbound_passthrough(mesh: &MeshConfig, families: IpFamilies) -> BuiltCluster {
    let mut cluster = named(INBOUND_PASSTHROUGH, DiscoveryType::OriginalDst, LbPolicy::ClusterProvided);
    cluster.connect_timeout = Some(duration(mesh.connect_timeout));
    let source = if families.wildcard().is_ipv6() { INBOUND_SOURCE_V6 } else { INBOUND_SOURCE_V4 };
    cluster.upstream_bind_config = Some(BindConfig {
        source_address: Some(SocketAddress { address: source.to_owned(), ..SocketAddress::default() }),
        ..BindConfig::default()
    });
    let mut http = HttpProtocol::default();
    http.use_downstream();
    http.apply(&mut cluster);
    BuiltCluster { cluster, refs: Refs::default() }
}

fn named(name: &str, discovery: DiscoveryType, lb_policy: LbPolicy) -> Cluster {
    Cluster {
        name: name.to_owned(),
        alt_stat_name: naming::stat_name(name),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        lb_policy: lb_policy.into(),
        ..Cluster::default()
    }
}
