//! Admission webhooks: what the API server asks before it stores an object.

pub mod ca_bundle;
pub mod inject;
pub mod patch;
mod probe;
pub mod server;
