//! Changes of headers (translation §6.4).

use std::{collections::BTreeMap, sync::Arc};

use envoy_types::pb::envoy::config::{
    core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
    route::v3::Route,
};

use crate::model::virtual_service::{HeaderOps, Headers};

/// Appends changes to those that the route has.
pub(super) fn apply(headers: &Headers, route: &mut Route) {
    route.request_headers_to_add.extend(to_add(&headers.request));
    route.request_headers_to_remove.extend(to_remove(&headers.request));
    route.response_headers_to_add.extend(to_add(&headers.response));
    route.response_headers_to_remove.extend(to_remove(&headers.response));
}

/// First those that replace, then those that append, each sorted by name.
pub(super) fn to_add(ops: &HeaderOps) -> Vec<HeaderValueOption> {
    let set = options(&ops.set, HeaderAppendAction::OverwriteIfExistsOrAdd);
    set.chain(options(&ops.add, HeaderAppendAction::AppendIfExistsOrAdd)).collect()
}

pub(super) fn to_remove(ops: &HeaderOps) -> Vec<String> {
    ops.remove.iter().filter(|name| !is_internal(name)).map(ToString::to_string).collect()
}

/// The authority that changes of the request ask for: `Host` is not a header to Envoy.
pub(super) fn authority(headers: &Headers) -> Option<&Arc<str>> {
    let request = &headers.request;
    let mut changes = request.set.iter().chain(&request.add);
    changes.find(|(name, value)| is_authority(name) && !value.is_empty()).map(|(_, value)| value)
}

/// Tells clients that the port speaks HTTP/3 too.
pub(super) fn alt_svc(port: u16) -> HeaderValueOption {
    option("alt-svc", &format!("h3=\":{port}\"; ma=86400"), HeaderAppendAction::AppendIfExistsOrAdd)
}

fn options(
    changes: &BTreeMap<Arc<str>, Arc<str>>,
    action: HeaderAppendAction,
) -> impl Iterator<Item = HeaderValueOption> {
    changes.iter().filter(|(name, _)| !is_internal(name)).map(move |(name, value)| option(name, value, action))
}

fn option(name: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
    let header = HeaderValue { key: name.to_owned(), value: value.to_owned(), ..HeaderValue::default() };
    HeaderValueOption { header: Some(header), append_action: action.into(), ..HeaderValueOption::default() }
}

/// Envoy changes neither the authority nor other pseudo headers this way.
fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}
