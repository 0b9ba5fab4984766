//! What stands beside an Envoy in its pod or on its machine, where Istio has its agent.
//!
//! ```text
//!                 +--- xds_proxy (socket XDS) -------------+
//!  Envoy <--------+--- sds (socket of secrets) <- identity +---- upstream ----> control plane
//!    ^            +--- dns 15053: names <- xds_proxy
//!    ^            +--- status 15020: ready, metrics, probes
//!    +-- envoy: started with a bootstrap, observed, drained, ended
//! ```

pub mod bootstrap;
pub mod client;
pub mod dns;
pub mod envoy;
pub mod identity;
pub mod metrics;
pub mod names;
pub mod node;
pub mod redirect;
pub mod run;
pub mod sds;
pub mod settings;
pub mod status;
pub mod upstream;
pub mod xds_proxy;

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
