//! Cross-origin resource sharing, as settings of the CORS filter.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::extensions::filters::http::cors::v3::CorsPolicy,
    google::protobuf::{Any, BoolValue},
};

use super::{percent, string_matcher};
use crate::{
    model::virtual_service::{Cors, Percent},
    snapshot::pack_any,
};

pub(super) fn settings(cors: &Cors) -> Any {
    pack_any(&CorsPolicy {
        allow_origin_string_match: cors.allow_origins.iter().filter_map(string_matcher).collect(),
        allow_methods: join(&cors.allow_methods),
        allow_headers: join(&cors.allow_headers),
        expose_headers: join(&cors.expose_headers),
        max_age: cors.max_age.map_or_else(String::new, |age| age.as_secs().to_string()),
        allow_credentials: cors.allow_credentials.map(|value| BoolValue { value }),
        filter_enabled: Some(percent::runtime(Percent::ALL)),
        forward_not_matching_preflights: Some(BoolValue { value: cors.forward_unmatched_preflights }),
        ..CorsPolicy::default()
    })
}

fn join(words: &[Arc<str>]) -> String {
    words.join(",")
}
