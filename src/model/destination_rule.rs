//! DestinationRules: what clients do on the way to a service (translation §4.2–§4.5).
//!
//! ```text
//!  DestinationRule ─┐ merge (same host, same namespace)      pick (client namespace, labels)
//!  DestinationRule ─┴──────────► MergedRule ──► NamespaceRules ──► MergedRule ──► EffectivePolicy
//!                                                                   (+ subset, port, mesh defaults)
//! ```

mod merge;
mod policy;
mod selection;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

pub use merge::{MergedRule, Scope, merge};
pub use policy::{EffectivePolicy, effective_policy};
pub use selection::{Candidates, NamespaceRules, host_patterns};

use super::{Age, Host, Labels, Namespace, ObjectRef, Visibility, locality_lb::LocalityLb};

/// A non-negative decimal number in millionths, so that policies can be compared and hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decimal(u64);

impl Decimal {
    const ONE: f64 = 1_000_000.0;

    /// The nearest decimal; negative numbers and NaN become zero, huge ones saturate.
    #[must_use]
    pub fn from_f64(value: f64) -> Self {
        Self((value * Self::ONE).round() as u64)
    }

    /// The number.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::ONE
    }
}

/// One DestinationRule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRule {
    /// The object.
    pub object: ObjectRef,
    /// Decides conflicts, oldest first.
    pub age: Age,
    /// The namespace of the object.
    pub namespace: Namespace,
    /// The FQDN it is about, in lower case, possibly with a leading `*.`, or `*`.
    pub host: Host,
    /// The policy of all subsets.
    pub policy: Option<Arc<TrafficPolicy>>,
    /// Named subsets of the members.
    pub subsets: Vec<Subset>,
    /// To whom it applies; with a workload selector, its own namespace. `None` is the mesh's default.
    pub visibility: Option<Visibility>,
    /// Clients with these labels only, in its own namespace only.
    pub workload_selector: Option<Labels>,
}

impl DestinationRule {
    /// Whether clients of its own namespace alone see it (`exportTo: ["."]`; always with a workload selector).
    #[must_use]
    pub fn is_private(&self) -> bool {
        match self.visibility() {
            Visibility::Public => false,
            Visibility::Namespaces(set) => set.len() == 1 && set.contains(&self.namespace),
        }
    }

    /// Who sees it, when the mesh's default was put in its place already: without one, everybody.
    fn visibility(&self) -> &Visibility {
        self.visibility.as_ref().unwrap_or(&Visibility::Public)
    }

    /// Where the object says these very TLS settings; `None` when they are another object's.
    #[must_use]
    pub fn path_of_tls(&self, tls: &Arc<ClientTls>) -> Option<String> {
        let is_it = |blocks: &PolicyBlocks| blocks.tls.as_ref().is_some_and(|own| Arc::ptr_eq(own, tls));
        let within = |policy: &TrafficPolicy| match is_it(&policy.blocks) {
            true => Some("trafficPolicy.tls".to_owned()),
            false => {
                let port = policy.ports.iter().position(|(_, blocks)| is_it(blocks))?;
                Some(format!("trafficPolicy.portLevelSettings[{port}].tls"))
            }
        };
        let own = self.policy.as_deref().and_then(within).map(|path| format!("spec.{path}"));
        own.or_else(|| {
            let mut subsets = self.subsets.iter().enumerate();
            subsets.find_map(|(n, s)| Some(format!("spec.subsets[{n}].{}", within(s.policy.as_deref()?)?)))
        })
    }
}

/// A named subset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subset {
    /// Its name.
    pub name: Arc<str>,
    /// Labels that its members have.
    pub labels: Labels,
    /// What differs from the rule's policy.
    pub policy: Option<Arc<TrafficPolicy>>,
}

/// `trafficPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficPolicy {
    /// The four blocks that a port may replace.
    pub blocks: PolicyBlocks,
    /// By service port number; a port's blocks replace all four.
    pub ports: Vec<(u16, PolicyBlocks)>,
    /// CONNECT tunnelling of TCP routes.
    pub tunnel: Option<Arc<Tunnel>>,
    /// A PROXY protocol header for members.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How many retries may be under way.
    pub retry_budget: Option<RetryBudget>,
}

/// The blocks that `portLevelSettings` replace together. They are shared: policies are combined by block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicyBlocks {
    /// `connectionPool`.
    pub connection_pool: Option<Arc<ConnectionPool>>,
    /// `outlierDetection`.
    pub outlier_detection: Option<Arc<OutlierDetection>>,
    /// `loadBalancer`.
    pub load_balancer: Option<Arc<LoadBalancer>>,
    /// `tls`.
    pub tls: Option<Arc<ClientTls>>,
}

/// `h2UpgradePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum H2Upgrade {
    /// As the mesh says.
    #[default]
    Default,
    /// Never.
    DoNotUpgrade,
    /// HTTP/2 with prior knowledge.
    Upgrade,
}

