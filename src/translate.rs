//! From the model to Envoy's messages: pure functions, without clock, randomness, environment or I/O.

pub mod client;
pub mod clusters;
pub mod endpoints;
pub mod filters;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod json;
pub mod l4;
pub mod lint;
pub mod listeners;
pub mod names;
pub mod routes;
pub mod secrets;
pub mod virtual_hosts;
