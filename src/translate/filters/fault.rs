//! Injected delays and aborts; which ones is in the routes.

use std::sync::LazyLock;

use envoy_types::pb::envoy::extensions::filters::{
    http::fault::v3::HttpFault, network::http_connection_manager::v3::HttpFilter,
};

use super::http_filter;
use crate::snapshot::pack_any;

/// The same in every chain.
static FILTER: LazyLock<HttpFilter> = LazyLock::new(make);

pub(super) fn filter() -> HttpFilter {
    FILTER.clone()
}

fn make() -> HttpFilter {
    http_filter("envoy.filters.http.fault", pack_any(&HttpFault::default()))
}
