//! What stands beside an Envoy on its machine, where Istio has its agent.

pub mod redirect;
pub mod sds;
