//! WasmPlugin: filters in WebAssembly.

use super::common::{FreeForm, MatchLabels, PolicyTargetReference, Status};
use super::rules::{at_most_one, keep_unknown, list_map, pattern, rule};
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Accepts a URL without a scheme (an OCI reference), or with one that can be fetched.
pub(super) const MODULE_URL: &str = "isURL(self) ? \
url(self).getScheme() in ['', 'http', 'https', 'file', 'oci'] : isURL('http://' + self)";
/// What to say of other URLs.
pub(super) const MODULE_URL_MESSAGE: &str = "the scheme must be http, https, file or oci";
/// A hexadecimal SHA-256, or nothing.
pub(super) const SHA256: &str = "^(?:[a-f0-9]{64})?$";
const HOST_VALUE: &str = "!has(self.value) || !has(self.valueFrom) || self.valueFrom != 'HOST'";

/// A filter in WebAssembly for some proxies.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "extensions.istio.io",
    version = "v1alpha1",
    kind = "WasmPlugin",
    plural = "wasmplugins",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    category = "istio-io",
    category = "extensions-istio-io",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = at_most_one(&["selector", "targetRef", "targetRefs"]))]
pub struct WasmPluginSpec {
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
    /// Where the module is: `oci://` (the default), `https://`, `http://` or `file://`.
    #[schemars(length(min = 1), transform = rule(MODULE_URL, MODULE_URL_MESSAGE))]
    pub url: String,
    /// Checksum of the module, hexadecimal.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = pattern(SHA256))]
    pub sha256: String,
    /// When an image is fetched anew.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub image_pull_policy: PullPolicy,
    /// Secret of the namespace for the registry.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(min = 1, max = 253))]
    pub image_pull_secret: String,
    /// Key that signed the module; not honoured yet by Istio.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub verification_key: String,
    /// Configuration of the plugin.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = keep_unknown)]
    pub plugin_config: FreeForm,
    /// Name of the plugin inside the module.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(min = 1, max = 256))]
    pub plugin_name: String,
    /// Place in the order of filters.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub phase: PluginPhase,
    /// Order within a phase; higher first.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub priority: Option<i32>,
    /// What happens when the module cannot be loaded or crashes.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub fail_strategy: FailStrategy,
    /// Settings of the virtual machine.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub vm_config: Option<VmConfig>,
    /// Traffic it sees; by default all.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub r#match: Vec<TrafficSelector>,
    /// HTTP or network filter.
    #[serde(rename = "type", default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub plugin_type: PluginType,
}

/// Settings of the WebAssembly virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmConfig {
    /// Environment of the module.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 256), transform = list_map("name"))]
    pub env: Vec<EnvVar>,
}

/// A variable of a module's environment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(HOST_VALUE, "value cannot be set when valueFrom is HOST"))]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Where its value comes from.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub value_from: EnvValueSource,
    /// Its value, unless it comes from the host.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 2048))]
    pub value: String,
}

/// Traffic that a filter sees.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSelector {
    /// Side of the workload.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mode: TrafficMode,
    /// Ports; by default all.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = list_map("number"))]
    pub ports: Vec<TrafficPort>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPort {
    /// Its number.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u32,
}

/// Side of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TrafficMode {
    /// As `CLIENT_AND_SERVER`.
    #[default]
    Undefined,
    /// Traffic that it sends.
    Client,
    /// Traffic that it receives.
    Server,
    /// Both.
    ClientAndServer,
}

/// Where a variable's value comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EnvValueSource {
    /// From the object.
    #[default]
    Inline,
    /// From the environment of the proxy.
    Host,
}

/// What happens when a module fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailStrategy {
    /// Requests fail.
    #[default]
    FailClose,
    /// Requests pass it by.
    FailOpen,
    /// The module is started again, at most every second.
    FailReload,
}

/// Place in the order of filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PluginPhase {
    /// At the end, before the router.
    #[default]
    UnspecifiedPhase,
    /// Before authentication.
    Authn,
    /// Between authentication and authorisation.
    Authz,
    /// Between authorisation and statistics.
    Stats,
}

/// Kind of filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PluginType {
    /// As `HTTP`.
    #[default]
    UnspecifiedPluginType,
    /// HTTP filter.
    Http,
    /// Network filter.
    Network,
}

/// When an image is fetched anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PullPolicy {
    /// As `IfNotPresent`, but `Always` for the tag `latest`.
    #[default]
    #[serde(rename = "UNSPECIFIED_POLICY")]
    UnspecifiedPolicy,
    /// When it is not in the cache.
    IfNotPresent,
    /// Whenever the object changes.
    Always,
}
