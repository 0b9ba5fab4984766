//! Clusters whose members Envoy resolves (translation §4.1).

use std::time::Duration;

use envoy_types::pb::envoy::{
    config::{
        cluster::v3::{Cluster, cluster::DnsLookupFamily},
        core::v3::TypedExtensionConfig,
        endpoint::v3::ClusterLoadAssignment,
    },
    extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig,
};

use super::{
    ClusterInput,
    convert::{duration, uint32},
    discovery::Kind,
};
use crate::model::IpFamilies;
use crate::{
    snapshot::pack_any,
    translate::endpoints::{EndpointInput, resolved_endpoints},
};

/// Spreads the lookups of many proxies.
const JITTER: Duration = Duration::from_millis(100);
/// Queries per UDP socket: a fresh port now and then, for resolvers that balance by it.
const UDP_MAX_QUERIES: u32 = 100;

/// Sets the members and how they are looked up; `None` when there are none.
pub(super) fn apply(cluster: &mut Cluster, kind: Kind, input: &ClusterInput<'_>) -> Option<()> {
    let mut endpoints = resolved_endpoints(&EndpointInput {
        service: input.service,
        port: input.port,
        subset: input.subset,
        policy: input.policy,
        mesh: input.mesh,
        members: input.members,
        peers: input.peers,
        client: input.client,
    });
    if kind == Kind::LogicalDns {
        // Envoy takes exactly one name.
        endpoints.truncate(1);
        endpoints.iter_mut().for_each(|locality| locality.lb_endpoints.truncate(1));
    }
    if endpoints.is_empty() {
        return None;
    }
    cluster.load_assignment = Some(ClusterLoadAssignment {
        cluster_name: cluster.name.clone(),
        endpoints,
        ..ClusterLoadAssignment::default()
    });
    lookups(cluster, input);
    Some(())
}

#[expect(deprecated, reason = "the successor is an extension cluster, which tools that read `type` do not know")]
fn lookups(cluster: &mut Cluster, input: &ClusterInput<'_>) {
    cluster.dns_refresh_rate = Some(duration(input.mesh.dns_refresh_rate));
    cluster.dns_jitter = Some(duration(JITTER));
    cluster.respect_dns_ttl = true;
    let family = match input.client.families {
        IpFamilies::V4 => DnsLookupFamily::V4Only,
        IpFamilies::V6 => DnsLookupFamily::V6Only,
        IpFamilies::V4V6 | IpFamilies::V6V4 => DnsLookupFamily::All,
    };
    cluster.dns_lookup_family = family.into();
    let resolver =
        CaresDnsResolverConfig { udp_max_queries: Some(uint32(UDP_MAX_QUERIES)), ..CaresDnsResolverConfig::default() };
    cluster.typed_dns_resolver_config = Some(TypedExtensionConfig {
        name: "envoy.network.dns_resolver.cares".to_owned(),
        typed_config: Some(pack_any(&resolver)),
    });
}
