//! Where traffic goes by locality: of the mesh and of DestinationRules.

use std::sync::Arc;

/// Locality-aware load balancing (`localityLbSetting`; translation §4.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalityLb {
    /// Whether it is on.
    pub enabled: bool,
    /// Where traffic from a locality goes.
    pub distribute: Vec<Distribute>,
    /// From region to region.
    pub failover: Vec<(Arc<str>, Arc<str>)>,
    /// Labels in order of priority, `key` or `key=value`.
    pub failover_priority: Vec<Arc<str>>,
}

/// Traffic shares of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Distribute {
    /// The pattern of the proxy's locality, e.g. `region/zone/*`.
    pub from: Arc<str>,
    /// Patterns of endpoint localities with their weights in percent.
    pub to: Vec<(Arc<str>, u32)>,
}

impl Default for LocalityLb {
    fn default() -> Self {
        Self { enabled: true, distribute: Vec::new(), failover: Vec::new(), failover_priority: Vec::new() }
    }
}
