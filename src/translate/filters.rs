//! Filters of listeners: one Envoy feature per file.

mod descriptors;
pub mod json_any;
