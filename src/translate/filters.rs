//! Envoy's filters, one feature per file, and the order of HTTP filters.

pub mod access_log;
mod cors;
pub(super) mod descriptors;
pub mod envoy_filter;
mod fault;
mod grpc_stats;
mod grpc_web;
pub mod hcm;
pub mod json_any;
mod merge;
pub mod metrics;
pub mod rbac;
mod router;
pub(crate) mod set_filter_state;
pub mod tcp_proxy;

use envoy_types::pb::{
    envoy::extensions::filters::network::http_connection_manager::v3::{
        HttpFilter, http_filter::ConfigType as HttpFilterConfig,
    },
    google::protobuf::Any,
};

/// What decides which HTTP filters a chain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpFilterNeeds {
    /// Requests of gRPC-Web are translated (the port's protocol says so).
    pub grpc_web: bool,
    /// A policy that cannot be enforced yet selects the workload: nothing passes (design §2, truth 5).
    pub deny_all: bool,
    /// The chain leads out of the proxy's own workload: faults and CORS of routes apply.
    pub outbound: bool,
}

/// The HTTP filters of a chain, in Istio's order (translation §10). A filter that is not here yet has its place
/// named, so that it is added in the right one.
#[must_use]
pub fn http_filters(needs: HttpFilterNeeds) -> Vec<HttpFilter> {
    // Peer metadata, external authorization (CUSTOM), extensions of phase AUTHN and jwt_authn come first.
    [
        // Authorization: AUDIT, DENY, ALLOW. Here only the refusal of everything.
        needs.deny_all.then(rbac::http_deny_all),
        // Extensions of phases STATS and unspecified.
        // Before grpc_stats, which counts what the upstream sees.
        needs.grpc_web.then(grpc_web::filter),
        Some(grpc_stats::filter()),
        needs.outbound.then(set_filter_state::filter),
        // Faults come before CORS: an injected fault answers preflights too.
        needs.outbound.then(fault::filter),
        needs.outbound.then(cors::filter),
        // Statistics, sticky sessions and the dynamic forward proxy.
        // Always the last: it ends the chain.
        Some(router::filter()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An HTTP filter with its configuration.
pub(crate) fn http_filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(HttpFilterConfig::TypedConfig(config)),
        ..HttpFilter::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(needs: HttpFilterNeeds) -> Vec<String> {
        http_filters(needs).into_iter().map(|f| f.name).collect()
    }

    #[test]
    fn the_router_is_last_and_a_refusal_first() {
        let all = names(HttpFilterNeeds { grpc_web: true, deny_all: true, outbound: true });
        let short: Vec<_> = all.iter().filter_map(|n| n.strip_prefix("envoy.filters.http.")).collect();
        assert_eq!(short, ["rbac", "grpc_web", "grpc_stats", "set_filter_state", "fault", "cors", "router"]);
        let few = names(HttpFilterNeeds { grpc_web: false, deny_all: false, outbound: false });
        assert_eq!(few, ["envoy.filters.http.grpc_stats", "envoy.filters.http.router"]);
    }
}
