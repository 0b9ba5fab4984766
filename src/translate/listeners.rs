//! Listeners: those of gateways, and the outbound, virtual and forward proxy listeners of sidecars.
//!
//! ```text
//!  gateways ──merge_servers──► GatewayListener ──server_chains──► Chain… ──assemble──► ListenerOutput
//!  services ──contribute─────► Contribution…  ──outbound_listener─────────────────────►    "
//! ```

pub mod address;
pub mod chain;
pub mod gateway;
pub mod http_proxy;
mod inspectors;
mod patch;
pub mod sidecar_outbound;
pub mod tcp;
pub mod tls_context;
pub mod virtual_inbound;
pub mod virtual_outbound;
pub(crate) mod wire;

pub use address::listener_name;
pub use chain::{Chain, ListenerOutput, RefSet};
