//! WorkloadGroup: a template for workloads outside the platform.

use super::common::Status;
use super::rules::{max_properties, oneof, pattern, rule, without_rule};
use super::workload_entry::{ADDRESS_OR_NETWORK, WorkloadEntrySpec};
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What WorkloadEntry objects are made from when workloads register themselves.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "WorkloadGroup",
    plural = "workloadgroups",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "wg",
    category = "istio-io",
    category = "networking-istio-io",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadGroupSpec {
    /// Metadata of the objects that are made.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub metadata: Option<TemplateMetadata>,
    /// What the objects say.
    #[schemars(transform = without_rule(ADDRESS_OR_NETWORK))]
    pub template: WorkloadEntrySpec,
    /// How it is checked that a workload is ready.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub probe: Option<ReadinessProbe>,
}

/// Metadata of the objects that are made.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = max_properties(256))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = max_properties(256))]
    pub annotations: BTreeMap<String, String>,
}

/// A check that a workload is ready.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["httpGet", "tcpSocket", "exec", "grpc"]))]
pub struct ReadinessProbe {
    /// Seconds before the first check.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0))]
    pub initial_delay_seconds: i32,
    /// Seconds that a check may take; 1 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0))]
    pub timeout_seconds: i32,
    /// Seconds between checks; 10 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0))]
    pub period_seconds: i32,
    /// Successes in a row until it is ready; 1 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0))]
    pub success_threshold: i32,
    /// Failures in a row until it is not; 3 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0))]
    pub failure_threshold: i32,
    /// Asks over HTTP.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub http_get: Option<HttpHealthCheck>,
    /// Opens a connection.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tcp_socket: Option<TcpHealthCheck>,
    /// Runs a command.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub exec: Option<ExecHealthCheck>,
    /// Asks the gRPC health service.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub grpc: Option<GrpcHealthCheck>,
}

/// A check over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHealthCheck {
    /// Path to get.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub path: String,
    /// Port to ask.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// Host to ask; the workload itself by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub host: String,
    /// HTTP (the default) or HTTPS.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = rule("self in ['', 'HTTP', 'HTTPS']", "scheme must be HTTP or HTTPS"))]
    pub scheme: String,
    /// Headers to send.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub http_headers: Vec<HttpHeader>,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = pattern("^[-_A-Za-z0-9]+$"))]
    pub name: String,
    /// Its value.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub value: String,
}

/// A check by opening a connection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpHealthCheck {
    /// Host to connect to; localhost by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub host: String,
    /// Port to connect to.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
}

/// A check of the gRPC health service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcHealthCheck {
    /// Port to ask.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// Service to ask about.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub service: String,
}

/// A check by a command.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecHealthCheck {
    /// Program and arguments; success is exit code 0.
    #[schemars(inner(length(min = 1)))]
    pub command: Vec<String>,
}
