//! PeerAuthentication: whether workloads ask for mutual TLS.

use super::common::{MatchLabels, Status};
use super::rules::rule;
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Modes by port number.
pub type PortModes = BTreeMap<u32, MutualTls>;

const PORT_KEYS: &str = "self.all(port, int(port) >= 1 && int(port) <= 65535)";
const PORTS_NEED_SELECTOR: &str = "!has(self.portLevelMtls) || \
(has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0)";

/// Whether workloads ask for mutual TLS.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security.istio.io",
    version = "v1",
    kind = "PeerAuthentication",
    plural = "peerauthentications",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "pa",
    category = "istio-io",
    category = "security-istio-io",
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mtls.mode"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rule(PORTS_NEED_SELECTOR, "portLevelMtls needs a selector with labels"))]
pub struct PeerAuthenticationSpec {
    /// Workloads it is for; by default all of the namespace.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub selector: Option<MatchLabels>,
    /// Mode of all ports; by default as the namespace, or the mesh, says.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub mtls: Option<MutualTls>,
    /// Modes of single ports of the workload.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(with = "BTreeMap<String, MutualTls>")]
    #[schemars(extend("minProperties" = 1))]
    #[schemars(transform = rule(PORT_KEYS, "ports are numbers from 1 to 65535"))]
    pub port_level_mtls: Option<PortModes>,
}

/// Whether mutual TLS is asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MutualTls {
    /// The mode.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mode: MutualTlsMode,
}

/// Whether mutual TLS is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// As the parent says; permissive without one.
    #[default]
    Unset,
    /// Plaintext only.
    Disable,
    /// Plaintext or mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}
