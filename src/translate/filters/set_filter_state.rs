//! What a request offers in the TLS of its upstream connection (translation §10): Istio's own Envoy decides it for each
//! request by a filter that stock Envoy lacks.
//!
//! The cluster of a port of sniffed protocol takes HTTP and anything else alike, and offers `istio`. Requests for it offer
//! that they are HTTP, so that the server's sidecar reads them as such. Only routes that lead to such a cluster say so:
//! over the offer of a cluster whose HTTP version is fixed it would break the connection.

use std::sync::LazyLock;

use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            DataSource, SubstitutionFormatString, data_source::Specifier, substitution_format_string::Format,
        },
        extensions::filters::{
            common::set_filter_state::v3::{
                FilterStateValue,
                filter_state_value::{Key, SharedWithUpstream, Value},
            },
            http::set_filter_state::v3::Config,
            network::http_connection_manager::v3::HttpFilter,
        },
    },
    google::protobuf::Any,
};

use super::http_filter;
use crate::snapshot::pack_any;

/// The filter's name, under which routes say what theirs does.
pub(crate) const NAME: &str = "envoy.filters.http.set_filter_state";

/// Where Envoy's connection pools look for the protocols to offer.
const OFFER: &str = "envoy.network.application_protocols";

/// HTTP of the version that its first bytes tell: none of these is chosen by a server, which then reads them.
const HTTP: &str = "istio-http/1.1,istio";

/// The same in every chain.
static FILTER: LazyLock<HttpFilter> = LazyLock::new(|| http_filter(NAME, pack_any(&Config::default())));

/// The same in every route.
static OFFERS_HTTP: LazyLock<Any> = LazyLock::new(|| pack_any(&config()));

/// The filter, which does nothing but what routes say.
pub(super) fn filter() -> HttpFilter {
    FILTER.clone()
}

/// For a route, or for a cluster among its weighted ones: requests offer that they are HTTP.
pub(crate) fn offers_http() -> (String, Any) {
    (NAME.to_owned(), OFFERS_HTTP.clone())
}

fn config() -> Config {
    let text = DataSource { specifier: Some(Specifier::InlineString(HTTP.to_owned())), ..DataSource::default() };
    let value = SubstitutionFormatString {
        format: Some(Format::TextFormatSource(text)),
        ..SubstitutionFormatString::default()
    };
    let state = FilterStateValue {
        key: Some(Key::ObjectKey(OFFER.to_owned())),
        value: Some(Value::FormatString(value)),
        shared_with_upstream: SharedWithUpstream::Once.into(),
        ..FilterStateValue::default()
    };
    Config { on_request_headers: vec![state], ..Config::default() }
}
