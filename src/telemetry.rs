//! What the process says about itself: log, metrics, problems, readiness.

pub mod log;
pub mod metrics;
pub mod problems;
mod process;
pub mod ready;
