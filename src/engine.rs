//! From model values to snapshots: the incremental graph and the queries over it.
//!
//! ```text
//!  inputs ──► index ──► services, rules ──► clusters, endpoints, virtual hosts, listeners ──► proxies ──► Snapshot
//! ```
//!
//! What proxies share is decided by *scopes* and *facets*: most resources are the same for the whole mesh, a
//! namespace holds what differs for its clients, a Sidecar object holds all that its workloads see; and an item
//! whose content depends on a fact of the proxy (its locality, its node…) sits in a part of its own per value.

pub mod graph;

mod builtin;
mod checks;
mod classes;
mod clusters;
mod credentials;
mod departed;
mod destinations;
mod filters;
mod gateway_routes;
mod gateways;
mod handle;
mod inbound;
mod index;
pub mod inputs;
mod members;
mod names;
mod offline;
mod proxies;
mod reach;
mod scope;
mod services;
mod sidecar_listeners;
mod sidecar_routes;
mod sidecars;
mod stage;
#[cfg(test)]
mod tests;

pub use handle::{Attached, Engine, EngineError, Lease, Observer, Report};
pub use offline::Offline;
pub use reach::Reach;

/// Registers what exists without being asked for: indexes and layers.
fn register(db: &mut graph::Db) {
    index::register(db);
    sidecars::register(db);
    scope::register(db);
    clusters::register(db);
    sidecar_listeners::register(db);
    sidecar_routes::register(db);
    checks::register(db);
    filters::register(db);
    members::register(db);
    names::register(db);
}
