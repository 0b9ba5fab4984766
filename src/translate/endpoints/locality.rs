//! Locality-aware load balancing: which setting holds, and what it does (translation §4.4).

use std::sync::Arc;

use super::{distribute, failover, group::Group};
use crate::{
    model::{
        EffectivePolicy, Locality, MeshConfig, Service, locality_lb::LocalityLb, service::TrafficDistribution,
        workload::label,
    },
    translate::client::ClientFacts,
};

/// What a cluster does about locality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalityPlan<'a> {
    /// Nothing.
    Off,
    /// Shares by the proxy's locality.
    Distribute(&'a LocalityLb),
    /// The nearest first, the others when those fail.
    Failover {
        /// From region to region.
        regions: &'a [(Arc<str>, Arc<str>)],
        /// Labels in order of priority; empty ranks by locality alone.
        labels: Vec<Arc<str>>,
    },
}

impl<'a> LocalityPlan<'a> {
    /// The plan of a cluster: DestinationRule, then `trafficDistribution`, then the mesh. Failover needs outlier
    /// detection, without which Envoy would never leave a locality; `trafficDistribution` goes by readiness.
    #[must_use]
    pub fn of(service: &Service, policy: &'a EffectivePolicy, mesh: &'a MeshConfig) -> Self {
        let own = policy.blocks.load_balancer.as_ref().and_then(|lb| lb.locality.as_ref());
        if let (None, Some(distribution)) = (own, service.traffic_distribution) {
            return Self::Failover { regions: &[], labels: distribution_labels(distribution) };
        }
        let setting = own.unwrap_or(&mesh.locality_lb);
        if !setting.enabled {
            return Self::Off;
        }
        if !setting.distribute.is_empty() {
            return Self::Distribute(setting);
        }
        if policy.blocks.outlier_detection.is_none() {
            return Self::Off;
        }
        Self::Failover { regions: &setting.failover, labels: setting.failover_priority.clone() }
    }

    /// Whether the proxy's locality matters.
    #[must_use]
    pub fn needs_locality(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Distribute(_) => true,
            Self::Failover { regions, labels } => labels.is_empty() || !regions.is_empty(),
        }
    }

    /// The labels of the proxy that matter.
    #[must_use]
    pub fn label_keys(&self) -> Vec<Arc<str>> {
        let Self::Failover { labels, .. } = self else { return Vec::new() };
        let mut keys: Vec<Arc<str>> = labels.iter().filter(|l| !l.contains('=')).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Whether Envoy weighs localities: only where a user gave an order or shares, because it changes what
    /// algorithms like least request do.
    #[must_use]
    pub fn weighs_localities(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Distribute(_) => true,
            Self::Failover { regions, labels } => !regions.is_empty() || !labels.is_empty(),
        }
    }

    pub(super) fn apply(&self, groups: &mut Vec<Group<'_>>, client: &ClientFacts) {
        match self {
            Self::Off => {}
            Self::Distribute(setting) => distribute::apply(groups, &client.locality, &setting.distribute),
            Self::Failover { regions, labels } => {
                if !labels.is_empty() {
                    failover::by_labels(groups, labels, &client.labels);
                }
                if labels.is_empty() || !regions.is_empty() {
                    failover::by_locality(groups, &client.locality, regions);
                }
                failover::close_gaps(groups);
            }
        }
    }
}

/// The order of preference that `trafficDistribution` means.
fn distribution_labels(distribution: TrafficDistribution) -> Vec<Arc<str>> {
    let keys: &[&str] = match distribution {
        TrafficDistribution::PreferSameZone => &[label::NETWORK, label::REGION, label::ZONE],
        TrafficDistribution::PreferSameNode => {
            &[label::NETWORK, label::REGION, label::ZONE, label::SUBZONE, label::HOSTNAME]
        }
    };
    keys.iter().map(|k| Arc::from(*k)).collect()
}

/// Whether a locality matches a pattern such as `region/zone/*`; missing and `*` parts match everything.
pub(super) fn matches(locality: &Locality, pattern: &str) -> bool {
    let mut parts = pattern.splitn(3, '/');
    let mut part = |value: &str, may_miss: bool| match parts.next() {
        None | Some("") => may_miss || value.is_empty(),
        Some("*") => true,
        Some(wanted) => wanted == value,
    };
    part(&locality.region, false) && part(&locality.zone, true) && part(&locality.subzone, true)
}
