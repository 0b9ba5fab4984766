//! From API objects to the model: one file per kind, each a pure conversion that returns what it understood and what
//! is wrong. What an object says is read once, here; nothing behind parses strings again.

pub mod envoy_filter;
mod problems;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(crate) use self::problems::Problems;
use crate::model::{Age, MeshConfig};

/// What conversions need besides the object.
#[derive(Clone, Copy, Debug)]
pub struct ConvertContext<'a> {
    /// The mesh configuration: domain suffix, trust domain, root namespace, default visibility.
    pub mesh: &'a MeshConfig,
    /// Whether members with IPv6 addresses can be reached.
    pub ipv6: bool,
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
