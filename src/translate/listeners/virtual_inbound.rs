//! `virtualInbound`: takes redirected connections to the workload (translation §3.3).
//!
//! ```text
//!  the listener's own port ──► refused
//!  a port of a service ──────► its chains: HTTP or TCP, mutual TLS or plaintext  (destination port)
//!  any other port ───────────► the same as for a port of sniffed protocol, to where the client meant
//! ```

mod chains;
mod inspection;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::{core::v3::TrafficDirection, listener::v3::Listener};

use self::chains::Target;
use super::{ListenerOutput, address::addresses, chain::ChainSet, inspectors, virtual_outbound::blackhole_chain, wire};
use crate::{
    model::{
        IpFamilies, MeshConfig, Protocol,
        peer_authentication::{MtlsMode, PeerMtls},
        proxy::InterceptionMode,
        service::InboundPort,
    },
    translate::filters::access_log,
};

/// What the listener is made of.
#[derive(Clone, Copy)]
pub struct InboundInput<'a> {
    /// The mesh configuration.
    pub mesh: &'a MeshConfig,
    /// The proxy's IP families.
    pub families: IpFamilies,
    /// How traffic gets to the proxy.
    pub interception: InterceptionMode,
    /// A policy that cannot be enforced yet selects the workload.
    pub deny_all: bool,
    /// The ports of services, one for each port of the workload.
    pub ports: &'a [InboundPort],
    /// What the workload accepts.
    pub peer: &'a PeerMtls,
}

/// The listener; `None` when nothing is redirected.
#[must_use]
pub fn virtual_inbound(input: &InboundInput<'_>) -> Option<ListenerOutput> {
    if input.interception == InterceptionMode::None {
        return None;
    }
    let name = "virtualInbound".to_owned();
    let port = input.mesh.proxy_inbound_listen_port;
    let (address, additional_addresses) = addresses(None, port, input.families);
    let tproxy = input.interception == InterceptionMode::Tproxy;
    let mut set = ChainSet::default();
    blackhole_chain("virtualInbound-blackhole", port, input.mesh).into_iter().for_each(|chain| set.add(chain));
    let own = input.ports.iter().map(Target::Service);
    let of_policy = input.peer.ports.keys().filter(|port| input.ports.iter().all(|p| p.target != **port));
    let others = of_policy.map(|port| Target::Other(Some(*port)));
    for target in std::iter::once(Target::Other(None)).chain(others).chain(own) {
        chains::of(&target, input).into_iter().for_each(|chain| set.add(chain));
    }
    // All of it is ours: no two chains clash.
    let (chains, problems) = set.finish();
    let ports = inspected(input);
    let mut listener_filters = vec![inspectors::original_dst()];
    listener_filters.extend(tproxy.then(inspectors::original_src));
    listener_filters.extend(inspection::where_needed(inspectors::tls(), &ports, input.peer.mode, inspection::tls));
    listener_filters.extend(inspection::where_needed(inspectors::http(), &ports, input.peer.mode, inspection::http));
    let header = Listener {
        name: name.clone(),
        address: Some(address),
        additional_addresses,
        transparent: tproxy.then(|| wire::boolean(true)).flatten(),
        traffic_direction: TrafficDirection::Inbound.into(),
        listener_filters,
        listener_filters_timeout: wire::duration(input.mesh.protocol_detection_timeout),
        continue_on_listener_filters_timeout: true,
        access_log: access_log::of_listener(input.mesh),
        ..Listener::default()
    };
    Some(ListenerOutput { name, header, chains, problems, ..ListenerOutput::default() })
}

/// The ports with chains of their own: what they speak, and what they accept.
fn inspected(input: &InboundInput<'_>) -> BTreeMap<u16, (Protocol, MtlsMode)> {
    let of_policy = input.peer.ports.keys().map(|port| (*port, Protocol::Auto));
    let own = input.ports.iter().map(|p| (p.target, p.protocol));
    of_policy.chain(own).map(|(port, protocol)| (port, (protocol, input.peer.of_port(port)))).collect()
}
