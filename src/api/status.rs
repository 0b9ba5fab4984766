//! What the control plane tells of proxies and of the configuration that they have: kinds of its own, which only it writes.

use super::{is_unset, null_is_unset};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The group of these kinds.
pub const GROUP: &str = "status.mizzen.io";

/// The proxies of one workload or gateway.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "status.mizzen.io",
    version = "v1alpha1",
    kind = "ProxyStatus",
    plural = "proxystatuses",
    namespaced,
    status = "WorkloadStatus",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "pxs",
    category = "mizzen-io",
    printcolumn = r#"{"name": "Proxies", "type": "integer", "jsonPath": ".status.proxies"}"#,
    printcolumn = r#"{"name": "Synced", "type": "integer", "jsonPath": ".status.synced"}"#,
    printcolumn = r#"{"name": "Stale", "type": "integer", "jsonPath": ".status.stale"}"#,
    printcolumn = r#"{"name": "Rejected", "type": "integer", "jsonPath": ".status.rejected"}"#,
    printcolumn = r#"{"name": "Changed", "type": "date", "jsonPath": ".status.changed"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.reason", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ProxyStatusSpec {
    /// What owns the pods, e.g. `Deployment/web`, as far as proxies tell.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub workload: String,
}

/// How far the proxies of a workload are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// How many are connected, to all replicas of the control plane together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxies: Option<u32>,
    /// How many of them have acknowledged all that they were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<u32>,
    /// How many have not acknowledged something for some time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<u32>,
    /// How many refuse something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u32>,
    /// Who refuses what, and why: one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When these numbers changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Time>,
    /// The same by replica of the control plane, each of which writes its own entry.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub replicas: BTreeMap<String, ReplicaProxies>,
}

/// The proxies of a workload that are connected to one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaProxies {
    /// How many are connected.
    pub proxies: u32,
    /// How many of them have acknowledged all that they were sent.
    pub synced: u32,
    /// How many have not acknowledged something for some time.
    pub stale: u32,
    /// How many refuse something.
    pub rejected: u32,
    /// Those that are stale or refuse something; a few of them when they are many.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub behind: Vec<BehindProxy>,
}

/// A proxy that does not have what it should have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BehindProxy {
    /// `<pod>.<namespace>`.
    pub name: String,
    /// The types that it has not acknowledged or refuses, e.g. `LDS`.
    pub types: Vec<String>,
    /// Why it refuses; empty when it does not.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub reason: String,
}

/// What one replica of the control plane knows of the configuration objects of a namespace. The leading replica makes their
/// conditions of all reports.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "status.mizzen.io",
    version = "v1alpha1",
    kind = "ReplicaReport",
    plural = "replicareports",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    category = "mizzen-io",
    printcolumn = r#"{"name": "Replica", "type": "string", "jsonPath": ".spec.replica"}"#,
    printcolumn = r#"{"name": "Of", "type": "string", "jsonPath": ".spec.namespace"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaReportSpec {
    /// The replica.
    pub replica: String,
    /// The namespace of the objects.
    pub namespace: String,
    /// The objects.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub objects: Vec<ObjectReport>,
}

/// What one replica knows of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReport {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// How many proxies of the replica have something that is made of it.
    pub proxies: u32,
    /// How many of them have acknowledged that.
    pub programmed: u32,
    /// How many of them refuse it.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub rejected: u32,
    /// Who refuses it, and why: one of them.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub reason: String,
    /// What is wrong with it.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub problem: String,
    /// What its author should know although it is not wrong.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub warning: String,
}
