//! Messages shared by several kinds.

use super::rules::{DNS_NAME_OR_EMPTY, keep_unknown, label_value, max_properties, oneof, pattern, rule, values};
use super::{is_unset, null_is_unset};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const LABEL_NAMES: &str = "self.all(name, name != '' && !name.contains('*'))";

/// A value whose form is defined elsewhere (an Envoy message, a plugin's own configuration).
pub type FreeForm = serde_json::Map<String, serde_json::Value>;

/// Selects workloads by their labels; the form that policies and DestinationRule use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchLabels {
    /// Labels that a workload must carry, all of them. Empty selects every workload.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = max_properties(4096))]
    #[schemars(transform = rule(LABEL_NAMES, "a label name must not be empty or contain '*'"))]
    #[schemars(transform = values(label_value))]
    pub match_labels: BTreeMap<String, String>,
}

/// Selects workloads by their labels; the form that Sidecar, EnvoyFilter and ServiceEntry use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSelector {
    /// Labels that a workload must carry, all of them.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = max_properties(256), transform = values(label_value))]
    pub labels: BTreeMap<String, String>,
}

/// A resource in the policy's namespace that the policy attaches to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetReference {
    /// API group of the target; empty for the core group.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 253), transform = pattern(DNS_NAME_OR_EMPTY))]
    pub group: String,
    /// Kind of the target.
    #[schemars(length(min = 1, max = 63), transform = pattern("^[a-zA-Z](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
    pub kind: String,
    /// Name of the target.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Reserved; must stay empty.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(transform = rule("self == ''", "a target in another namespace is not supported"))]
    pub namespace: String,
}

/// How a string is compared. At most one form is set; none matches when the value is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["exact", "prefix", "regex"]))]
pub struct StringMatch {
    /// Equal, case-sensitive.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub exact: Option<String>,
    /// Starts with.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub prefix: Option<String>,
    /// Matches wholly, RE2 syntax.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub regex: Option<String>,
}

/// A port by number.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortSelector {
    /// The port.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub number: u32,
}

/// A service that traffic goes to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// Name of the service: short (in the rule's namespace), fully qualified, or of a ServiceEntry.
    pub host: String,
    /// Name of a subset in the service's DestinationRule.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub subset: String,
    /// Port of the service; may be left out when it has exactly one.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub port: Option<PortSelector>,
}

/// What controllers report about an object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = keep_unknown)]
pub struct Status {
    /// State of the object, one entry per aspect.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub conditions: Vec<Condition>,
    /// Findings of configuration analysis.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub validation_messages: Vec<ValidationMessage>,
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub observed_generation: Option<IntOrString>,
}

/// One aspect of an object's state.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the aspect.
    #[serde(rename = "type", default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub status: String,
    /// When it was last looked at.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub last_probe_time: Option<Time>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub last_transition_time: Option<Time>,
    /// One word for programs.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub reason: String,
    /// A sentence for people.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub message: String,
    /// `metadata.generation` that this condition describes.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub observed_generation: Option<IntOrString>,
}

/// One finding of configuration analysis.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidationMessage {
    /// Which check found it.
    #[serde(rename = "type", default, skip_serializing_if = "is_unset")]
    pub message_type: Option<MessageType>,
    /// How serious it is.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub level: MessageLevel,
    /// Where it is explained.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub documentation_url: String,
}

/// A check, by name and by code.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageType {
    /// Name for people.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// Stable code, such as `IST0101`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub code: String,
}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageLevel {
    /// Not stated.
    #[default]
    Unknown,
    /// The configuration does not work.
    Error,
    /// Probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}
