//! Model to Envoy resources. Pure: no clock, randomness, environment, I/O or async.

pub mod filters;
pub mod listeners;
pub mod secrets;
//! From the model to Envoy's messages: pure functions, without clock, randomness, environment or I/O.

pub mod filters;
//! From the model to Envoy's messages: pure functions, without clock, randomness, environment or I/O.

pub mod client;
pub mod clusters;
pub mod endpoints;
