//! How a member is chosen (translation §4.3).

use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::{
                Cluster,
                cluster::{
                    CommonLbConfig, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
                    RoundRobinLbConfig, SlowStartConfig,
                    common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig},
                },
            },
            core::v3::RuntimeDouble,
        },
        r#type::v3::Percent,
    },
    google::protobuf::UInt64Value,
};

use super::{ClusterInput, convert::duration, discovery::Kind, weighs_localities};
use crate::model::destination_rule::{HashRing, LbAlgorithm, LoadBalancer, Warmup};

/// Envoy refuses larger rings.
const MAX_RING_SIZE: u64 = 8 * 1024 * 1024;
/// Envoy refuses larger tables.
const MAX_TABLE_SIZE: u64 = 5_000_011;
const RUNTIME_KEY: &str = "slow_start.aggression";

pub(super) fn apply(cluster: &mut Cluster, kind: Kind, input: &ClusterInput<'_>) {
    if weighs_localities(input)
        && let Some(common) = cluster.common_lb_config.as_mut()
    {
        weigh_localities(common);
    }
    if kind == Kind::OriginalDst {
        cluster.lb_policy = LbPolicy::ClusterProvided.into();
        return;
    }
    let unset = LoadBalancer::default();
    let settings = input.policy.blocks.load_balancer.as_deref().unwrap_or(&unset);
    let (policy, config) = match &settings.algorithm {
        LbAlgorithm::RoundRobin => (LbPolicy::RoundRobin, settings.warmup.as_ref().map(round_robin)),
        LbAlgorithm::Random => (LbPolicy::Random, None),
        LbAlgorithm::ConsistentHash { ring, .. } => hashing(*ring),
        // Passthrough is another kind of cluster, dealt with above.
        LbAlgorithm::LeastRequest | LbAlgorithm::Passthrough => {
            (LbPolicy::LeastRequest, settings.warmup.as_ref().map(least_request))
        }
    };
    cluster.lb_policy = policy.into();
    cluster.lb_config = config;
}

fn weigh_localities(common: &mut CommonLbConfig) {
    common.locality_config_specifier =
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {}));
}

fn round_robin(warmup: &Warmup) -> LbConfig {
    LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: Some(slow_start(warmup)) })
}

fn least_request(warmup: &Warmup) -> LbConfig {
    LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
        slow_start_config: Some(slow_start(warmup)),
        ..LeastRequestLbConfig::default()
    })
}

fn slow_start(warmup: &Warmup) -> SlowStartConfig {
    let aggression = |value: f64| RuntimeDouble { default_value: value, runtime_key: RUNTIME_KEY.to_owned() };
    SlowStartConfig {
        slow_start_window: Some(duration(warmup.duration)),
        aggression: warmup.aggression.map(|a| aggression(a.to_f64())),
        min_weight_percent: warmup.minimum_percent.map(|p| Percent { value: p.to_f64().min(100.0) }),
    }
}

fn hashing(ring: HashRing) -> (LbPolicy, Option<LbConfig>) {
    let number = |value: u64| Some(UInt64Value { value });
    match ring {
        HashRing::Ring { minimum_size } => {
            let minimum_ring_size = number(minimum_size.min(MAX_RING_SIZE));
            let config = RingHashLbConfig { minimum_ring_size, ..RingHashLbConfig::default() };
            (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config)))
        }
        HashRing::Maglev { table_size } => {
            let config =
                |size: u64| LbConfig::MaglevLbConfig(MaglevLbConfig { table_size: number(size.min(MAX_TABLE_SIZE)) });
            (LbPolicy::Maglev, table_size.map(config))
        }
    }
}
