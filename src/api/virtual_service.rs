//! VirtualService: how requests to some hosts are routed.

use super::common::{Destination, Status};
use super::http_route::HttpRoute;
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Routes of one or more hosts.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "VirtualService",
    plural = "virtualservices",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "vs",
    category = "istio-io",
    category = "networking-istio-io",
    printcolumn = r#"{"name": "Gateways", "type": "string", "jsonPath": ".spec.gateways"}"#,
    printcolumn = r#"{"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceSpec {
    /// Hosts that are routed: names of services, DNS names, wildcards, addresses.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub hosts: Vec<String>,
    /// Gateways (`namespace/name` or `name`) that apply the routes; `mesh` means all sidecars, and is the default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub gateways: Vec<String>,
    /// Routes of HTTP traffic; the first match wins.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub http: Vec<HttpRoute>,
    /// Routes of TLS traffic that is passed through, by SNI.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub tls: Vec<TlsRoute>,
    /// Routes of opaque TCP traffic.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see the object: `.` its own, `*` all. Empty takes the mesh's default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub export_to: Vec<String>,
}

/// Where TLS connections with some server name go.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsRoute {
    /// Conditions, of which one must hold.
    pub r#match: Vec<TlsMatch>,
    /// Destinations, by weight.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub route: Vec<RouteDestination>,
}

/// A condition on a TLS connection; all members must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsMatch {
    /// Server names, wildcards allowed.
    pub sni_hosts: Vec<String>,
    /// Original destination addresses, as CIDR.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub destination_subnets: Vec<String>,
    /// Port of the listener.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub port: u32,
    /// Labels of the workload that connects.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub source_labels: BTreeMap<String, String>,
    /// Replaces the object's gateways for this condition.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub gateways: Vec<String>,
    /// Namespace of the workload that connects.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub source_namespace: String,
}

/// Where TCP connections go.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpRoute {
    /// Conditions, of which one must hold; none holds always.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub r#match: Vec<L4Match>,
    /// Destinations, by weight.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub route: Vec<RouteDestination>,
}

/// A condition on a TCP connection; all members must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct L4Match {
    /// Original destination addresses, as CIDR.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub destination_subnets: Vec<String>,
    /// Port of the listener.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub port: u32,
    /// Address of the client, as CIDR. Deprecated.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub source_subnet: String,
    /// Labels of the workload that connects.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub source_labels: BTreeMap<String, String>,
    /// Replaces the object's gateways for this condition.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub gateways: Vec<String>,
    /// Namespace of the workload that connects.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub source_namespace: String,
}

/// One weighted destination of a TCP or TLS route.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteDestination {
    /// The service.
    pub destination: Destination,
    /// Share of connections, relative to the sum of all weights.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub weight: i32,
}
