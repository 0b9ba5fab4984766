//! Traffic policies: how connections to a service are made. Used by DestinationRule and Sidecar.

use super::common::PortSelector;
use super::load_balancer::LoadBalancerSettings;
use super::{Duration, is_unset, null_is_unset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How connections to a service are made.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicy {
    /// How endpoints are chosen.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits on connections and requests.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When failing endpoints are set aside.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS of the connections.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls: Option<ClientTlsSettings>,
    /// Policies of single ports; each replaces the whole policy for its port.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 4096))]
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Carries TCP in HTTP CONNECT or POST.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tunnel: Option<TunnelSettings>,
    /// Sends the PROXY protocol header upstream.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Share of requests that may be retries.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub retry_budget: Option<RetryBudget>,
}

/// Policy of one port.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortTrafficPolicy {
    /// The port of the service.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub port: Option<PortSelector>,
    /// How endpoints are chosen.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits on connections and requests.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When failing endpoints are set aside.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS of the connections.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls: Option<ClientTlsSettings>,
}

/// A tunnel for TCP.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TunnelSettings {
    /// `CONNECT` (the default) or `POST`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub protocol: String,
    /// Host that the tunnel leads to.
    pub target_host: String,
    /// Port that the tunnel leads to.
    pub target_port: u32,
}

/// The PROXY protocol header.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyProtocol {
    /// Which form of it.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub version: ProxyProtocolVersion,
}

/// Forms of the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProxyProtocolVersion {
    /// Text.
    #[default]
    V1,
    /// Binary.
    V2,
}

/// Bounds concurrent retries.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// Share of active requests that may be retries, in percent; 20 by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0, max = 100), extend("nullable" = true))]
    pub percent: Option<f64>,
    /// Retries that are always allowed; 3 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub min_retry_concurrency: u32,
    /// Period over which requests count; the moment by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(with = "Option<String>")]
    pub budget_interval: Option<Duration>,
}

/// Limits on connections and requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionPoolSettings {
    /// Limits for all connections.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tcp: Option<TcpSettings>,
    /// Limits for HTTP.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub http: Option<HttpSettings>,
}

/// Limits for all connections.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpSettings {
    /// Connections to one service; no limit by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub max_connections: i32,
    /// How long a connection may take to open; 10 s by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub connect_timeout: Option<Duration>,
    /// Keep-alive probes.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How long a connection may live.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub max_connection_duration: Option<Duration>,
    /// How long a TCP connection may be idle; `0s` means for ever.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(with = "Option<String>")]
    pub idle_timeout: Option<Duration>,
}

/// TCP keep-alive probes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dropped.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub probes: u32,
    /// Idle time before the first probe.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub time: Option<Duration>,
    /// Time between probes.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub interval: Option<Duration>,
}

/// Limits for HTTP.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSettings {
    /// Requests that may wait for a connection.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub http1_max_pending_requests: i32,
    /// Requests in flight.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub http2_max_requests: i32,
    /// Requests before a connection is closed; 0 means no limit, 1 turns keep-alive off.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub max_requests_per_connection: i32,
    /// Retries in flight.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub max_retries: i32,
    /// How long a connection without requests stays open.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 becomes HTTP/2 upstream.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Keeps the protocol of the client; the upgrade policy is then void.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub use_client_protocol: bool,
    /// Streams of one HTTP/2 connection.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub max_concurrent_streams: i32,
    /// HTTP/2 PING frames.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// HTTP/2 PING frames that check a connection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Http2KeepAlive {
    /// Time between them.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub interval: Option<Duration>,
    /// How long an answer may take.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub timeout: Option<Duration>,
}

/// Whether HTTP/1.1 becomes HTTP/2 upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    /// As the mesh says.
    #[default]
    Default,
    /// Never.
    DoNotUpgrade,
    /// Always.
    Upgrade,
}

/// When failing endpoints are set aside.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Deprecated; see `consecutiveGatewayErrors`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub consecutive_errors: i32,
    /// Counts local errors (refused, timed out) apart.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub split_external_local_origin_errors: bool,
    /// Local errors in a row; 5 by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub consecutive_local_origin_failures: Option<u32>,
    /// Answers 502, 503, 504 in a row; 0 turns it off.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub consecutive_gateway_errors: Option<u32>,
    /// Answers 5xx in a row; 5 by default, 0 turns it off.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub consecutive_5xx_errors: Option<u32>,
    /// Time between checks; 10 s by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub interval: Option<Duration>,
    /// Shortest absence, multiplied by how often it happened; 30 s by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub base_ejection_time: Option<Duration>,
    /// Share of endpoints that may be absent, in percent; 10 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub max_ejection_percent: i32,
    /// Share of healthy endpoints below which detection is off; 0 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub min_health_percent: i32,
    /// Status codes that count as failures.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(inner(range(min = 100, max = 599)))]
    pub outlier_detection_http_error_codes: Vec<u32>,
}

/// TLS of connections to a service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientTlsSettings {
    /// Whether and how TLS is used.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mode: ClientTlsMode,
    /// File with the client's certificate chain.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub client_certificate: String,
    /// File with the client's key.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub private_key: String,
    /// File with the CAs that are trusted.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ca_certificates: String,
    /// Secret that holds all of these instead.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub credential_name: String,
    /// Names of which the server must carry one.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub subject_alt_names: Vec<String>,
    /// Server name that is sent.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub sni: String,
    /// Accepts any certificate.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub insecure_skip_verify: Option<bool>,
    /// File with revoked certificates.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ca_crl: String,
}

/// Whether and how TLS is used to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// Not at all.
    #[default]
    Disable,
    /// The server is checked.
    Simple,
    /// Both are checked, with the certificates given here.
    Mutual,
    /// Both are checked, with the mesh's certificates.
    IstioMutual,
}
