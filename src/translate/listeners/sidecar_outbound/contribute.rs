//! What a service port brings to which listeners.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{Contribution, ListenerKey, Place};
use crate::{
    model::{
        Bind, Host, IpFamilies, MeshConfig, Protocol, ProtocolClass, Service, ServicePort, service::Resolution,
        sidecar::EgressListener,
    },
    translate::listeners::tcp::TcpRoute,
};

/// Ports of the proxy itself: health and statistics (translation §0).
const OWN_PORTS: [u16; 2] = [15021, 15090];

/// A service port as a sidecar sees it.
#[derive(Clone, Copy, Debug)]
pub struct PortOfService<'a> {
    /// The service.
    pub service: &'a Service,
    /// The port.
    pub port: &'a ServicePort,
    /// The egress listener that imports it, when it has a port or a socket of its own.
    pub egress: Option<&'a EgressListener>,
    /// Where connections go that no rule leads elsewhere.
    pub default: &'a TcpRoute,
    /// Names of ExternalName services that lead to this one.
    pub aliases: &'a [Host],
    /// What `tls` or `tcp` rules of a VirtualService say; empty is no rule.
    pub routes: &'a [TcpRoute],
    /// Addresses of the members of a headless service, without the proxy's own.
    pub members: &'a [IpAddr],
}

/// The listeners that a service port contributes to (translation §3.1).
#[must_use]
pub fn contribute(of: &PortOfService<'_>, families: IpFamilies, mesh: &MeshConfig) -> Vec<(ListenerKey, Contribution)> {
    if of.port.protocol == Protocol::Udp || of.service.resolution == Resolution::Alias {
        return Vec::new();
    }
    let number = of.egress.and_then(|e| e.port.as_ref()).map_or(of.port.number, |p| p.number);
    let protocol = of.egress.and_then(|e| e.port.as_ref()).map_or(of.port.protocol, |p| p.protocol);
    let mut keys = places(of, protocol, families);
    keys.retain(|(place, _)| *place != Place::Wildcard || !is_own_port(number, mesh));
    keys.into_iter()
        .map(|(place, ranges)| {
            let port = if matches!(place, Place::Bound(Bind::Pipe(_))) { 0 } else { number };
            let route =
                (protocol.class() != ProtocolClass::Tcp).then(|| route_name(of.service, &place, number, protocol));
            let tcp = match protocol.class() {
                ProtocolClass::Http => Vec::new(),
                ProtocolClass::Tcp | ProtocolClass::Auto => tcp_routes(of, &place, ranges, protocol),
            };
            let contribution = Contribution { object: of.service.object.clone(), protocol, route, tcp };
            (ListenerKey { place, port }, contribution)
        })
        .collect()
}

fn is_own_port(port: u16, mesh: &MeshConfig) -> bool {
    OWN_PORTS.contains(&port) || port == mesh.proxy_listen_port || port == mesh.proxy_inbound_listen_port
}

/// Where the port is listened on, with the destination networks of its connections.
fn places<'a>(of: &PortOfService<'a>, protocol: Protocol, families: IpFamilies) -> Vec<(Place, &'a [IpNet])> {
    let (service, no_ranges): (_, &[IpNet]) = (of.service, &[]);
    if let Some(socket) = of.egress.and_then(EgressListener::socket) {
        return vec![(Place::Bound(socket), no_ranges)];
    }
    if protocol.class() == ProtocolClass::Http {
        return vec![(Place::Wildcard, no_ranges)];
    }
    let captured = |ips: &[IpAddr]| {
        let usable = ips.iter().filter(|ip| !ip.is_unspecified() && families.supports(**ip));
        usable.map(|ip| (Place::Captured(*ip), no_ranges)).collect::<Vec<_>>()
    };
    let by_member = service.headless || service.resolution == Resolution::Passthrough;
    let mut all = captured(&service.vips);
    if by_member && all.is_empty() && service.cidrs.is_empty() {
        all = captured(of.members);
        // A headless Service without members has nothing to connect to; resolution NONE is for any address.
        if !all.is_empty() || service.headless {
            return all;
        }
    }
    if !service.cidrs.is_empty() {
        all.push((Place::Wildcard, &service.cidrs));
    }
    if all.is_empty() && !service.vips.iter().any(|ip| !ip.is_unspecified()) {
        all.push((Place::Wildcard, no_ranges));
    }
    all
}

/// The route configuration (translation §3.1): by port, by socket, or of the one service that is sniffed on an
/// address of its own.
fn route_name(service: &Service, place: &Place, port: u16, protocol: Protocol) -> Arc<str> {
    match place {
        Place::Captured(_) if protocol.class() == ProtocolClass::Auto => format!("{}:{port}", service.host).into(),
        Place::Bound(pipe @ Bind::Pipe(_)) => pipe.to_string().into(),
        Place::Wildcard | Place::Captured(_) | Place::Bound(Bind::Ip(_)) => port.to_string().into(),
    }
}

fn tcp_routes(of: &PortOfService<'_>, place: &Place, ranges: &[IpNet], protocol: Protocol) -> Vec<TcpRoute> {
    let within = |route: &TcpRoute| {
        let mut route = route.clone();
        if route.prefix_ranges.is_empty() {
            route.prefix_ranges = ranges.to_vec();
        }
        route
    };
    if !of.routes.is_empty() {
        return of.routes.iter().map(within).collect();
    }
    let mut default = within(of.default);
    // Without an address of its own only the server name tells the service.
    let by_name = *place == Place::Wildcard || of.service.resolution == Resolution::DynamicDns;
    if protocol.is_tls() && by_name {
        default.server_names = std::iter::once(&of.service.host).chain(of.aliases).cloned().collect();
    }
    vec![default]
}
