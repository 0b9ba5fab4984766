//! TCP proxying: to one cluster or to several by weight (translation §3.2).

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use envoy_types::pb::{
    envoy::{
        config::listener::v3::{Filter, filter::ConfigType},
        extensions::filters::network::tcp_proxy::v3::{
            TcpProxy, UpstreamConnectMode,
            tcp_proxy::{
                ClusterSpecifier, TcpAccessLogOptions, TunnelingConfig, WeightedCluster,
                weighted_cluster::ClusterWeight,
            },
        },
        r#type::v3::{
            HashPolicy,
            hash_policy::{PolicySpecifier, SourceIp},
        },
    },
    google::protobuf::UInt32Value,
};

use super::{access_log, metrics::Reporter};
use crate::{
    model::{MeshConfig, destination_rule::Tunnel},
    snapshot::pack_any,
    translate::listeners::wire,
};

/// The clusters of a TCP route, and what their DestinationRule says of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpTarget {
    /// Names with weights; a weight of 0 gets nothing. Never empty.
    pub clusters: Vec<(Arc<str>, u32)>,
    /// Statistics of a weighted target: `<virtual service>.<namespace>`; a single cluster is its own name.
    pub weighted_stat_prefix: Arc<str>,
    /// `tcp.idleTimeout`; `None` is Envoy's hour.
    pub idle_timeout: Option<Duration>,
    /// `tcp.maxConnectionDuration`.
    pub max_connection_duration: Option<Duration>,
    /// `consistentHash.useSourceIp`.
    pub hash_source_ip: bool,
    /// Nobody is connected to before the client has shown its certificate: a workload hears nothing of others, and who was
    /// there can be told when the connection opens.
    pub after_handshake: bool,
    /// `tunnel`: connections go inside of HTTP requests.
    pub tunnel: Option<Arc<Tunnel>>,
}

impl TcpTarget {
    /// One cluster, nothing else said.
    #[must_use]
    pub fn cluster(name: &str) -> Self {
        Self { clusters: vec![(name.into(), 1)], ..Self::default() }
    }

    /// The clusters that get connections, duplicates added up, in order.
    pub(crate) fn effective(&self) -> Vec<(Arc<str>, u32)> {
        let mut sums: Vec<(Arc<str>, u32)> = Vec::with_capacity(self.clusters.len());
        for (name, weight) in self.clusters.iter().filter(|(_, w)| *w > 0) {
            match sums.iter_mut().find(|(n, _)| n == name) {
                Some((_, sum)) => *sum = sum.saturating_add(*weight),
                None => sums.push((name.clone(), *weight)),
            }
        }
        // A single destination may leave its weight out.
        if sums.is_empty() && self.clusters.len() == 1 {
            sums.push((self.clusters[0].0.clone(), 1));
        }
        sums
    }
}

/// The filter, `None` when no cluster has weight: such a chain would be refused. Without a reporter there are no metrics.
#[must_use]
pub fn filter(target: &TcpTarget, reporter: Option<Reporter>, mesh: &MeshConfig) -> Option<Filter> {
    let clusters = target.effective();
    let (stat_prefix, specifier) = match clusters.as_slice() {
        [] => return None,
        [(only, _)] => (only.to_string(), ClusterSpecifier::Cluster(only.to_string())),
        several => {
            let weigh = |(n, w): &(Arc<str>, u32)| ClusterWeight {
                name: n.to_string(),
                weight: *w,
                ..ClusterWeight::default()
            };
            let weighted = WeightedCluster { clusters: several.iter().map(weigh).collect() };
            (target.weighted_stat_prefix.to_string(), ClusterSpecifier::WeightedClusters(weighted))
        }
    };
    let source_ip = HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})) };
    let mode = match target.after_handshake {
        true => UpstreamConnectMode::OnDownstreamTlsHandshake,
        false => UpstreamConnectMode::Immediate,
    };
    let (access_log, logs_early) = access_log::of_tcp(mesh, reporter);
    let early = TcpAccessLogOptions { flush_access_log_on_connected: true, ..TcpAccessLogOptions::default() };
    let config = TcpProxy {
        stat_prefix,
        cluster_specifier: Some(specifier),
        access_log,
        access_log_options: logs_early.then_some(early),
        idle_timeout: target.idle_timeout.and_then(wire::duration),
        max_downstream_connection_duration: target.max_connection_duration.and_then(wire::duration),
        hash_policy: target.hash_source_ip.then_some(source_ip).into_iter().collect(),
        tunneling_config: target.tunnel.as_deref().map(tunneling),
        upstream_connect_mode: mode.into(),
        // Envoy demands it with this mode; what comes early waits in the socket.
        max_early_data_bytes: target.after_handshake.then_some(UInt32Value { value: 0 }),
        ..TcpProxy::default()
    };
    Some(Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(&config))),
    })
}

