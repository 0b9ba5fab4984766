//! Cross-origin requests; the policy is in the routes.

use envoy_types::pb::envoy::extensions::filters::{
    http::cors::v3::Cors, network::http_connection_manager::v3::HttpFilter,
};

use super::http_filter;
use crate::snapshot::pack_any;

pub(super) fn filter() -> HttpFilter {
    http_filter("envoy.filters.http.cors", pack_any(&Cors::default()))
}
