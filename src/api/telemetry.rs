//! Telemetry: metrics, traces and access logs.

use super::common::{MatchLabels, PolicyTargetReference, Status};
use super::rules::{at_most_one, oneof, rule};
use super::{Duration, is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const UPSERT_VALUE: &str = "!has(self.operation) || self.operation != 'UPSERT' || \
(has(self.value) && self.value != '')";
const REMOVE_VALUE: &str = "!has(self.operation) || self.operation != 'REMOVE' || !has(self.value)";

/// What proxies report.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "telemetry.istio.io",
    version = "v1",
    kind = "Telemetry",
    plural = "telemetries",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "telemetry",
    category = "istio-io",
    category = "telemetry-istio-io",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = at_most_one(&["selector", "targetRef", "targetRefs"]))]
pub struct TelemetrySpec {
    /// Workloads it is for; by default all of the namespace.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub selector: Option<MatchLabels>,
    /// Resource it is for. Deprecated, see `targetRefs`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub target_ref: Option<PolicyTargetReference>,
    /// Resources it is for.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Traces.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub tracing: Vec<Tracing>,
    /// Metrics.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub metrics: Vec<Metrics>,
    /// Access logs.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub access_logging: Vec<AccessLogging>,
}

/// A provider of the mesh configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRef {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// Side of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadMode {
    /// Both.
    #[default]
    ClientAndServer,
    /// Traffic that it sends.
    Client,
    /// Traffic that it receives.
    Server,
}

/// Traces.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// Traffic it is for.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub r#match: Option<TracingSelector>,
    /// Where spans go; by default as the parent says.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub providers: Vec<ProviderRef>,
    /// Share of requests that are sampled, in percent.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0, max = 100), extend("nullable" = true))]
    pub random_sampling_percentage: Option<f64>,
    /// Makes no spans, but keeps the context.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub disable_span_reporting: Option<bool>,
    /// Tags that are added to spans.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Whether the request id decides sampling; so by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// Whether Istio's own tags are added; so by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub enable_istio_tags: Option<bool>,
    /// Sends no trace headers upstream.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub disable_context_propagation: Option<bool>,
}

/// Traffic that tracing is for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingSelector {
    /// Side of the workload.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mode: WorkloadMode,
}

/// Where a tag's value comes from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["literal", "environment", "header", "formatter"]))]
pub struct CustomTag {
    /// A fixed value.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub literal: Option<Literal>,
    /// The environment of the proxy.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub environment: Option<EnvironmentTag>,
    /// A request header.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub header: Option<RequestHeaderTag>,
    /// Envoy's format language.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub formatter: Option<Formatter>,
}

/// A fixed value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Literal {
    /// The value.
    #[schemars(length(min = 1))]
    pub value: String,
}

/// A value from the environment of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentTag {
    /// Name of the variable.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Used when it is absent.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub default_value: String,
}

/// A value from a request header.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestHeaderTag {
    /// Name of the header.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Used when it is absent.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub default_value: String,
}

/// A value in Envoy's format language.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Formatter {
    /// The format, such as `%REQ(X)%`.
    #[schemars(length(min = 1))]
    pub value: String,
}

/// Metrics.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Where they go; by default as the parent says.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub providers: Vec<ProviderRef>,
    /// Changes of single metrics, in order.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub overrides: Vec<MetricsOverrides>,
    /// Time between reports of long TCP connections.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub reporting_interval: Option<Duration>,
}

/// A change of a metric.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsOverrides {
    /// Which metric; by default all.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub r#match: Option<MetricSelector>,
    /// Whether it is left out.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub disabled: Option<bool>,
    /// Changes of its tags, by name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// Which metric, on which side.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["metric", "customMetric"]))]
pub struct MetricSelector {
    /// One of Istio's.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub metric: Option<IstioMetric>,
    /// Any other, by name.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(length(min = 1))]
    pub custom_metric: Option<String>,
    /// Side of the workload.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mode: WorkloadMode,
}

/// Istio's metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IstioMetric {
    /// All.
    #[default]
    AllMetrics,
    /// Requests.
    RequestCount,
    /// How long requests take.
    RequestDuration,
    /// Size of requests.
    RequestSize,
    /// Size of responses.
    ResponseSize,
    /// TCP connections opened.
    TcpOpenedConnections,
    /// TCP connections closed.
    TcpClosedConnections,
    /// Bytes sent on TCP connections.
    TcpSentBytes,
    /// Bytes received on TCP connections.
    TcpReceivedBytes,
    /// gRPC messages from clients.
    GrpcRequestMessages,
    /// gRPC messages to clients.
    GrpcResponseMessages,
}

/// A change of a tag.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(UPSERT_VALUE, "UPSERT needs a value"))]
#[schemars(transform = rule(REMOVE_VALUE, "REMOVE takes no value"))]
pub struct TagOverride {
    /// Set or removed.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub operation: TagOperation,
    /// A CEL expression over the request.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub value: String,
}

/// What happens to a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TagOperation {
    /// It is set.
    #[default]
    Upsert,
    /// It is removed.
    Remove,
}

/// Access logs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessLogging {
    /// Traffic it is for.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub r#match: Option<LogSelector>,
    /// Where entries go; by default as the parent says.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub providers: Vec<ProviderRef>,
    /// Whether it is off.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub disabled: Option<bool>,
    /// Which requests are logged; by default all.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub filter: Option<LogFilter>,
}

/// Traffic that access logs are for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogSelector {
    /// Side of the workload.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mode: WorkloadMode,
}

/// Which requests are logged.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogFilter {
    /// A CEL expression over the request.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub expression: String,
}