/// `connectionPool`, TCP and HTTP. Zero counts are unset, as in Istio.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionPool {
    /// `tcp.maxConnections`.
    pub max_connections: u32,
    /// `tcp.connectTimeout`.
    pub connect_timeout: Option<Duration>,
    /// `tcp.tcpKeepalive`.
    pub keepalive: Option<TcpKeepalive>,
    /// `tcp.maxConnectionDuration`.
    pub max_connection_duration: Option<Duration>,
    /// `tcp.idleTimeout`; also of TCP listeners.
    pub tcp_idle_timeout: Option<Duration>,
    /// `http.idleTimeout`.
    pub http_idle_timeout: Option<Duration>,
    /// `http.http1MaxPendingRequests`.
    pub max_pending_requests: u32,
    /// `http.http2MaxRequests`.
    pub max_requests: u32,
    /// `http.maxRequestsPerConnection`.
    pub max_requests_per_connection: u32,
    /// `http.maxRetries`.
    pub max_retries: u32,
    /// `http.maxConcurrentStreams`.
    pub max_concurrent_streams: u32,
    /// `http.h2UpgradePolicy`.
    pub h2_upgrade: H2Upgrade,
    /// `http.useClientProtocol`.
    pub use_client_protocol: bool,
    /// `http.http2KeepAlive`.
    pub http2_keepalive: Option<Http2Keepalive>,
}

/// TCP keepalive; `None` is the operating system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpKeepalive {
    /// Probes without an answer before the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// HTTP/2 pings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Http2Keepalive {
    /// Time between pings.
    pub interval: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Option<Duration>,
}

/// `outlierDetection`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OutlierDetection {
    /// `consecutive5xxErrors`; zero switches it off, `None` is Envoy's default.
    pub consecutive_5xx: Option<u32>,
    /// `consecutiveGatewayErrors`; zero switches it off.
    pub consecutive_gateway: Option<u32>,
    /// `splitExternalLocalOriginErrors`.
    pub split_local_origin: bool,
    /// `consecutiveLocalOriginFailures`.
    pub consecutive_local_origin: Option<u32>,
    /// `interval`.
    pub interval: Option<Duration>,
    /// `baseEjectionTime`.
    pub base_ejection_time: Option<Duration>,
    /// `maxEjectionPercent`; zero is unset.
    pub max_ejection_percent: u32,
    /// `minHealthPercent`; zero is unset.
    pub min_health_percent: u32,
    /// `outlierDetectionHttpErrorCodes`: the statuses that count as errors; empty is 5xx.
    pub http_error_codes: Vec<u32>,
}

/// `loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LoadBalancer {
    /// How a member is chosen.
    pub algorithm: LbAlgorithm,
    /// `localityLbSetting`.
    pub locality: Option<LocalityLb>,
    /// `warmup`, or the older `warmupDurationSecs`.
    pub warmup: Option<Warmup>,
}

/// How a member is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum LbAlgorithm {
    /// The fewer requests of two random members (also when nothing is said).
    #[default]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// The address that the client meant.
    Passthrough,
    /// By hash.
    ConsistentHash {
        /// What is hashed; `None` is never the case for valid objects, and hashes nothing.
        key: Option<HashKey>,
        /// The table.
        ring: HashRing,
    },
}

/// What consistent hashing looks at (the routes' `hash_policy`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// A header.
    Header(Arc<str>),
    /// A cookie, set by Envoy when it has a time to live.
    Cookie {
        /// Its name.
        name: Arc<str>,
        /// Its path.
        path: Arc<str>,
        /// Its time to live; zero makes a session cookie.
        ttl: Option<Duration>,
        /// More attributes as name and value.
        attributes: Vec<(Arc<str>, Arc<str>)>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    QueryParameter(Arc<str>),
}

/// Tables of consistent hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashRing {
    /// Ketama, with at least so many entries.
    Ring {
        /// Entries.
        minimum_size: u64,
    },
    /// Maglev, with so many entries when said.
    Maglev {
        /// Entries; a prime.
        table_size: Option<u64>,
    },
}

/// New members get their share slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Warmup {
    /// How long.
    pub duration: Duration,
    /// The share at the beginning in percent; `None` is Envoy's 10.
    pub minimum_percent: Option<Decimal>,
    /// The exponent of growth; `None` is linear.
    pub aggression: Option<Decimal>,
}

/// `tls.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientTlsMode {
    /// Plaintext.
    #[default]
    Disable,
    /// TLS; the server is verified.
    Simple,
    /// TLS; both are verified.
    Mutual,
    /// Mutual TLS with the workload's own certificate.
    IstioMutual,
}

/// `tls`: upstream TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// The mode.
    pub mode: ClientTlsMode,
    /// A file of the proxy.
    pub client_certificate: Arc<str>,
    /// A file of the proxy.
    pub private_key: Arc<str>,
    /// A file of the proxy; empty is the system's CAs.
    pub ca_certificates: Arc<str>,
    /// A Secret or ConfigMap, in place of files.
    pub credential_name: Arc<str>,
    /// Names that the server's certificate may have.
    pub subject_alt_names: Vec<Arc<str>>,
    /// SNI; empty takes the name of the request.
    pub sni: Arc<str>,
    /// Whether the server is not verified.
    pub insecure_skip_verify: bool,
    /// A file of the proxy with revoked certificates.
    pub ca_crl: Arc<str>,
}

/// PROXY protocol versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// `tunnel`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// POST instead of CONNECT.
    pub post: bool,
    /// Where the tunnel leads.
    pub target_host: Arc<str>,
    /// Its port.
    pub target_port: u16,
}

/// `retryBudget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    /// Percent of the active requests; `None` is Envoy's 20.
    pub percent: Option<Decimal>,
    /// Retries that are always allowed; `None` is Envoy's 3.
    pub min_concurrency: Option<u32>,
    /// For how long a finished request still counts.
    pub interval: Option<Duration>,
}
