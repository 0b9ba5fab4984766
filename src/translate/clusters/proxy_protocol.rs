//! A PROXY protocol header for members, around whatever socket the cluster has (translation §4.3).

use envoy_types::pb::envoy::{
    config::{
        cluster::v3::Cluster,
        core::v3::{
            ProxyProtocolConfig, TransportSocket, proxy_protocol_config::Version, transport_socket::ConfigType,
        },
    },
    extensions::transport_sockets::{proxy_protocol::v3::ProxyProtocolUpstreamTransport, raw_buffer::v3::RawBuffer},
};

use crate::{
    model::{EffectivePolicy, destination_rule::ProxyProtocol},
    snapshot::pack_any,
};

pub(super) fn apply(cluster: &mut Cluster, policy: &EffectivePolicy) {
    let Some(version) = policy.proxy_protocol else { return };
    for socket_match in &mut cluster.transport_socket_matches {
        socket_match.transport_socket = Some(wrap(socket_match.transport_socket.take(), version));
    }
    if cluster.transport_socket_matches.is_empty() {
        cluster.transport_socket = Some(wrap(cluster.transport_socket.take(), version));
    }
}

fn wrap(inner: Option<TransportSocket>, version: ProxyProtocol) -> TransportSocket {
    let version = match version {
        ProxyProtocol::V1 => Version::V1,
        ProxyProtocol::V2 => Version::V2,
    };
    let config = ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig { version: version.into(), ..ProxyProtocolConfig::default() }),
        transport_socket: Some(inner.unwrap_or_else(raw_buffer)),
        ..ProxyProtocolUpstreamTransport::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.upstream_proxy_protocol".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(&config))),
    }
}

fn raw_buffer() -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(&RawBuffer {}))),
    }
}
