//! The policy of one cluster: rule, subset, port and mesh together (translation §4.2).

use std::sync::Arc;

use super::{HashKey, LbAlgorithm, MergedRule, PolicyBlocks, ProxyProtocol, RetryBudget, TrafficPolicy, Tunnel};
use crate::model::MeshConfig;

/// What holds for one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EffectivePolicy {
    /// The four blocks.
    pub blocks: PolicyBlocks,
    /// CONNECT tunnelling of TCP routes.
    pub tunnel: Option<Arc<Tunnel>>,
    /// A PROXY protocol header for members.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How many retries may be under way.
    pub retry_budget: Option<RetryBudget>,
}

impl EffectivePolicy {
    /// What consistent hashing looks at, if that is how members are chosen.
    #[must_use]
    pub fn hash_key(&self) -> Option<HashKey> {
        match &self.blocks.load_balancer.as_ref()?.algorithm {
            LbAlgorithm::ConsistentHash { key, .. } => key.clone(),
            _ => None,
        }
    }

    fn of(policy: &TrafficPolicy, port: u16) -> Self {
        let port_blocks = policy.ports.iter().find(|(number, _)| *number == port).map(|(_, blocks)| blocks);
        Self {
            blocks: port_blocks.unwrap_or(&policy.blocks).clone(),
            tunnel: policy.tunnel.clone(),
            proxy_protocol: policy.proxy_protocol,
            retry_budget: policy.retry_budget,
        }
    }

    /// Takes what a subset says, block by block.
    fn override_with(&mut self, subset: &TrafficPolicy, port: u16) {
        fn take<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        let blocks = &mut self.blocks;
        take(&mut blocks.connection_pool, &subset.blocks.connection_pool);
        take(&mut blocks.outlier_detection, &subset.blocks.outlier_detection);
        take(&mut blocks.load_balancer, &subset.blocks.load_balancer);
        take(&mut blocks.tls, &subset.blocks.tls);
        take(&mut self.tunnel, &subset.tunnel);
        take(&mut self.proxy_protocol, &subset.proxy_protocol);
        take(&mut self.retry_budget, &subset.retry_budget);
        if let Some((_, port_blocks)) = subset.ports.iter().find(|(number, _)| *number == port) {
            self.blocks = port_blocks.clone();
        }
    }

    fn fill_from_mesh(&mut self, mesh: &MeshConfig) {
        let blocks = &mut self.blocks;
        blocks.connection_pool = blocks.connection_pool.take().or_else(|| mesh.default_connection_pool.clone());
        blocks.outlier_detection = blocks.outlier_detection.take().or_else(|| mesh.default_outlier_detection.clone());
    }
}

/// The policy of one port and subset (empty name: the whole service) under a rule; `None` when the rule has no
/// such subset, which yields no cluster. Without a rule the mesh decides.
#[must_use]
pub fn effective_policy(
    rule: Option<&MergedRule>,
    subset: &str,
    port: u16,
    mesh: &MeshConfig,
) -> Option<EffectivePolicy> {
    let mut policy = rule.and_then(|r| r.policy.as_deref()).map(|p| EffectivePolicy::of(p, port)).unwrap_or_default();
    policy.fill_from_mesh(mesh);
    if !subset.is_empty() {
        let found = rule?.subset(subset)?;
        if let Some(own) = &found.policy {
            policy.override_with(own, port);
        }
    }
    Some(policy)
}
