//! Injected delays and aborts; which ones is in the routes.

use envoy_types::pb::envoy::extensions::filters::{
    http::fault::v3::HttpFault, network::http_connection_manager::v3::HttpFilter,
};

use super::http_filter;
use crate::snapshot::pack_any;

pub(super) fn filter() -> HttpFilter {
    http_filter("envoy.filters.http.fault", pack_any(&HttpFault::default()))
}
