//! ServiceEntry: services that the platform does not know.

use super::common::{Status, WorkloadSelector};
use super::rules::{at_most_one, list_map, rule, values};
use super::workload_entry::WorkloadEntrySpec;
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const CIDR_RESOLUTION: &str = "!has(self.addresses) || !has(self.resolution) || \
self.resolution in ['NONE', 'STATIC'] || !self.addresses.exists(a, a.contains('/'))";
const UNIQUE_NUMBERS: &str = "self.all(a, self.exists_one(b, a.number == b.number))";
const NONE_ENDPOINTS: &str = "!has(self.endpoints) || (has(self.resolution) && self.resolution != 'NONE')";
const ROUND_ROBIN_ENDPOINTS: &str = "!has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN' || \
!has(self.endpoints) || self.endpoints.size() <= 1";

/// A service outside the platform's registry, or inside with other endpoints.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "ServiceEntry",
    plural = "serviceentries",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "se",
    category = "istio-io",
    category = "networking-istio-io",
    printcolumn = r#"{"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts"}"#,
    printcolumn = r#"{"name": "Location", "type": "string", "jsonPath": ".spec.location"}"#,
    printcolumn = r#"{"name": "Resolution", "type": "string", "jsonPath": ".spec.resolution"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = at_most_one(&["workloadSelector", "endpoints"]))]
#[schemars(transform = rule(CIDR_RESOLUTION, "addresses may be CIDR ranges only when resolution is NONE or STATIC"))]
#[schemars(transform = rule(NONE_ENDPOINTS, "endpoints need a resolution other than NONE"))]
#[schemars(transform = rule(ROUND_ROBIN_ENDPOINTS, "DNS_ROUND_ROBIN takes one endpoint at most"))]
pub struct ServiceEntrySpec {
    /// Names of the service, wildcards allowed.
    #[schemars(length(min = 1, max = 256), transform = values(rule("self != '*'", "the host '*' is not allowed")))]
    pub hosts: Vec<String>,
    /// Virtual addresses, or CIDR ranges.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 256), inner(length(max = 64)))]
    pub addresses: Vec<String>,
    /// Ports of the service.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 256))]
    #[schemars(transform = list_map("name"))]
    #[schemars(transform = rule(UNIQUE_NUMBERS, "each port number may appear only once"))]
    pub ports: Vec<ServicePort>,
    /// Inside or outside the mesh.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub location: Location,
    /// How endpoints are found.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub resolution: Resolution,
    /// Endpoints, listed.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 4096))]
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// Endpoints, selected: pods and WorkloadEntry objects of the namespace.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see the object: `.` its own, `*` all. Empty takes the mesh's default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub export_to: Vec<String>,
    /// Names of which the server must carry one.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub subject_alt_names: Vec<String>,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Port number.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u32,
    /// HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS; otherwise it is detected.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 256))]
    pub protocol: String,
    /// Name of the port, unique in the object.
    #[schemars(length(max = 256))]
    pub name: String,
    /// Port of the endpoints; by default the same.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(range(min = 1, max = 65535))]
    pub target_port: u32,
}

/// Where a service runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside the mesh.
    #[default]
    MeshExternal,
    /// Inside the mesh; mutual TLS is expected.
    MeshInternal,
}

/// How endpoints are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address that the client asked for.
    #[default]
    None,
    /// The endpoints listed or selected.
    Static,
    /// All addresses that DNS gives, looked up in the background.
    Dns,
    /// The first address that DNS gives.
    DnsRoundRobin,
    /// The requested host, looked up when asked; for wildcard hosts.
    DynamicDns,
}
