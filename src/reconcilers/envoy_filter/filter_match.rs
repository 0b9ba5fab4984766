//! Matches on filters of a chain (contract §10).

use super::Reader;
use crate::{
    api::envoy_filter as spec,
    model::{Code, envoy_filter::ApplyTo},
};

const HTTP_CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// Names that filters had, and those that they have: Envoy knows the old ones no more.
const RENAMED: [(&str, &str); 26] = [
    ("envoy.buffer", "envoy.filters.http.buffer"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.csrf", "envoy.filters.http.csrf"),
    ("envoy.http_dynamo_filter", "envoy.filters.http.dynamo"),
    ("envoy.fault", "envoy.filters.http.fault"),
    ("envoy.grpc_http1_bridge", "envoy.filters.http.grpc_http1_bridge"),
    ("envoy.grpc_json_transcoder", "envoy.filters.http.grpc_json_transcoder"),
    ("envoy.grpc_web", "envoy.filters.http.grpc_web"),
    ("envoy.gzip", "envoy.filters.http.compressor"),
    ("envoy.health_check", "envoy.filters.http.health_check"),
    ("envoy.ip_tagging", "envoy.filters.http.ip_tagging"),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.rate_limit", "envoy.filters.http.ratelimit"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.client_ssl_auth", "envoy.filters.network.client_ssl_auth"),
    ("envoy.ext_authz", "envoy.filters.http.ext_authz"),
    ("envoy.http_connection_manager", "envoy.filters.network.http_connection_manager"),
    ("envoy.mongo_proxy", "envoy.filters.network.mongo_proxy"),
    ("envoy.ratelimit", "envoy.filters.network.ratelimit"),
    ("envoy.redis_proxy", "envoy.filters.network.redis_proxy"),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
    ("envoy.listener.http_inspector", "envoy.filters.listener.http_inspector"),
    ("envoy.listener.original_dst", "envoy.filters.listener.original_dst"),
    ("envoy.listener.original_src", "envoy.filters.listener.original_src"),
    ("envoy.listener.proxy_protocol", "envoy.filters.listener.proxy_protocol"),
    ("envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector"),
];

impl Reader<'_> {
    /// Whether a match on a filter can hold.
    pub(super) fn filter(&mut self, apply_to: ApplyTo, filter: &spec::FilterMatch) -> Option<()> {
        let field = "match.listener.filterChain.filter";
        if let ApplyTo::Listener | ApplyTo::FilterChain = apply_to {
            self.add(Code::FieldWithoutEffect, field, format!("has no effect on {}", apply_to.as_str()));
        }
        self.renamed(&format!("{field}.name"), &filter.name);
        let named = match filter.name.is_empty() {
            true => self.refuse(Code::MatchIncomplete, &format!("{field}.name"), "is empty: name the filter"),
            false => Some(()),
        };
        let Some(sub) = &filter.sub_filter else { return named };
        let field = format!("{field}.subFilter");
        self.renamed(&format!("{field}.name"), &sub.name);
        let mut fits = named;
        if sub.name.is_empty() {
            fits = self.refuse(Code::MatchIncomplete, &format!("{field}.name"), "is empty: name the filter");
        }
        if apply_to != ApplyTo::HttpFilter {
            let reason = format!("goes with applyTo HTTP_FILTER, not with {}", apply_to.as_str());
            fits = self.refuse(Code::SubFilterUnfit, &field, &reason);
        }
        if !matches!(filter.name.as_str(), "" | HTTP_CONNECTION_MANAGER | "envoy.http_connection_manager") {
            let reason = format!("{:?} has no filters inside: {HTTP_CONNECTION_MANAGER} has", filter.name);
            fits = self.refuse(Code::SubFilterUnfit, &field, &reason);
        }
        fits
    }

    fn renamed(&mut self, field: &str, name: &str) {
        if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
            self.add(Code::FilterNameDeprecated, field, format!("{name:?} is now {new:?}"));
        }
    }
}
