//! Model to Envoy resources. Pure: no clock, randomness, environment, I/O or async.

pub mod filters;
pub mod listeners;
pub mod secrets;
