//! Translation of gRPC-Web.

use envoy_types::pb::envoy::extensions::filters::{
    http::grpc_web::v3::GrpcWeb, network::http_connection_manager::v3::HttpFilter,
};

use super::http_filter;
use crate::snapshot::pack_any;

pub(super) fn filter() -> HttpFilter {
    http_filter("envoy.filters.http.grpc_web", pack_any(&GrpcWeb::default()))
}
