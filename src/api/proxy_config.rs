//! ProxyConfig: settings of proxies that are read when they start.

use super::common::{MatchLabels, Status};
use super::rules::{max_length, values};
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of the proxies of a namespace, of some of its workloads, or of the mesh.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1beta1",
    kind = "ProxyConfig",
    plural = "proxyconfigs",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    category = "istio-io",
    category = "networking-istio-io"
)]
#[serde(rename_all = "camelCase")]
pub struct ProxyConfigSpec {
    /// Workloads it is for; by default all of the namespace.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub selector: Option<MatchLabels>,
    /// Worker threads; 0 for one per CPU.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0), extend("nullable" = true))]
    pub concurrency: Option<i32>,
    /// Environment of the proxy.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = values(max_length(2048)))]
    pub environment_variables: BTreeMap<String, String>,
    /// Image of the proxy.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub image: Option<ProxyImage>,
}

/// Image of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyImage {
    /// Flavour: `default`, `debug`, `distroless`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub image_type: String,
}
