//! A proxy as it introduces itself in its first xDS request (contract §2.1).

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

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

/// The IP families of a proxy, the primary one first: the only thing that its addresses decide about wildcard
/// listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpFamilies {
    /// IPv4 only.
    #[default]
    V4,
    /// IPv6 only.
    V6,
    /// Both, IPv4 first.
    V4V6,
    /// Both, IPv6 first.
    V6V4,
}

impl IpFamilies {
    /// The families of a proxy's addresses; IPv4 when there are none.
    #[must_use]
    pub fn of(ips: &[IpAddr]) -> Self {
        let (v4, v6) = (ips.iter().position(IpAddr::is_ipv4), ips.iter().position(IpAddr::is_ipv6));
        match (v4, v6) {
            (Some(four), Some(six)) if four < six => Self::V4V6,
            (Some(_), Some(_)) => Self::V6V4,
            (None, Some(_)) => Self::V6,
            (_, None) => Self::V4,
        }
    }

    /// Whether the proxy can use an address.
    #[must_use]
    pub const fn supports(self, ip: IpAddr) -> bool {
        match self {
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
            Self::V4V6 | Self::V6V4 => true,
        }
    }

    /// The wildcard addresses, the primary first.
    #[must_use]
    pub const fn wildcards(self) -> &'static [IpAddr] {
        const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match self {
            Self::V4 => &[V4],
            Self::V6 => &[V6],
            Self::V4V6 => &[V4, V6],
            Self::V6V4 => &[V6, V4],
        }
    }

    /// The primary wildcard address.
    #[must_use]
    pub const fn wildcard(self) -> IpAddr {
        self.wildcards()[0]
    }

    /// The primary loopback address.
    #[must_use]
    pub const fn loopback(self) -> IpAddr {
        match self {
            Self::V4 | Self::V4V6 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 | Self::V6V4 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
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
    /// The port of its forward proxy (`HTTP_PROXY_PORT`), when it says one; 0 is none.
    pub http_proxy_port: Option<u16>,
    /// Whether it takes virtual hosts one by one (VHDS); others get whole route configurations.
    pub discovers_hosts: bool,
    /// Whether its agent answers the workload's questions for names (`DNS_CAPTURE`), and asks for the table of them.
    pub dns_capture: bool,
    /// The whole metadata, as canonical JSON with sorted keys: EnvoyFilter's `match.proxy.metadata` may look at
    /// any of it, and `config_dump` shows it.
    pub metadata: Arc<str>,
}
