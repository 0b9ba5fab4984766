//! What the process says about itself: log, metrics, readiness.

pub mod ready;
