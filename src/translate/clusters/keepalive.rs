//! TCP keepalive of upstream connections: the mesh's, with a DestinationRule's fields over it.

use envoy_types::pb::{
    envoy::config::{cluster::v3::UpstreamConnectionOptions, core::v3::TcpKeepalive as EnvoyKeepalive},
    google::protobuf::UInt32Value,
};

use super::convert::uint32;
use crate::model::{
    MeshConfig,
    destination_rule::{ConnectionPool, TcpKeepalive},
};

pub(super) fn connection_options(pool: &ConnectionPool, mesh: &MeshConfig) -> Option<UpstreamConnectionOptions> {
    let base = mesh.tcp_keepalive.unwrap_or_default();
    let own = pool.keepalive.unwrap_or_default();
    let merged = TcpKeepalive {
        probes: own.probes.or(base.probes),
        time: own.time.or(base.time),
        interval: own.interval.or(base.interval),
    };
    if pool.keepalive.is_none() && mesh.tcp_keepalive.is_none() {
        return None;
    }
    // Envoy counts whole seconds, and the kernel refuses zero.
    let seconds = |d: std::time::Duration| uint32(u32::try_from(d.as_secs().max(1)).unwrap_or(u32::MAX));
    let keepalive = EnvoyKeepalive {
        keepalive_probes: merged.probes.map(|value| UInt32Value { value }),
        keepalive_time: merged.time.map(seconds),
        keepalive_interval: merged.interval.map(seconds),
    };
    Some(UpstreamConnectionOptions { tcp_keepalive: Some(keepalive), ..UpstreamConnectionOptions::default() })
}
