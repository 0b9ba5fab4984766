//! The mesh configuration as translation uses it (translation §9.5).

use std::{sync::Arc, time::Duration};

use super::{
    ExportDefaults,
    destination_rule::{ConnectionPool, OutlierDetection, TcpKeepalive},
    gateway::TlsVersion,
    locality_lb::LocalityLb,
    service::Namespace,
    virtual_service::Retries,
};

/// What happens to traffic to unknown destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OutboundPolicy {
    /// It passes through.
    #[default]
    AllowAny,
    /// It is refused.
    RegistryOnly,
}

/// Access log encoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum AccessLogEncoding {
    /// Text lines.
    #[default]
    Text,
    /// JSON objects.
    Json,
}

/// Mesh-wide settings. `Default` is Istio's compiled-in default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// The trust domain of identities.
    pub trust_domain: Arc<str>,
    /// The host by which proxies know the control plane (`defaultConfig.discoveryAddress`); empty where nothing is said.
    pub discovery_host: Arc<str>,
    /// The namespace of mesh-wide configuration.
    pub root_namespace: Namespace,
    /// The suffix of Kubernetes host names (`--domain`).
    pub domain_suffix: Arc<str>,
    /// Port of the sidecars' virtual outbound listener.
    pub proxy_listen_port: u16,
    /// Port of the sidecars' virtual inbound listener.
    pub proxy_inbound_listen_port: u16,
    /// A forward proxy listener on sidecars; 0 is none.
    pub proxy_http_port: u16,
    /// Whether workloads that an unenforced policy selects deny everything (design §2 truth 5).
    pub deny_unenforced: bool,
    /// Default connect timeout.
    pub connect_timeout: Duration,
    /// How long to sniff before giving up; zero is for ever.
    pub protocol_detection_timeout: Duration,
    /// DNS refresh of DNS clusters.
    pub dns_refresh_rate: Duration,
    /// Unknown destinations.
    pub outbound_policy: OutboundPolicy,
    /// Locality-aware load balancing of services whose DestinationRule says nothing.
    pub locality_lb: LocalityLb,
    /// `HTTP/1.1` ports are upgraded to HTTP/2 upstream.
    pub h2_upgrade: bool,
    /// Where access logs go; empty is off.
    pub access_log_file: Arc<str>,
    /// Text or JSON.
    pub access_log_encoding: AccessLogEncoding,
    /// The format; empty is Istio's default.
    pub access_log_format: Arc<str>,
    /// Whether proxies tell Istio's metrics (`defaultProviders.metrics` has `prometheus`, or is not there).
    pub metrics: bool,
    /// Who sees objects that say nothing (`default{Service,VirtualService,DestinationRule}ExportTo`).
    pub export_defaults: ExportDefaults,
    /// Retries of HTTP routes that say nothing (`defaultHttpRetryPolicy`); `None` is Istio's default.
    pub default_retries: Option<Retries>,
    /// TCP keepalive of upstream connections; a DestinationRule's fields go over it one by one.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `defaultTrafficPolicy.connectionPool`: of clusters whose rules have none.
    pub default_connection_pool: Option<Arc<ConnectionPool>>,
    /// `defaultTrafficPolicy.outlierDetection`: of clusters whose rules have none.
    pub default_outlier_detection: Option<Arc<OutlierDetection>>,
    /// `tlsDefaults.ecdhCurves` of TLS that is not mutual TLS of the mesh; empty is Envoy's.
    pub tls_ecdh_curves: Vec<Arc<str>>,
    /// `tlsDefaults.minProtocolVersion`; `None` is TLS_AUTO, which is 1.2.
    pub tls_min_version: Option<TlsVersion>,
    /// `tlsDefaults.cipherSuites`; empty is Envoy's.
    pub tls_cipher_suites: Vec<Arc<str>>,
    /// Connections between workloads of the mesh are mutual TLS unless a rule or the workload says otherwise
    /// (`enableAutoMtls`).
    pub auto_mtls: bool,
    /// `meshMTLS.minProtocolVersion`: of mutual TLS of the mesh; `None` is 1.2.
    pub mtls_min_version: Option<TlsVersion>,
    /// `meshMTLS.cipherSuites`; empty is Istio's list.
    pub mtls_cipher_suites: Vec<Arc<str>>,
    /// `trustDomainAliases`: identities of these are the mesh's too.
    pub trust_domain_aliases: Vec<Arc<str>>,
    /// Connections to a workload go to its loopback address instead of its own (`inboundTrafficPolicy: LOCALHOST`).
    pub inbound_localhost: bool,
    /// Path normalisation: NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES.
    pub path_normalization: PathNormalization,
}

/// How request paths are normalised before matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PathNormalization {
    /// Not at all.
    None,
    /// RFC 3986.
    #[default]
    Base,
    /// And slashes merged.
    MergeSlashes,
    /// And escaped slashes decoded first.
    DecodeAndMergeSlashes,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".into(),
            discovery_host: "".into(),
            root_namespace: "istio-system".into(),
            domain_suffix: "cluster.local".into(),
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            proxy_http_port: 0,
            deny_unenforced: true,
            connect_timeout: Duration::from_secs(10),
            protocol_detection_timeout: Duration::ZERO,
            dns_refresh_rate: Duration::from_secs(60),
            outbound_policy: OutboundPolicy::AllowAny,
            locality_lb: LocalityLb::default(),
            h2_upgrade: false,
            access_log_file: "".into(),
            access_log_encoding: AccessLogEncoding::Text,
            access_log_format: "".into(),
            metrics: true,
            export_defaults: ExportDefaults::default(),
            default_retries: None,
            tcp_keepalive: None,
            default_connection_pool: None,
            default_outlier_detection: None,
            tls_ecdh_curves: Vec::new(),
            tls_min_version: None,
            tls_cipher_suites: Vec::new(),
            auto_mtls: true,
            mtls_min_version: None,
            mtls_cipher_suites: Vec::new(),
            trust_domain_aliases: Vec::new(),
            inbound_localhost: false,
            path_normalization: PathNormalization::Base,
        }
    }
}
