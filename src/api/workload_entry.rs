//! WorkloadEntry: one workload outside the platform, such as a virtual machine.

use super::common::Status;
use super::rules::{max_properties, rule, values};
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Holds for all uses but a WorkloadGroup's template.
pub(super) const ADDRESS_OR_NETWORK: &str = "has(self.address) || has(self.network)";
const PORT_NAMES: &str = "\
self.all(name, name.size() < 63 && name.matches('^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$'))";
const SOCKET_PATH: &str = "!self.startsWith('unix://') || self.matches('^unix://[/@]')";
const SOCKET_FILE: &str = "!(self.startsWith('unix://') && self.endsWith('/'))";
const UDS_PORTS: &str = "!has(self.address) || !self.address.startsWith('unix://') || !has(self.ports)";

/// One workload.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "WorkloadEntry",
    plural = "workloadentries",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "we",
    category = "istio-io",
    category = "networking-istio-io",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Address", "type": "string", "jsonPath": ".spec.address"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(ADDRESS_OR_NETWORK, "address or network is required"))]
#[schemars(transform = rule(UDS_PORTS, "a Unix socket has no ports"))]
pub struct WorkloadEntrySpec {
    /// IP address, DNS name, or `unix://` with a path.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 256))]
    #[schemars(transform = rule(SOCKET_PATH, "the path of a Unix socket must start with '/' or '@'"))]
    #[schemars(transform = rule(SOCKET_FILE, "a Unix socket cannot be a directory"))]
    pub address: String,
    /// Ports of the workload, by the name of the service's port; by default the same number.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = max_properties(128))]
    #[schemars(transform = rule(PORT_NAMES, "a port name has letters, digits and inner '-', fewer than 63"))]
    #[schemars(transform = values(port_number))]
    pub ports: BTreeMap<String, u32>,
    /// Labels of the workload.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = max_properties(256))]
    pub labels: BTreeMap<String, String>,
    /// Network it is in; endpoints of other networks are reached through gateways.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 2048))]
    pub network: String,
    /// `region/zone/subzone`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 2048))]
    pub locality: String,
    /// Share of traffic, relative to other endpoints.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub weight: u32,
    /// Service account of the namespace that it runs as.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 253))]
    pub service_account: String,
}

/// Narrows a number to a port.
fn port_number(schema: &mut Schema) {
    schema.insert("minimum".into(), 1.into());
    schema.insert("maximum".into(), 65535.into());
}
