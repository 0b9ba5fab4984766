//! The filter chains of a port, by what it speaks and what it accepts.

use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChainMatch};

use super::{InboundInput, routes};
use crate::{
    model::{Protocol, ProtocolClass, peer_authentication::MtlsMode, service::InboundPort},
    translate::{
        clusters::{INBOUND_PASSTHROUGH, inbound_cluster_name},
        filters::{
            self, HttpFilterNeeds,
            hcm::{self, HcmClass, HcmInput, RouteSource},
            metrics::Reporter,
            rbac,
            tcp_proxy::TcpTarget,
        },
        listeners::{
            Chain, RefSet,
            chain::ChainParts,
            sidecar_outbound::PLAINTEXT_HTTP,
            tcp::TcpRoute,
            tls_context::{self, Inside},
            wire,
        },
    },
};

/// What sidecars offer with HTTP inside of mutual TLS (translation §10).
const MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// And with anything else. Istio's own offer the second too.
const MESH_TCP: [&str; 2] = ["istio", "istio-peer-exchange"];

/// Where connections of a port go.
pub(super) enum Target<'a> {
    /// To a port that a service leads to.
    Service(&'a InboundPort),
    /// To another one, or to all others.
    Other(Option<u16>),
}

/// How connections are told from others of the same port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// TLS that offers one of these protocols; none is any.
    Tls(&'static [&'static [&'static str]]),
    /// Anything but TLS, as far as it is looked for.
    Plaintext,
    /// HTTP without TLS.
    PlaintextHttp,
}

/// A chain: its match, whether it ends mutual TLS, and whether it reads HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    transport: Transport,
    mtls: bool,
    http: bool,
}

const fn kind(transport: Transport, mtls: bool, http: bool) -> Kind {
    Kind { transport, mtls, http }
}

/// The chains of a port, in Istio's order (translation §3.3's table).
fn kinds(mode: MtlsMode, class: ProtocolClass) -> Vec<Kind> {
    use MtlsMode::{Disable, Permissive, Strict};
    use Transport::{Plaintext, PlaintextHttp, Tls};
    const HTTP: Transport = Tls(&[&MESH_HTTP]);
    const TCP: Transport = Tls(&[&MESH_TCP]);
    const MESH: Transport = Tls(&[&MESH_HTTP, &MESH_TCP]);
    const ANY: Transport = Tls(&[]);
    match (mode, class) {
        (Permissive, ProtocolClass::Auto) => vec![
            kind(HTTP, true, true),
            kind(PlaintextHttp, false, true),
            kind(TCP, true, false),
            kind(Plaintext, false, false),
            kind(ANY, false, false),
        ],
        (Permissive, ProtocolClass::Http) => vec![kind(MESH, true, true), kind(Plaintext, false, true)],
        (Permissive, ProtocolClass::Tcp) => {
            vec![kind(MESH, true, false), kind(ANY, false, false), kind(Plaintext, false, false)]
        }
        (Strict, ProtocolClass::Auto) => vec![kind(HTTP, true, true), kind(ANY, true, false)],
        (Strict, ProtocolClass::Http) => vec![kind(ANY, true, true)],
        (Strict, ProtocolClass::Tcp) => vec![kind(ANY, true, false)],
        (Disable, ProtocolClass::Auto) => vec![kind(PlaintextHttp, false, true), kind(Plaintext, false, false)],
        (Disable, ProtocolClass::Http) => vec![kind(Plaintext, false, true)],
        (Disable, ProtocolClass::Tcp) => vec![kind(Plaintext, false, false)],
    }
}

/// The chains of a target.
pub(super) fn of(target: &Target<'_>, input: &InboundInput<'_>) -> Vec<Chain> {
    let (port, class) = match target {
        Target::Service(port) => (Some(port.target), port.protocol.class()),
        Target::Other(port) => (*port, ProtocolClass::Auto),
    };
    let mode = port.map_or(input.peer.mode, |port| input.peer.of_port(port));
    kinds(mode, class).into_iter().filter_map(|kind| chain(target, port, kind, input)).collect()
}

fn chain(target: &Target<'_>, port: Option<u16>, kind: Kind, input: &InboundInput<'_>) -> Option<Chain> {
    let cluster = match target {
        Target::Service(port) => inbound_cluster_name(port.target),
        Target::Other(_) => INBOUND_PASSTHROUGH.to_owned(),
    };
    let (filters, refs) = if kind.http {
        (vec![http_filter(target, &cluster, input)], cluster_ref(&cluster))
    } else {
        let target = TcpTarget { after_handshake: kind.mtls, ..TcpTarget::cluster(&cluster) };
        let route = TcpRoute { target, ..TcpRoute::default() };
        let (proxy, refs) = route.proxy(Some(Reporter::Destination), input.mesh)?;
        let denied = input.deny_all.then(rbac::network_deny_all);
        (denied.into_iter().chain([proxy]).collect::<Vec<Filter>>(), refs)
    };
    let inside = if kind.http { Inside::Http } else { Inside::Tcp };
    let parts = ChainParts {
        name: name(target, kind, input),
        matching: matching(port, kind.transport),
        filters,
        transport_socket: kind.mtls.then(|| tls_context::workload(inside, input.mesh)),
    };
    Some(Chain::new(parts.build(), refs, None))
}

/// The name of a chain, which others of the port share until they are numbered.
fn name(target: &Target<'_>, kind: Kind, input: &InboundInput<'_>) -> String {
    match target {
        Target::Service(port) => format!("{}_{}", input.families.wildcard(), port.target),
        Target::Other(_) if kind.http => "virtualInbound-catchall-http".to_owned(),
        Target::Other(_) => "virtualInbound".to_owned(),
    }
}

fn matching(port: Option<u16>, transport: Transport) -> FilterChainMatch {
    let (transport, protocols): (_, Vec<&str>) = match transport {
        Transport::Tls(lists) => ("tls", lists.iter().copied().flatten().copied().collect()),
        Transport::Plaintext => ("raw_buffer", Vec::new()),
        Transport::PlaintextHttp => ("raw_buffer", PLAINTEXT_HTTP.to_vec()),
    };
    FilterChainMatch {
        destination_port: port.and_then(|port| wire::uint32(port.into())),
        transport_protocol: transport.to_owned(),
        application_protocols: protocols.into_iter().map(ToOwned::to_owned).collect(),
        ..FilterChainMatch::default()
    }
}

fn http_filter(target: &Target<'_>, cluster: &str, input: &InboundInput<'_>) -> Filter {
    let (grpc_web, stat_prefix) = match target {
        Target::Service(port) => {
            (port.protocol == Protocol::GrpcWeb, format!("inbound_{}_{};", input.families.wildcard(), port.target))
        }
        Target::Other(_) => (false, format!("{INBOUND_PASSTHROUGH};")),
    };
    let needs = HttpFilterNeeds { grpc_web, deny_all: input.deny_all, outbound: false };
    let manager = HcmInput {
        class: HcmClass::Inbound,
        stat_prefix,
        routes: RouteSource::Inline(Box::new(routes::to(target, cluster))),
        absolute_urls: false,
        mesh: input.mesh,
    };
    hcm::network_filter(manager, filters::http_filters(needs))
}

fn cluster_ref(cluster: &str) -> RefSet {
    RefSet { clusters: [cluster.into()].into(), ..RefSet::default() }
}
