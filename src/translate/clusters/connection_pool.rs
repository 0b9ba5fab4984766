//! Connection pools: timeouts, breakers, HTTP limits (translation §4.3).

use envoy_types::pb::envoy::config::{
    cluster::v3::Cluster,
    core::v3::{HttpProtocolOptions as CommonOptions, KeepaliveSettings},
};

use super::{
    circuit_breakers::circuit_breakers,
    convert::{duration, set},
    http_protocol::HttpProtocol,
    keepalive::connection_options,
};
use crate::model::{EffectivePolicy, MeshConfig, destination_rule::ConnectionPool};

pub(super) fn apply(cluster: &mut Cluster, http: &mut HttpProtocol, policy: &EffectivePolicy, mesh: &MeshConfig) {
    let unset = ConnectionPool::default();
    let pool = policy.blocks.connection_pool.as_deref().unwrap_or(&unset);
    cluster.connect_timeout = Some(duration(pool.connect_timeout.unwrap_or(mesh.connect_timeout)));
    cluster.circuit_breakers = Some(circuit_breakers(pool, policy.retry_budget.as_ref()));
    cluster.upstream_connection_options = connection_options(pool, mesh);
    apply_http(http, pool);
}

fn apply_http(http: &mut HttpProtocol, pool: &ConnectionPool) {
    let common = CommonOptions {
        idle_timeout: pool.http_idle_timeout.or(pool.tcp_idle_timeout).map(duration),
        max_connection_duration: pool.max_connection_duration.map(duration),
        max_requests_per_connection: set(pool.max_requests_per_connection),
        ..CommonOptions::default()
    };
    if common != CommonOptions::default() {
        http.common().clone_from(&common);
    }
    if let Some(http2) = http.explicit_http2() {
        http2.max_concurrent_streams = set(pool.max_concurrent_streams).or(http2.max_concurrent_streams.take());
        http2.connection_keepalive = pool.http2_keepalive.map(|k| KeepaliveSettings {
            interval: k.interval.map(duration),
            timeout: k.timeout.map(duration),
            ..KeepaliveSettings::default()
        });
    }
    if pool.use_client_protocol {
        http.use_downstream();
    }
}
