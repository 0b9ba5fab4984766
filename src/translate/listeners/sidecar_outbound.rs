//! Outbound listeners of sidecars: keys and merging (translation §3.1, §3.2).
//!
//! Each service port contributes to one or more listeners; the contributions to one listener, the oldest service
//! first, decide what it is.

mod contribute;
mod merge;

use std::{net::IpAddr, sync::Arc};

use envoy_types::pb::envoy::config::{
    core::v3::TrafficDirection,
    listener::v3::{FilterChain, FilterChainMatch, Listener},
};

pub use contribute::{PortOfService, contribute};
pub use merge::{MergedPort, merge};

use super::{
    Chain, ListenerOutput, RefSet,
    address::{addresses, listener_name},
    chain::{ChainParts, ChainSet},
    inspectors,
    tcp::TcpRoute,
    wire,
};
use crate::{
    model::{Bind, Code, IpFamilies, MeshConfig, ObjectRef, Problem, Protocol, mesh::OutboundPolicy},
    translate::filters::{
        self, HttpFilterNeeds, access_log,
        hcm::{self, HcmClass, HcmInput, RouteSource},
        metrics::Reporter,
    },
};

/// What the HTTP inspector finds in plaintext HTTP. HTTP/1.0 is not among them, as in Istio.
pub(super) const PLAINTEXT_HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// Where an outbound listener is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Any destination address; connections are handed over by the virtual listener.
    Wildcard,
    /// One destination address, handed over likewise.
    Captured(IpAddr),
    /// A real socket (Sidecar egress `bind`, capture mode NONE).
    Bound(Bind),
}

/// Identifies an outbound listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerKey {
    /// Where it is.
    pub place: Place,
    /// The port; 0 for a Unix socket.
    pub port: u16,
}

impl ListenerKey {
    fn bind(&self) -> Option<Bind> {
        match &self.place {
            Place::Wildcard => None,
            Place::Captured(ip) => Some(Bind::Ip(*ip)),
            Place::Bound(bind) => Some(bind.clone()),
        }
    }

    /// The listener's name.
    #[must_use]
    pub fn name(&self, families: IpFamilies) -> String {
        listener_name(self.bind().as_ref(), self.port, families)
    }
}

/// What one service port brings to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The object of the service, told when it must give way.
    pub object: ObjectRef,
    /// What the port speaks.
    pub protocol: Protocol,
    /// The route configuration of its HTTP; `None` for TCP.
    pub route: Option<Arc<str>>,
    /// Its connections; empty for HTTP.
    pub tcp: Vec<TcpRoute>,
}

/// What an outbound listener is made of besides its contributions.
#[derive(Clone, Copy)]
pub struct SidecarInput<'a> {
    /// The mesh configuration.
    pub mesh: &'a MeshConfig,
    /// The proxy's IP families.
    pub families: IpFamilies,
    /// What happens to unknown destinations: the Sidecar's policy, else the mesh's.
    pub policy: OutboundPolicy,
    /// Whether the proxy may not bind ports below 1024.
    pub unprivileged: bool,
}

/// The cluster of unknown destinations.
#[must_use]
pub const fn fallback_cluster(policy: OutboundPolicy) -> &'static str {
    match policy {
        OutboundPolicy::AllowAny => "PassthroughCluster",
        OutboundPolicy::RegistryOnly => "BlackHoleCluster",
    }
}

/// A listener of its contributions, the oldest service first.
#[must_use]
pub fn outbound_listener(
    key: &ListenerKey,
    contributions: &[Arc<Contribution>],
    input: &SidecarInput<'_>,
) -> ListenerOutput {
    if let (Place::Bound(Bind::Ip(_)), true, 1..1024) = (&key.place, input.unprivileged, key.port) {
        let reason = format!("port {} cannot be opened: the pod may not bind ports below 1024", key.port);
        let problem = |c: &Arc<Contribution>| Problem {
            object: c.object.clone(),
            field: String::new(),
            reason: reason.clone(),
            code: Code::PortPrivileged,
        };
        return ListenerOutput { problems: contributions.iter().take(1).map(problem).collect(), ..Default::default() };
    }
    let merged = merge(contributions);
    let mut set = ChainSet::default();
    // Within Envoy the most specific match decides, so their order is free: TCP first, as in Istio.
    for (contribution, route) in &merged.tcp {
        if let Some(chain) = tcp_chain(contribution, route, input) {
            set.add(chain);
        }
    }
    if let Some(route) = &merged.route {
        set.add(http_chain(key, route, &merged, input));
    }
    let (mut chains, conflicts) = set.finish();
    let mut problems = merged.problems;
    problems.extend(conflicts);
    let default = default_chain(key, &mut chains, input);
    ListenerOutput { name: key.name(input.families), ..header(key, chains, default, problems, input) }
}

