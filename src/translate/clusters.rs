//! Upstream clusters of services, and the built-in ones (translation §4).
//!
//! ```text
//!  Service, port, subset ─┐
//!  EffectivePolicy ───────┼─► discovery ─► connection pool ─► outlier detection ─► load balancing ─► TLS
//!  MeshConfig, facets ────┘   (type, DNS)   (breakers, HTTP)                                        ─► PROXY protocol
//! ```

mod builtin;
mod circuit_breakers;
mod connection_pool;
mod convert;
mod discovery;
mod dns;
mod http_protocol;
mod inbound;
mod keepalive;
mod load_balancing;
mod metadata;
mod naming;
mod outlier_detection;
mod proxy_protocol;
#[cfg(test)]
mod tests;
mod tls;

use std::{collections::BTreeSet, sync::Arc};

use envoy_types::pb::envoy::config::cluster::v3::{
    Cluster,
    cluster::{ClusterDiscoveryType, CommonLbConfig, DiscoveryType},
};

pub use self::{
    builtin::{BLACK_HOLE, INBOUND_PASSTHROUGH, PASSTHROUGH, black_hole, inbound_passthrough, passthrough},
    inbound::{inbound_cluster, inbound_cluster_name},
    naming::{cluster_name, sni_name},
    tls::secrets,
};
use self::{discovery::Kind, http_protocol::HttpProtocol};
use super::client::{ClientFacts, Facets};
use crate::{
    model::{
        EffectivePolicy, Endpoint, MergedRule, MeshConfig, Protocol, Service, ServicePort,
        destination_rule::{ClientTlsMode, Subset},
        peer_authentication::{MtlsMode, NamespacePeers},
        service::Resolution,
    },
    snapshot::{Encoder, Name, Refs, Resource, ResourceType},
    translate::endpoints::locality::LocalityPlan,
};

/// Everything that decides an outbound cluster.
#[derive(Clone, Copy, Debug)]
pub struct ClusterInput<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its port.
    pub port: &'a ServicePort,
    /// The subset; `None` is the whole service.
    pub subset: Option<&'a Subset>,
    /// The rule that the client follows; named in metadata.
    pub rule: Option<&'a MergedRule>,
    /// The policy of the port and subset.
    pub policy: &'a EffectivePolicy,
    /// The mesh.
    pub mesh: &'a MeshConfig,
    /// Members, looked at when [`needs_members`] says so; any port, any order.
    pub members: &'a [Arc<Endpoint>],
    /// Identities of the members, looked at when [`needs_identities`] says so.
    pub identities: &'a BTreeSet<Arc<str>>,
    /// What the members accept.
    pub peers: &'a NamespacePeers,
    /// What matters of the proxy: see [`facets`].
    pub client: &'a ClientFacts,
}

/// A cluster and what it makes Envoy ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltCluster {
    /// The message.
    pub cluster: Cluster,
    /// Its assignment and secrets over ADS.
    pub refs: Refs,
}

impl BuiltCluster {
    /// The cluster, encoded.
    #[must_use]
    pub fn resource(&self) -> Resource {
        let name = Name::from(self.cluster.name.as_str());
        Encoder::message(ResourceType::Cluster, name, &self.cluster, self.refs.clone())
    }

    /// What it is while one of its secrets is not there, or not for the proxy: without members, so that requests are answered with 503.
    /// With the secret's name it would warm, and hold up what is acknowledged or started with it.
    #[must_use]
    pub fn without_members(self) -> Self {
        let Cluster { name, alt_stat_name, connect_timeout, metadata, .. } = self.cluster;
        let cluster = Cluster {
            name,
            alt_stat_name,
            connect_timeout,
            metadata,
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
            ..Cluster::default()
        };
        Self { cluster, refs: Refs::default() }
    }
}

/// Whether the cluster carries its members itself: Envoy resolves them.
#[must_use]
pub fn needs_members(service: &Service) -> bool {
    matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
}

