//! From API objects to the model: one file per kind, each a pure conversion that returns what it understood and what
//! is wrong. What an object says is read once, here; nothing behind parses strings again.

pub mod attachment;
pub mod authorization_policy;
mod checks;
pub mod destination_rule;
pub mod endpoint_slice;
pub mod envoy_filter;
pub mod gateway;
mod host;
pub mod intake;
pub mod mesh_config;
pub mod metadata;
pub mod namespace;
pub mod node;
pub mod peer_authentication;
pub mod pod;
mod problems;
pub mod proxy_config;
mod regex;
pub mod request_authentication;
mod rules;
pub mod secret;
mod selector;
pub mod service;
pub mod service_entry;
pub mod sidecar;
mod substitution;
mod target;
pub mod telemetry;
mod tls_names;
pub mod traffic_extension;
mod traffic_policy;
mod unenforced;
pub mod virtual_service;
mod visibility;
pub mod wasm_plugin;
pub mod workload_entry;
pub mod workload_group;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(crate) use self::{
    host::fqdn,
    problems::{Flaw, Problems},
    visibility::visibility,
};
use crate::model::Age;

/// What conversions need besides the object.
#[derive(Clone, Copy, Debug)]
pub struct ConvertContext<'a> {
    /// The suffix of Kubernetes host names. Of the mesh's settings it alone cannot change: what queries read can.
    pub domain_suffix: &'a str,
}

/// The age of an object: objects without a timestamp are the youngest.
pub(crate) fn age(meta: &ObjectMeta) -> Age {
    Age {
        created: meta.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
        name: name(meta),
        namespace: namespace(meta),
    }
}

pub(crate) fn name(meta: &ObjectMeta) -> Arc<str> {
    meta.name.as_deref().unwrap_or_default().into()
}

pub(crate) fn namespace(meta: &ObjectMeta) -> Arc<str> {
    meta.namespace.as_deref().unwrap_or_default().into()
}

/// An annotation that is not empty.
fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}
