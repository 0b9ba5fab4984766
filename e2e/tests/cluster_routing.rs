//! What VirtualServices say, done by a real gateway, with objects from a real API server.

#[path = "envoy_routing/cases.rs"]
mod cases;

use mizzen_e2e::Source;

const SOURCE: Source = Source::Cluster;
