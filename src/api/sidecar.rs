//! Sidecar: what a workload's proxy reaches and how it is reached.

use super::common::{Destination, Status, WorkloadSelector};
use super::gateway::ServerTlsSettings;
use super::traffic_policy::ConnectionPoolSettings;
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Narrows or extends what the proxies of a namespace, or of some of its workloads, are configured with.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "Sidecar",
    plural = "sidecars",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    category = "istio-io",
    category = "networking-istio-io"
)]
#[serde(rename_all = "camelCase")]
pub struct SidecarSpec {
    /// Workloads it is for; by default all of the namespace.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub workload_selector: Option<WorkloadSelector>,
    /// Inbound listeners; by default from the workload's services.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ingress: Vec<IstioIngressListener>,
    /// Outbound listeners; by default everything visible.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub egress: Vec<IstioEgressListener>,
    /// Limits on inbound connections.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub inbound_connection_pool: Option<ConnectionPoolSettings>,
    /// What happens to traffic for unknown hosts.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// An inbound listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IstioIngressListener {
    /// Port to listen on.
    pub port: SidecarPort,
    /// Address to listen on; not with iptables capture.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub bind: String,
    /// How traffic gets to the listener.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub capture_mode: CaptureMode,
    /// Where it goes: `127.0.0.1:port`, `[::1]:port`, `0.0.0.0:port`, `[::]:port` or `unix://path`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub default_endpoint: String,
    /// TLS of the listener.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls: Option<ServerTlsSettings>,
    /// Limits; replaces `inboundConnectionPool`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub connection_pool: Option<ConnectionPoolSettings>,
}

/// An outbound listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IstioEgressListener {
    /// Port it is for; by default all ports of the hosts.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub port: Option<SidecarPort>,
    /// Address or Unix socket to listen on.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub bind: String,
    /// How traffic gets to the listener.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub capture_mode: CaptureMode,
    /// Services that are reachable, as `namespace/host`; `*`, `.` and `~` stand for any, own and no namespace.
    pub hosts: Vec<String>,
}

/// Port of a Sidecar's listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SidecarPort {
    /// Port number.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub number: u32,
    /// HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub protocol: String,
    /// Name of the port.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// Reserved; not honoured.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub target_port: u32,
}

/// What happens to traffic for unknown hosts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboundTrafficPolicy {
    /// Whether it passes.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mode: OutboundTrafficMode,
    /// A service that takes it instead.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub egress_proxy: Option<Destination>,
}

/// Whether traffic for unknown hosts passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundTrafficMode {
    /// It is refused.
    #[default]
    RegistryOnly,
    /// It goes where it was addressed to.
    AllowAny,
}

/// How traffic gets to a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaptureMode {
    /// As the mesh says.
    #[default]
    Default,
    /// By redirection.
    Iptables,
    /// The application connects to the listener itself.
    None,
}
