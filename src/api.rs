//! The objects that are read: Kubernetes' own and Istio's, with the CRDs of the latter. Types only, no logic.
//!
//! Fields follow the wire format: a plain value stands for a field whose absence equals its zero value, an `Option`
//! for one whose presence matters (members of a oneof, messages, wrapped scalars). Enums have their zero value as
//! default. `decode` reads any kind and version; `crds` writes the definitions that an API server needs.

pub mod authorization_policy;
pub mod common;
pub mod crds;
pub mod destination_rule;
mod duration;
pub mod envoy_filter;
pub mod gateway;
pub mod http_route;
pub mod istio_operator;
mod kind;
pub mod load_balancer;
mod object;
mod path;
pub mod peer_authentication;
pub mod proxy_config;
mod read;
pub mod request_authentication;
mod rules;
mod schema;
pub mod service_entry;
pub mod sidecar;
pub mod status;
pub mod telemetry;
pub mod traffic_extension;
pub mod traffic_policy;
pub mod virtual_service;
pub mod wasm_plugin;
pub mod workload_entry;
pub mod workload_group;

pub use authorization_policy::AuthorizationPolicy;
pub use destination_rule::DestinationRule;
pub use duration::{Duration, DurationError};
pub use envoy_filter::EnvoyFilter;
pub use gateway::Gateway;
pub use kind::Kind;
pub use object::{DecodeError, Object, decode, decode_as};
pub use path::Path;
pub use peer_authentication::PeerAuthentication;
pub use proxy_config::ProxyConfig;
pub use read::read;
pub use request_authentication::RequestAuthentication;
pub use service_entry::ServiceEntry;
pub use sidecar::Sidecar;
pub use telemetry::Telemetry;
pub use traffic_extension::TrafficExtension;
pub use virtual_service::VirtualService;
pub use wasm_plugin::WasmPlugin;
pub use workload_entry::WorkloadEntry;
pub use workload_group::WorkloadGroup;

use serde::{Deserialize, Deserializer};

/// Whether a field has its zero value, which is not written.
fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads `null`, which YAML gives for a key without a value, as the zero value.
fn null_is_unset<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
