//! Which facts of a proxy matter to a resource, so that proxies share it whenever those are equal
//! (design §1, facets).

use std::sync::Arc;

use crate::model::{IpFamilies, Labels, Locality, Namespace, Proxy, ProxyKind, workload::label};

/// Which facts of a proxy a resource depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Facets {
    /// Sidecar or gateway.
    pub kind: bool,
    /// Address families.
    pub families: bool,
    /// Where it runs.
    pub locality: bool,
    /// The values of these labels; topology labels come from other facts of the proxy.
    pub labels: Vec<Arc<str>>,
    /// Its node.
    pub node: bool,
    /// The namespace of a gateway, whose Secrets it reads. Sidecars do not differ by it: they read Secrets only for
    /// rules of their own namespace.
    pub gateway_namespace: bool,
}

/// The facts of a proxy that matter; equal facts yield equal resources. Facts that do not matter are default.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientFacts {
    /// Sidecar or gateway.
    pub kind: ProxyKind,
    /// Address families.
    pub families: IpFamilies,
    /// Where it runs.
    pub locality: Locality,
    /// Values of labels; absent ones are missing.
    pub labels: Labels,
    /// Its node; empty is unknown.
    pub node: Arc<str>,
    /// The namespace of a gateway.
    pub gateway_namespace: Option<Namespace>,
}

impl Default for ClientFacts {
    fn default() -> Self {
        Self {
            kind: ProxyKind::Sidecar,
            families: IpFamilies::default(),
            locality: Locality::default(),
            labels: Labels::new(),
            node: "".into(),
            gateway_namespace: None,
        }
    }
}

impl Facets {
    /// What two resources together depend on.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.kind |= other.kind;
        self.families |= other.families;
        self.locality |= other.locality;
        self.node |= other.node;
        self.gateway_namespace |= other.gateway_namespace;
        self.labels.extend(other.labels);
        self.labels.sort();
        self.labels.dedup();
        self
    }

    /// The facts of a proxy that matter.
    #[must_use]
    pub fn of(&self, proxy: &Proxy) -> ClientFacts {
        let mut facts = ClientFacts::default();
        if self.kind {
            facts.kind = proxy.kind;
        }
        if self.families {
            facts.families = IpFamilies::of(&proxy.ips);
        }
        if self.locality {
            facts.locality = proxy.locality.clone();
        }
        if self.node {
            facts.node = proxy.node_name.clone();
        }
        if self.gateway_namespace && proxy.kind == ProxyKind::Router {
            facts.gateway_namespace = Some(proxy.namespace.clone());
        }
        let values = self.labels.iter().filter_map(|key| Some((key.to_string(), label_of(proxy, key)?)));
        facts.labels = values.collect();
        facts
    }
}

/// A label of a proxy, those of topology included.
fn label_of(proxy: &Proxy, key: &str) -> Option<String> {
    let known = match key {
        label::REGION => &proxy.locality.region,
        label::ZONE => &proxy.locality.zone,
        label::SUBZONE => &proxy.locality.subzone,
        label::CLUSTER => &proxy.cluster_id,
        label::NETWORK => &proxy.network,
        label::HOSTNAME => &proxy.node_name,
        _ => return proxy.labels.get(key).cloned(),
    };
    (!known.is_empty()).then(|| known.to_string()).or_else(|| proxy.labels.get(key).cloned())
}