fn tunneling(tunnel: &Tunnel) -> TunnelingConfig {
    let Tunnel { target_host: host, target_port: port, post } = tunnel;
    let bracketed = host.parse::<Ipv6Addr>().is_ok();
    TunnelingConfig {
        hostname: if bracketed { format!("[{host}]:{port}") } else { format!("{host}:{port}") },
        use_post: *post,
        ..TunnelingConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn proxy(target: &TcpTarget) -> TcpProxy {
        let Some(ConfigType::TypedConfig(any)) =
            filter(target, Some(Reporter::Source), &MeshConfig::default()).expect("a filter").config_type
        else {
            panic!("no config")
        };
        TcpProxy::decode(&any.value[..]).expect("a TCP proxy")
    }

    #[test]
    fn one_cluster_is_plain_and_several_are_weighted() {
        assert_eq!(proxy(&TcpTarget::cluster("a")).stat_prefix, "a");
        let clusters = [("a", 1), ("b", 3), ("a", 2), ("c", 0)].map(|(n, w)| (n.into(), w)).to_vec();
        let weighted = TcpTarget { clusters, weighted_stat_prefix: "vs.ns".into(), ..TcpTarget::default() };
        let made = proxy(&weighted);
        assert_eq!(made.stat_prefix, "vs.ns");
        let Some(ClusterSpecifier::WeightedClusters(w)) = made.cluster_specifier else { panic!("not weighted") };
        assert_eq!(w.clusters.iter().map(|c| (&*c.name, c.weight)).collect::<Vec<_>>(), [("a", 3), ("b", 3)]);
    }

    #[test]
    fn no_weight_is_no_chain_except_for_a_single_destination() {
        let clusters = vec![("a".into(), 0), ("b".into(), 0)];
        assert!(
            filter(&TcpTarget { clusters, ..TcpTarget::default() }, Some(Reporter::Source), &MeshConfig::default())
                .is_none()
        );
        let alone = TcpTarget { clusters: vec![("a".into(), 0)], ..TcpTarget::default() };
        assert_eq!(proxy(&alone).stat_prefix, "a");
    }

    #[test]
    fn a_tunnel_leads_to_its_target() {
        for (host, post, expected) in [("a.test", false, "a.test:443"), ("fd00::1", true, "[fd00::1]:443")] {
            let tunnel = Arc::new(Tunnel { post, target_host: host.into(), target_port: 443 });
            let made = proxy(&TcpTarget { tunnel: Some(tunnel), ..TcpTarget::cluster("a") });
            let config = made.tunneling_config.expect("a tunnel");
            assert_eq!((&*config.hostname, config.use_post), (expected, post));
        }
        assert!(proxy(&TcpTarget::cluster("a")).tunneling_config.is_none());
    }

    #[test]
    fn sums_cannot_overflow() {
        let clusters = vec![("a".into(), u32::MAX), ("a".into(), 1)];
        assert_eq!(proxy(&TcpTarget { clusters, ..TcpTarget::default() }).stat_prefix, "a");
    }
}
