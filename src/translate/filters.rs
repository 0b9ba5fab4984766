//! Filters of listeners: one Envoy feature per file.

mod descriptors;
pub mod envoy_filter;
pub mod json_any;
mod merge;