/// The chain for connections that no other takes: the unconditional one, or by policy. A listener with one
/// unconditional chain needs none, and one with a socket of its own has no original destination to go to.
fn default_chain(key: &ListenerKey, chains: &mut Vec<Chain>, input: &SidecarInput<'_>) -> Option<Chain> {
    match chains.iter().position(|c| c.message.filter_chain_match.is_none()) {
        Some(_) if chains.len() == 1 => None,
        Some(at) => Some(chains.remove(at)),
        None if matches!(key.place, Place::Bound(_)) => None,
        None => passthrough_chain(input),
    }
}

fn passthrough_chain(input: &SidecarInput<'_>) -> Option<Chain> {
    let (proxy, refs) =
        TcpRoute::to_cluster(fallback_cluster(input.policy)).proxy(Some(Reporter::Source), input.mesh)?;
    let name = "PassthroughFilterChain".to_owned();
    Some(Chain::new(ChainParts { name, filters: vec![proxy], ..ChainParts::default() }.build(), refs, None))
}

fn header(
    key: &ListenerKey,
    chains: Vec<Chain>,
    default: Option<Chain>,
    problems: Vec<Problem>,
    input: &SidecarInput<'_>,
) -> ListenerOutput {
    let bind = key.bind();
    let (address, additional_addresses) = addresses(bind.as_ref(), key.port, input.families);
    let matches = || chains.iter().filter_map(|c| c.message.filter_chain_match.as_ref());
    let inspect_http = matches().any(|m| !m.application_protocols.is_empty());
    let inspect_tls = inspect_http || matches().any(|m| !m.server_names.is_empty());
    let timeout = if inspect_http { input.mesh.protocol_detection_timeout } else { std::time::Duration::ZERO };
    let bound = matches!(key.place, Place::Bound(_));
    let mut listener_filters = Vec::with_capacity(2);
    listener_filters.extend(inspect_tls.then(inspectors::tls));
    listener_filters.extend(inspect_http.then(inspectors::http));
    let header = Listener {
        name: key.name(input.families),
        address: Some(address),
        additional_addresses,
        traffic_direction: TrafficDirection::Outbound.into(),
        bind_to_port: if bound { None } else { wire::boolean(false) },
        // A real socket shares its connections among the workers.
        max_connections_to_accept_per_socket_event: if bound { wire::uint32(1) } else { None },
        listener_filters,
        listener_filters_timeout: wire::duration(timeout),
        continue_on_listener_filters_timeout: true,
        access_log: access_log::of_listener(input.mesh),
        default_filter_chain: default.as_ref().map(|c| FilterChain::clone(&c.message)),
        ..Listener::default()
    };
    let header_refs = default.map(|c| c.refs).unwrap_or_default();
    ListenerOutput { header, chains, header_refs, problems, ..ListenerOutput::default() }
}

fn tcp_chain(contribution: &Contribution, route: &TcpRoute, input: &SidecarInput<'_>) -> Option<Chain> {
    let (proxy, refs) = route.proxy(Some(Reporter::Source), input.mesh)?;
    let name = match &*route.name {
        "" => route.target.clusters.first().map(|(c, _)| c.to_string()).unwrap_or_default(),
        name => name.to_owned(),
    };
    let origin = route.origin.clone().unwrap_or_else(|| (contribution.object.clone(), String::new()));
    let parts = ChainParts { name, matching: route.matching(), filters: vec![proxy], ..ChainParts::default() };
    Some(Chain::new(parts.build(), refs, Some(origin)))
}

fn http_chain(key: &ListenerKey, route: &str, merged: &MergedPort<'_>, input: &SidecarInput<'_>) -> Chain {
    let listener = key.name(input.families);
    let sniffed = key.place == Place::Wildcard || merged.sniffs();
    let matching = if sniffed { plaintext_http() } else { FilterChainMatch::default() };
    let needs = HttpFilterNeeds { grpc_web: merged.grpc_web, deny_all: false, outbound: true };
    let http_filters = filters::http_filters(needs);
    let manager = HcmInput {
        class: HcmClass::Outbound,
        stat_prefix: hcm::outbound_stat_prefix(&listener),
        routes: RouteSource::Rds(route.to_owned()),
        absolute_urls: false,
        mesh: input.mesh,
    };
    let filters = vec![hcm::network_filter(manager, http_filters)];
    let mut refs = RefSet::default();
    refs.routes.insert(route.into());
    let parts = ChainParts { name: route.to_owned(), matching, filters, ..ChainParts::default() };
    Chain::new(parts.build(), refs, None)
}

/// Plaintext HTTP, as the inspectors tell it.
pub(super) fn plaintext_http() -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: "raw_buffer".to_owned(),
        application_protocols: PLAINTEXT_HTTP.map(ToOwned::to_owned).to_vec(),
        ..FilterChainMatch::default()
    }
}

#[cfg(test)]
mod tests;
