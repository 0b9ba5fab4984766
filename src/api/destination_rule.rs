//! DestinationRule: how connections to a service are made, and its subsets.

use super::common::{MatchLabels, Status};
use super::traffic_policy::TrafficPolicy;
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Policies for traffic to a service, after routing.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "DestinationRule",
    plural = "destinationrules",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "dr",
    category = "istio-io",
    category = "networking-istio-io",
    printcolumn = r#"{"name": "Host", "type": "string", "jsonPath": ".spec.host"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRuleSpec {
    /// Name of the service, wildcards allowed; short names are of the rule's namespace.
    pub host: String,
    /// Policies for all its traffic.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named groups of its endpoints.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub subsets: Vec<Subset>,
    /// Namespaces that see the object: `.` its own, `*` all. Empty takes the mesh's default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub export_to: Vec<String>,
    /// Workloads of the namespace whose outbound traffic it is for; all by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub workload_selector: Option<MatchLabels>,
}

/// A named group of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// Name that routes use.
    pub name: String,
    /// Labels that the endpoints carry.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub labels: BTreeMap<String, String>,
    /// Policies that replace those of the service.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub traffic_policy: Option<TrafficPolicy>,
}