/// Whether the cluster verifies the identities of the members.
#[must_use]
pub fn needs_identities(
    service: &Service,
    policy: &EffectivePolicy,
    mesh: &MeshConfig,
    peers: &NamespacePeers,
) -> bool {
    match policy.blocks.tls.as_ref() {
        Some(tls) => tls.mode == ClientTlsMode::IstioMutual && tls.subject_alt_names.is_empty(),
        None => is_auto_mtls(service, policy, mesh, peers),
    }
}

/// Whether the cluster needs its members because Envoy chooses neither by itself: there is one way to connect to where
/// clients meant, for all members.
#[must_use]
pub fn needs_all_members(service: &Service) -> bool {
    needs_members(service) || service.resolution == Resolution::Passthrough
}

/// Whether requests for a port must tell that they are HTTP when they go over mutual TLS of the mesh: its protocol is
/// sniffed, so that its cluster does not (translation §10).
#[must_use]
pub fn offers_http(service: &Service, port: &ServicePort, policy: &EffectivePolicy) -> bool {
    let mode = policy.blocks.tls.as_ref().map(|tls| tls.mode);
    port.protocol == Protocol::Auto && !service.mesh_external && matches!(mode, None | Some(ClientTlsMode::IstioMutual))
}

/// Whether connections are mutual TLS where members take it, though no rule says so (translation §4.5).
fn is_auto_mtls(service: &Service, policy: &EffectivePolicy, mesh: &MeshConfig, peers: &NamespacePeers) -> bool {
    mesh.auto_mtls && policy.blocks.tls.is_none() && !service.mesh_external && peers.default_mode() != MtlsMode::Disable
}

/// Which facts of a proxy the cluster depends on.
#[must_use]
pub fn facets(service: &Service, port: &ServicePort, policy: &EffectivePolicy, mesh: &MeshConfig) -> Facets {
    let dns = needs_members(service);
    let credential = policy.blocks.tls.as_deref().is_some_and(|t| !secrets(t).is_empty());
    let inline = if dns { super::endpoints::facets(service, policy, mesh) } else { Facets::default() };
    Facets {
        kind: service.resolution == Resolution::Passthrough || port.protocol == Protocol::Auto || credential,
        families: dns,
        gateway_namespace: credential,
        ..inline
    }
}

/// The cluster of a service port and subset; `None` when there is none: UDP, an alias, DNS without members, or a
/// subset of a service whose names are resolved per request.
#[must_use]
pub fn outbound_cluster(input: &ClusterInput<'_>) -> Option<BuiltCluster> {
    if input.port.protocol == Protocol::Udp {
        return None;
    }
    let kind = Kind::of(input)?;
    let subset = input.subset.map_or("", |s| &s.name);
    let name = cluster_name(input.port.number, subset, &input.service.host);
    let mut cluster = Cluster {
        alt_stat_name: naming::stat_name(&name),
        name,
        common_lb_config: Some(CommonLbConfig::default()),
        metadata: Some(metadata::of(input)),
        ..Cluster::default()
    };
    discovery::apply(&mut cluster, kind, input)?;
    let mut http = HttpProtocol::of(input);
    connection_pool::apply(&mut cluster, &mut http, input.policy, input.mesh);
    outlier_detection::apply(&mut cluster, &mut http, input);
    load_balancing::apply(&mut cluster, kind, input);
    let secrets = tls::apply(&mut cluster, &mut http, kind, input);
    proxy_protocol::apply(&mut cluster, input.policy);
    http.apply(&mut cluster);
    let endpoints = is_eds(&cluster).then(|| Name::from(cluster.name.as_str()));
    let built = BuiltCluster { cluster, refs: Refs { endpoints, secrets: secrets.into(), ..Refs::default() } };
    Some(if tls::may_read_credential(input) { built } else { built.without_members() })
}

fn is_eds(cluster: &Cluster) -> bool {
    cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()))
}

/// Whether the localities of a cluster are weighed.
fn weighs_localities(input: &ClusterInput<'_>) -> bool {
    LocalityPlan::of(input.service, input.policy, input.mesh).weighs_localities()
}
