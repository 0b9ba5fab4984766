//! Clusters that every proxy has: where unknown traffic goes (translation §0).

use std::time::Duration;

use envoy_types::pb::envoy::config::{
    cluster::v3::{
        Cluster,
        cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy},
    },
    core::v3::HttpProtocolOptions as CommonOptions,
};

use super::{BuiltCluster, connection_pool, convert::duration, http_protocol::HttpProtocol, inbound, naming};
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
    original_destination(PASSTHROUGH, mesh)
}

/// The same for traffic to the workload: it comes from an address that is not redirected again.
#[must_use]
pub fn inbound_passthrough(mesh: &MeshConfig, families: IpFamilies) -> BuiltCluster {
    let mut built = original_destination(INBOUND_PASSTHROUGH, mesh);
    built.cluster.upstream_bind_config = Some(inbound::source(families));
    built
}

fn original_destination(name: &str, mesh: &MeshConfig) -> BuiltCluster {
    let mut cluster = named(name, DiscoveryType::OriginalDst, LbPolicy::ClusterProvided);
    let blocks = PolicyBlocks { connection_pool: mesh.default_connection_pool.clone(), ..PolicyBlocks::default() };
    let mut http = HttpProtocol::default();
    http.use_downstream();
    *http.common() = CommonOptions { idle_timeout: Some(duration(PASSTHROUGH_IDLE)), ..CommonOptions::default() };
    connection_pool::apply(&mut cluster, &mut http, &EffectivePolicy { blocks, ..EffectivePolicy::default() }, mesh);
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
