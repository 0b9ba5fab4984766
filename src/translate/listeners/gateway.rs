//! Listeners of gateways (translation §7).

pub mod merge;
pub mod names;

use envoy_types::pb::envoy::config::{
    core::v3::TrafficDirection,
    listener::v3::{Filter, FilterChainMatch, Listener},
};

pub use merge::{GatewayListener, Merged, MergedServer, PortTranslation, merge_servers};

use super::{
    Chain, ListenerOutput, RefSet,
    address::addresses,
    chain::{ChainParts, ChainSet},
    inspectors,
    tcp::TcpRoute,
    tls_context,
};
use crate::{
    model::{Code, IpFamilies, MeshConfig, ObjectRef, Problem, Protocol, SecretState},
    translate::filters::{
        self, HttpFilterNeeds, access_log,
        hcm::{self, HcmClass, HcmInput, RouteSource},
        metrics::Reporter,
        rbac,
    },
};

/// What a gateway's listener is made of besides its servers.
#[derive(Clone, Copy)]
pub struct GatewayInput<'a> {
    /// The mesh configuration.
    pub mesh: &'a MeshConfig,
    /// The proxy's IP families.
    pub families: IpFamilies,
    /// A policy that cannot be enforced yet selects the proxy.
    pub deny_all: bool,
    /// What is known of a secret, by its resource name.
    pub secret_state: &'a dyn Fn(&str) -> SecretState,
    /// The TCP or TLS routes of a server that is not HTTP.
    pub tcp_routes: &'a dyn Fn(&MergedServer) -> Vec<TcpRoute>,
}

/// The chains of one server (or of all that share a plaintext port's routes).
#[derive(Clone, Debug, Default)]
pub struct ServerChains {
    /// The chains.
    pub chains: Vec<Chain>,
    /// What kept chains from being made.
    pub problems: Vec<Problem>,
}

/// A whole listener of a gateway.
#[must_use]
pub fn gateway_listener(listener: &GatewayListener, input: &GatewayInput<'_>) -> ListenerOutput {
    let mut parts = Vec::with_capacity(listener.servers.len());
    let mut plaintext_done = false;
    for server in &listener.servers {
        let shares_routes = !server.server().is_tls() && server.server().is_http();
        if shares_routes && std::mem::replace(&mut plaintext_done, true) {
            continue;
        }
        parts.push(server_chains(listener, server, input));
    }
    assemble(listener, &parts, input)
}

/// The chains of a server. Servers that share a plaintext port's routes have one chain: that of the first.
#[must_use]
pub fn server_chains(listener: &GatewayListener, server: &MergedServer, input: &GatewayInput<'_>) -> ServerChains {
    if let Some(problem) = unusable(server, input) {
        return ServerChains { chains: Vec::new(), problems: vec![problem] };
    }
    if server.server().is_http() {
        ServerChains { chains: vec![http_chain(listener, server, input)], problems: Vec::new() }
    } else {
        tcp_chains(listener, server, input)
    }
}

/// Puts a listener together. Its header depends on the port, the bind, the mesh and on whether a server has TLS:
/// chains come and go without draining the others (what Envoy does in place).
#[must_use]
pub fn assemble(listener: &GatewayListener, parts: &[ServerChains], input: &GatewayInput<'_>) -> ListenerOutput {
    let mut set = ChainSet::default();
    parts.iter().flat_map(|p| &p.chains).for_each(|c| set.add(c.clone()));
    let (chains, conflicts) = set.finish();
    let mut problems: Vec<Problem> = parts.iter().flat_map(|p| p.problems.iter().cloned()).collect();
    problems.extend(conflicts);
    let name = listener.name(input.families);
    let (address, additional_addresses) = addresses(listener.bind.as_ref(), listener.port, input.families);
    let inspect_tls = listener.servers.iter().any(|s| s.server().is_tls());
    let header = Listener {
        name: name.clone(),
        address: Some(address),
        additional_addresses,
        traffic_direction: TrafficDirection::Outbound.into(),
        listener_filters: inspect_tls.then(inspectors::tls).into_iter().collect(),
        access_log: access_log::of_listener(input.mesh),
        ..Listener::default()
    };
    ListenerOutput { name, header, chains, problems, ..ListenerOutput::default() }
}

/// Why a server has no chains at all.
fn unusable(server: &MergedServer, input: &GatewayInput<'_>) -> Option<Problem> {
    let tls = server.server().tls.as_ref()?;
    tls_context::secrets(tls).into_iter().find_map(|need| {
        let reason = need.lacking((input.secret_state)(&need.resource))?;
        Some(server.problem(Code::CredentialUnknown, &format!("tls.{}", need.field), reason))
    })
}

