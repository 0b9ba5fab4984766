//! Counts messages of gRPC streams, for all methods together.

use std::sync::LazyLock;

use envoy_types::pb::{
    envoy::extensions::filters::{
        http::grpc_stats::v3::{FilterConfig, filter_config::PerMethodStatSpecifier},
        network::http_connection_manager::v3::HttpFilter,
    },
    google::protobuf::BoolValue,
};

use super::http_filter;
use crate::snapshot::pack_any;

/// The same in every chain.
static FILTER: LazyLock<HttpFilter> = LazyLock::new(make);

pub(super) fn filter() -> HttpFilter {
    FILTER.clone()
}

fn make() -> HttpFilter {
    let config = FilterConfig {
        // Access logs read the counts from there.
        emit_filter_state: true,
        per_method_stat_specifier: Some(PerMethodStatSpecifier::StatsForAllMethods(BoolValue { value: false })),
        ..FilterConfig::default()
    };
    http_filter("envoy.filters.http.grpc_stats", pack_any(&config))
}
