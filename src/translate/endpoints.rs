//! Endpoints: the members of a service port, or of a subset of it, as a `ClusterLoadAssignment`
//! (translation §4.4, §5).
//!
//! ```text
//!  SliceEndpoints + PodFacts + NodeFacts ─ members ─┐
//!  WorkloadFacts ────────────────────────── members ─┴─► Endpoint ─ select ─► Group per locality
//!                                                                    ─ locality ─► priorities, weights ─► encode
//! ```

mod distribute;
mod encode;
mod failover;
mod group;
mod health;
pub mod locality;
pub mod members;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};

pub(super) use self::health::sends_unhealthy;
use self::locality::LocalityPlan;
use super::client::{ClientFacts, Facets};
use crate::{
    model::{
        EffectivePolicy, Endpoint, MeshConfig, Service, ServicePort,
        destination_rule::{ClientTlsMode, Subset},
        peer_authentication::{MtlsMode, NamespacePeers},
    },
    snapshot::{Encoder, Name, Refs, Resource, ResourceType},
    translate::clusters::cluster_name,
};

/// Everything that decides an assignment.
#[derive(Clone, Copy, Debug)]
pub struct EndpointInput<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its port.
    pub port: &'a ServicePort,
    /// The subset; `None` is the whole service.
    pub subset: Option<&'a Subset>,
    /// The policy of the port and subset.
    pub policy: &'a EffectivePolicy,
    /// The mesh.
    pub mesh: &'a MeshConfig,
    /// Members of the service, of any port, in any order.
    pub members: &'a [Arc<Endpoint>],
    /// What the members accept.
    pub peers: &'a NamespacePeers,
    /// What matters of the proxy: see [`facets`].
    pub client: &'a ClientFacts,
}

impl EndpointInput<'_> {
    /// Whether a member is told to take mutual TLS: by it clusters choose how to connect (translation §5).
    fn takes_mtls(&self, member: &Endpoint) -> bool {
        let accepts =
            || !self.peers.may_disable() || self.peers.of(&member.labels).of_port(member.port) != MtlsMode::Disable;
        member.tls_istio
            && match self.policy.blocks.tls.as_ref().map(|tls| tls.mode) {
                Some(mode) => mode == ClientTlsMode::IstioMutual,
                None => accepts(),
            }
    }
}

/// Which facts of a proxy the assignment depends on.
#[must_use]
pub fn facets(service: &Service, policy: &EffectivePolicy, mesh: &MeshConfig) -> Facets {
    let plan = LocalityPlan::of(service, policy, mesh);
    Facets { locality: plan.needs_locality(), labels: plan.label_keys(), node: service.node_local, ..Facets::default() }
}

/// The assignment of a cluster; its name is the cluster's.
#[must_use]
pub fn load_assignment(input: &EndpointInput<'_>) -> ClusterLoadAssignment {
    let subset = input.subset.map_or("", |s| &s.name);
    ClusterLoadAssignment {
        cluster_name: cluster_name(input.port.number, subset, &input.service.host),
        endpoints: locality_endpoints(input, false),
        ..ClusterLoadAssignment::default()
    }
}

/// The assignment, encoded.
#[must_use]
pub fn resource(input: &EndpointInput<'_>) -> Resource {
    let assignment = load_assignment(input);
    let name = Name::from(assignment.cluster_name.as_str());
    Encoder::message(ResourceType::Endpoint, name, &assignment, Refs::default())
}

/// Members that Envoy resolves, for clusters that carry them.
pub(super) fn resolved_endpoints(input: &EndpointInput<'_>) -> Vec<LocalityLbEndpoints> {
    locality_endpoints(input, true)
}

fn locality_endpoints(input: &EndpointInput<'_>, hostnames: bool) -> Vec<LocalityLbEndpoints> {
    let mut groups = group::by_locality(group::select(input, hostnames));
    LocalityPlan::of(input.service, input.policy, input.mesh).apply(&mut groups, input.client);
    let takes_mtls = |member: &Endpoint| input.takes_mtls(member);
    groups.iter().filter(|g| !g.members.is_empty()).map(|group| encode::locality(group, &takes_mtls)).collect()
}