/// SNI of a server that terminates TLS; with `*` any name, then told from plaintext of the same port by transport.
fn tls_match(listener: &GatewayListener, server: &MergedServer) -> FilterChainMatch {
    if !server.server().is_tls() {
        return FilterChainMatch::default();
    }
    let names = server.server().dns_names();
    if !names.iter().any(|n| &**n == "*") {
        let server_names = names.iter().map(ToString::to_string).collect();
        return FilterChainMatch { server_names, ..FilterChainMatch::default() };
    }
    let beside_plaintext = listener.servers.iter().any(|s| !s.server().is_tls());
    let transport_protocol = if beside_plaintext { "tls" } else { "" }.to_owned();
    FilterChainMatch { transport_protocol, ..FilterChainMatch::default() }
}

fn http_chain(listener: &GatewayListener, server: &MergedServer, input: &GatewayInput<'_>) -> Chain {
    let spec = server.server();
    let listener_name = listener.name(input.families);
    let route = server.route.as_deref().unwrap_or_default().to_owned();
    let matching = tls_match(listener, server);
    let grpc_web = match spec.is_tls() {
        true => spec.protocol == Protocol::GrpcWeb,
        false => listener.servers.iter().any(|s| !s.server().is_tls() && s.server().protocol == Protocol::GrpcWeb),
    };
    let http_filters = filters::http_filters(HttpFilterNeeds { grpc_web, deny_all: input.deny_all, outbound: true });
    let stat_prefix = match (spec.is_tls(), &*spec.name) {
        (true, name) if !name.is_empty() => name.to_owned(),
        _ => hcm::outbound_stat_prefix(&listener_name),
    };
    let manager = HcmInput {
        class: HcmClass::Gateway,
        stat_prefix,
        routes: RouteSource::Rds(route.clone()),
        absolute_urls: false,
        mesh: input.mesh,
    };
    let filter = hcm::network_filter(manager, http_filters);
    let mut refs = RefSet::default();
    refs.routes.insert(route.as_str().into());
    finish((server, input.mesh), route, matching, vec![filter], refs, None)
}

fn tcp_chains(listener: &GatewayListener, server: &MergedServer, input: &GatewayInput<'_>) -> ServerChains {
    let mut made = ServerChains::default();
    let id = names::tcp_chain(server.server(), &server.gateway, listener.port);
    let passthrough = server.server().tls.as_ref().is_some_and(|tls| tls.mode.is_passthrough());
    for route in (input.tcp_routes)(server) {
        let Some((proxy, refs)) = route.proxy(Some(Reporter::Source), input.mesh) else {
            made.problems.extend(route.origin.map(|(object, field)| Problem {
                object,
                field,
                reason: "all destinations have weight 0; the route is not programmed".to_owned(),
                code: Code::WeightsZero,
            }));
            continue;
        };
        let matching = match (server.server().is_tls(), passthrough) {
            (true, false) => {
                FilterChainMatch { prefix_ranges: route.matching().prefix_ranges, ..tls_match(listener, server) }
            }
            _ => route.matching(),
        };
        let mut network = Vec::with_capacity(2);
        network.extend(input.deny_all.then(rbac::network_deny_all));
        network.push(proxy);
        let name = if route.name.is_empty() { id.clone() } else { format!("{id}.{}", route.name) };
        made.chains.push(finish((server, input.mesh), name, matching, network, refs, route.origin));
    }
    made
}

fn finish(
    (server, mesh): (&MergedServer, &MeshConfig),
    name: String,
    matching: FilterChainMatch,
    filters: Vec<Filter>,
    mut refs: RefSet,
    origin: Option<(ObjectRef, String)>,
) -> Chain {
    let terminated = server.server().tls.as_ref().filter(|tls| !tls.mode.is_passthrough());
    if let Some(tls) = terminated {
        refs.secrets.extend(tls_context::secrets(tls).into_iter().map(|need| need.resource));
    }
    let transport_socket = terminated.map(|tls| tls_context::downstream(tls, server.server().is_http(), mesh));
    let origin = origin.or_else(|| Some((server.gateway.object.clone(), server.field(""))));
    Chain::new(ChainParts { name, matching, filters, transport_socket }.build(), refs, origin)
}

#[cfg(test)]
mod tests;
