//! What changes in a real API server while requests come: none of them may fail, and only what changed may be sent.

#[path = "envoy_change/cases.rs"]
mod cases;

use mizzen_e2e::Source;

const SOURCE: Source = Source::Cluster;
