//! A proxy as it introduces itself in its first xDS request (contract §2.1).

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

/// What a proxy is for: the first part of its node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyKind {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
}

/// Where a workload or an endpoint runs. Empty strings are unknown parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// The region.
    pub region: Arc<str>,
    /// The zone.
    pub zone: Arc<str>,
    /// The sub-zone.
    pub subzone: Arc<str>,
}

impl fmt::Display for Locality {
    /// `region/zone/subzone`, without trailing empty parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}/{}/{}", self.region, self.zone, self.subzone);
        f.write_str(text.trim_end_matches('/'))
    }
}

/// How traffic reaches a sidecar (`INTERCEPTION_MODE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InterceptionMode {
    /// iptables REDIRECT.
    #[default]
    Redirect,
    /// iptables TPROXY.
    Tproxy,
    /// No interception: listeners bind real ports.
    None,
}

/// A proxy's facts. Whatever the engine shares between proxies is keyed by the few of them that matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Sidecar or gateway.
    pub kind: ProxyKind,
    /// `<pod>.<namespace>`, the third part of the node id.
    pub id: Arc<str>,
    /// The namespace whose configuration applies.
    pub namespace: Arc<str>,
    /// All addresses, the primary first; never empty.
    pub ips: Vec<IpAddr>,
    /// The DNS domain of the node id, e.g. `default.svc.cluster.local`.
    pub dns_domain: Arc<str>,
    /// The workload's labels as the proxy tells them.
    pub labels: BTreeMap<String, String>,
    /// Where it runs.
    pub locality: Locality,
    /// The cluster it runs in (`CLUSTER_ID`).
    pub cluster_id: Arc<str>,
    /// The network it is on (`NETWORK`).
    pub network: Arc<str>,
    /// The node it runs on (`NODE_NAME`).
    pub node_name: Arc<str>,
    /// Istio's version as the agent tells it (`ISTIO_VERSION`); empty is treated as newest.
    pub istio_version: Arc<str>,
    /// The service account it says it has (`SERVICE_ACCOUNT`).
    pub service_account: Arc<str>,
    /// How traffic reaches it.
    pub interception: InterceptionMode,
    /// Whether it may not bind ports below 1024 (`UNPRIVILEGED_POD`).
    pub unprivileged: bool,
    /// The whole metadata, as canonical JSON with sorted keys: EnvoyFilter's `match.proxy.metadata` may look at
    /// any of it, and `config_dump` shows it.
    pub metadata: Arc<str>,
}
