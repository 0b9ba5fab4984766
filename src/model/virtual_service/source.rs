//! Conditions on the proxy: they are decided when routes are made, not per request.

use super::{GatewayName, VirtualService};
use crate::model::{Labels, Namespace};

/// Which proxies have a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SourceMatch {
    /// Labels of the workload; empty is any.
    pub labels: Labels,
    /// The namespace of the workload.
    pub namespace: Option<Namespace>,
    /// Gateways; empty is any that the object is bound to.
    pub gateways: Vec<GatewayName>,
}

impl SourceMatch {
    /// Whether an HTTP rule applies: gateways, when given, are all that counts (translation §6.3).
    #[must_use]
    pub fn admits_http(&self, gateways: &[GatewayName], labels: &Labels, namespace: &str) -> bool {
        match self.gateways.as_slice() {
            [] => self.admits_workload(labels, namespace),
            _ => self.admits_gateway(gateways),
        }
    }

    /// Whether a TLS or TCP rule applies: every condition counts (translation §3.2).
    #[must_use]
    pub fn admits_l4(&self, gateways: &[GatewayName], labels: &Labels, namespace: &str) -> bool {
        (self.gateways.is_empty() || self.admits_gateway(gateways)) && self.admits_workload(labels, namespace)
    }

    fn admits_gateway(&self, gateways: &[GatewayName]) -> bool {
        self.gateways.iter().any(|g| gateways.contains(g))
    }

    fn admits_workload(&self, labels: &Labels, namespace: &str) -> bool {
        self.labels.iter().all(|(k, v)| labels.get(k) == Some(v))
            && self.namespace.as_deref().is_none_or(|n| n == namespace)
    }
}

/// Which facts about a proxy the rules of a `VirtualService` look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SourceFacets {
    /// Labels of the workload.
    pub uses_labels: bool,
    /// Its namespace.
    pub uses_namespace: bool,
}

impl SourceFacets {
    /// What the HTTP rules look at. Rules behind a delegate are not seen: ask for the delegates too.
    #[must_use]
    pub fn of_http(vs: &VirtualService) -> Self {
        let sources = vs.http.iter().flat_map(|h| &h.matches).map(|m| &m.source);
        // Gateways, when given, hide the other two (translation §6.3).
        Self::of(sources.filter(|s| s.gateways.is_empty()))
    }

    /// What the TLS and TCP rules look at.
    #[must_use]
    pub fn of_l4(vs: &VirtualService) -> Self {
        let tls = vs.tls.iter().flat_map(|t| &t.matches).map(|m| &m.source);
        let tcp = vs.tcp.iter().flat_map(|t| &t.matches).map(|m| &m.source);
        Self::of(tls.chain(tcp))
    }

    /// What either looks at.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            uses_labels: self.uses_labels || other.uses_labels,
            uses_namespace: self.uses_namespace || other.uses_namespace,
        }
    }

    fn of<'a>(sources: impl Iterator<Item = &'a SourceMatch>) -> Self {
        sources.fold(Self::default(), |sum, s| {
            sum.or(Self { uses_labels: !s.labels.is_empty(), uses_namespace: s.namespace.is_some() })
        })
    }
}
