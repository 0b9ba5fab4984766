//! `virtualOutbound`: takes redirected connections and hands them to the listener of their destination
//! (translation §3.1).

use envoy_types::pb::envoy::config::{
    core::v3::TrafficDirection,
    listener::v3::{FilterChainMatch, Listener},
};

use super::{
    Chain, ListenerOutput,
    address::addresses,
    chain::ChainParts,
    sidecar_outbound::{SidecarInput, fallback_cluster},
    tcp::TcpRoute,
    wire,
};
use crate::{
    model::{MeshConfig, proxy::InterceptionMode},
    translate::filters::{access_log, metrics::Reporter},
};

/// The listener; `None` when nothing is redirected.
#[must_use]
pub fn virtual_outbound(input: &SidecarInput<'_>, interception: InterceptionMode) -> Option<ListenerOutput> {
    if interception == InterceptionMode::None {
        return None;
    }
    let port = input.mesh.proxy_listen_port;
    let name = "virtualOutbound".to_owned();
    let (address, additional_addresses) = addresses(None, port, input.families);
    let chains = [
        blackhole_chain("virtualOutbound-blackhole", port, input.mesh),
        tcp_chain("virtualOutbound-catchall-tcp", fallback_cluster(input.policy), input.mesh),
    ];
    let header = Listener {
        name: name.clone(),
        address: Some(address),
        additional_addresses,
        use_original_dst: wire::boolean(true),
        transparent: (interception == InterceptionMode::Tproxy).then(|| wire::boolean(true)).flatten(),
        traffic_direction: TrafficDirection::Outbound.into(),
        access_log: access_log::of_listener(input.mesh),
        ..Listener::default()
    };
    let chains = chains.into_iter().flatten().collect();
    Some(ListenerOutput { name, header, chains, ..ListenerOutput::default() })
}

/// Connections to the virtual listener's own port would come back for ever. No traffic of a workload is among them: it is
/// not counted, which saves each proxy twice 1.6 KB.
pub(super) fn blackhole_chain(name: &str, port: u16, mesh: &MeshConfig) -> Option<Chain> {
    let matching = FilterChainMatch { destination_port: wire::uint32(port.into()), ..FilterChainMatch::default() };
    let (proxy, refs) = TcpRoute::to_cluster("BlackHoleCluster").proxy(None, mesh)?;
    let parts = ChainParts { name: name.to_owned(), matching, filters: vec![proxy], ..ChainParts::default() };
    Some(Chain::new(parts.build(), refs, None))
}

fn tcp_chain(name: &str, cluster: &str, mesh: &MeshConfig) -> Option<Chain> {
    let (proxy, refs) = TcpRoute::to_cluster(cluster).proxy(Some(Reporter::Source), mesh)?;
    let parts = ChainParts { name: name.to_owned(), filters: vec![proxy], ..ChainParts::default() };
    Some(Chain::new(parts.build(), refs, None))
}
