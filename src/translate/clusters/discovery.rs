//! How Envoy finds the members of a cluster (translation §4.1).

use std::time::Duration;

use envoy_types::pb::{
    envoy::config::{
        cluster::v3::{
            Cluster,
            cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbConfig, OriginalDstLbConfig},
        },
        core::v3::{AggregatedConfigSource, ApiVersion, ConfigSource, config_source::ConfigSourceSpecifier},
    },
    google::protobuf::UInt32Value,
};

use super::{ClusterInput, convert::duration, dns};
use crate::model::{
    ProxyKind,
    destination_rule::LbAlgorithm,
    service::{Registry, Resolution},
};

/// The kind of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The control plane sends the members.
    Eds,
    /// Envoy resolves the names of all members.
    StrictDns,
    /// Envoy resolves one name and uses one answer at a time.
    LogicalDns,
    /// The address that the client meant.
    OriginalDst,
}

impl Kind {
    /// The kind of a service's cluster; `None` when it has none.
    pub(super) fn of(input: &ClusterInput<'_>) -> Option<Self> {
        let own = match input.service.resolution {
            Resolution::ClientSideLb => Self::Eds,
            Resolution::Dns => Self::StrictDns,
            Resolution::DnsRoundRobin => Self::LogicalDns,
            // A gateway has no original destination in the mesh: it sends to the members.
            Resolution::Passthrough if input.client.kind == ProxyKind::Router => Self::Eds,
            Resolution::Passthrough => Self::OriginalDst,
            Resolution::DynamicDns | Resolution::Alias => return None,
        };
        let algorithm = input.policy.blocks.load_balancer.as_ref().map(|lb| &lb.algorithm);
        Some(if algorithm == Some(&LbAlgorithm::Passthrough) { Self::OriginalDst } else { own })
    }
}

/// Sets type and source of the members; `None` when a cluster without members is left out.
pub(super) fn apply(cluster: &mut Cluster, kind: Kind, input: &ClusterInput<'_>) -> Option<()> {
    let discovery = match kind {
        Kind::Eds => {
            cluster.eds_cluster_config = Some(eds(&cluster.name));
            DiscoveryType::Eds
        }
        Kind::StrictDns | Kind::LogicalDns => {
            dns::apply(cluster, kind, input)?;
            if kind == Kind::StrictDns { DiscoveryType::StrictDns } else { DiscoveryType::LogicalDns }
        }
        Kind::OriginalDst => {
            cluster.lb_config = port_override(input);
            DiscoveryType::OriginalDst
        }
    };
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(discovery.into()));
    Some(())
}

/// Endpoints follow their cluster at once. Should the stream end in between, both sides believe after the reconnect
/// that nothing is missing: then Envoy takes the endpoints it knows after this time (envoy-increments §4), while
/// Istio's 0 would let the cluster warm for ever.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

fn eds(name: &str) -> EdsClusterConfig {
    EdsClusterConfig { eds_config: Some(ads(FETCH_TIMEOUT)), service_name: name.to_owned() }
}

/// ADS as a source; a zero timeout waits for ever.
pub(super) fn ads(initial_fetch_timeout: Duration) -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        initial_fetch_timeout: Some(duration(initial_fetch_timeout)),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    }
}

/// The `targetPort` of a ServiceEntry without members of its own.
fn port_override(input: &ClusterInput<'_>) -> Option<LbConfig> {
    let passes =
        input.service.registry == Registry::ServiceEntry && input.service.resolution == Resolution::Passthrough;
    let target = input.port.target.filter(|target| passes && *target != input.port.number)?;
    Some(LbConfig::OriginalDstLbConfig(OriginalDstLbConfig {
        upstream_port_override: Some(UInt32Value { value: target.into() }),
        ..OriginalDstLbConfig::default()
    }))
}
