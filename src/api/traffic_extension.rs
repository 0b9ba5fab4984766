//! TrafficExtension: filters in WebAssembly or Lua.

use super::common::{FreeForm, MatchLabels, PolicyTargetReference, Status};
use super::rules::{at_most_one, keep_unknown, oneof, pattern, rule};
use super::wasm_plugin::{
    FailStrategy, MODULE_URL, MODULE_URL_MESSAGE, PluginType, PullPolicy, SHA256, TrafficSelector, VmConfig,
};
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A filter of the user's own for some proxies.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "extensions.istio.io",
    version = "v1alpha1",
    kind = "TrafficExtension",
    plural = "trafficextensions",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    category = "istio-io",
    category = "extensions-istio-io",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["wasm", "lua"]))]
#[schemars(transform = at_most_one(&["selector", "targetRefs"]))]
#[schemars(transform = rule("has(self.wasm) != has(self.lua)", "exactly one of wasm, lua must be set"))]
pub struct TrafficExtensionSpec {
    /// Workloads it is for; by default all of the namespace.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub selector: Option<MatchLabels>,
    /// Resources it is for.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Place in the order of filters.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub phase: ExtensionPhase,
    /// Order within a phase; higher first.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub priority: Option<i32>,
    /// Traffic it sees; by default all.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub r#match: Vec<TrafficSelector>,
    /// A filter in WebAssembly.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub wasm: Option<WasmConfig>,
    /// A filter in Lua.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub lua: Option<LuaConfig>,
}

/// A filter in WebAssembly.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WasmConfig {
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
    /// Key that signed the module; reserved.
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
    /// What happens when the module cannot be loaded or crashes.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub fail_strategy: FailStrategy,
    /// Settings of the virtual machine.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub vm_config: Option<VmConfig>,
    /// HTTP or network filter.
    #[serde(rename = "type", default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub plugin_type: PluginType,
}

/// A filter in Lua.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LuaConfig {
    /// The program.
    #[schemars(length(min = 1, max = 65536))]
    pub inline_code: String,
}

/// Place in the order of filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExtensionPhase {
    /// At the end, before the router.
    #[default]
    Unspecified,
    /// Before authentication.
    Authn,
    /// Between authentication and authorisation.
    Authz,
    /// Between authorisation and statistics.
    Stats,
}
