//! Which requests a route takes (translation §6.3).

use std::{collections::BTreeMap, sync::Arc};

use envoy_types::pb::envoy::{
    config::route::v3::{
        HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
    },
    r#type::matcher::v3::{
        ListMatcher, MetadataMatcher, OrMatcher, ValueMatcher, list_matcher,
        metadata_matcher::{PathSegment, path_segment::Segment},
        value_matcher::MatchPattern,
    },
};

use super::{any_request, regex, string_matcher};
use crate::{
    model::virtual_service::{HttpMatch, RouteSemantics, StringMatch, claim_path},
    translate::listeners::wire,
};

/// The match of a condition; `None` takes everything.
pub(super) fn route_match(condition: Option<&HttpMatch>, semantics: RouteSemantics) -> RouteMatch {
    let mut out = any_request();
    let Some(condition) = condition else { return out };
    out.path_specifier = condition.uri.as_ref().and_then(|uri| path(uri, semantics)).or(out.path_specifier);
    out.case_sensitive = wire::boolean(!condition.ignore_uri_case);
    add_headers(&condition.headers, false, &mut out);
    add_headers(&condition.without_headers, true, &mut out);
    out.headers.sort_by(|a, b| a.name.cmp(&b.name));
    let pseudo = [(":method", &condition.method), (":authority", &condition.authority), (":scheme", &condition.scheme)];
    out.headers.extend(pseudo.into_iter().filter_map(|(name, c)| Some(header(name, c.as_ref()?, false))));
    out.query_parameters = condition.query_params.iter().map(|(name, c)| query_parameter(name, c)).collect();
    out
}

fn path(uri: &StringMatch, semantics: RouteSemantics) -> Option<PathSpecifier> {
    Some(match uri {
        StringMatch::Present => return None,
        StringMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
        StringMatch::Regex(pattern) => PathSpecifier::SafeRegex(regex(pattern)),
        StringMatch::Prefix(prefix) => match prefix.trim_end_matches('/') {
            // Envoy takes no separated prefix of one character, nor one with a query.
            trimmed if semantics.path_separated() && trimmed.len() > 1 && !trimmed.contains(['?', '#']) => {
                PathSpecifier::PathSeparatedPrefix(trimmed.to_owned())
            }
            _ => PathSpecifier::Prefix(prefix.to_string()),
        },
    })
}

fn add_headers(conditions: &BTreeMap<Arc<str>, StringMatch>, invert: bool, out: &mut RouteMatch) {
    for (name, condition) in conditions {
        match claim_path(name) {
            Some(path) => out.dynamic_metadata.push(claim(path, condition, invert)),
            None => out.headers.push(header(name, condition, invert)),
        }
    }
}

fn header(name: &str, condition: &StringMatch, invert: bool) -> HeaderMatcher {
    let text = string_matcher(condition);
    HeaderMatcher {
        name: name.to_owned(),
        invert_match: invert,
        // Envoy refuses this together with a match of presence.
        treat_missing_header_as_empty: invert && text.is_some(),
        header_match_specifier: Some(
            text.map_or(HeaderMatchSpecifier::PresentMatch(true), HeaderMatchSpecifier::StringMatch),
        ),
    }
}

fn query_parameter(name: &str, condition: &StringMatch) -> QueryParameterMatcher {
    let text = string_matcher(condition).map(QueryParameterMatchSpecifier::StringMatch);
    QueryParameterMatcher {
        name: name.to_owned(),
        query_parameter_match_specifier: text.or(Some(QueryParameterMatchSpecifier::PresentMatch(true))),
    }
}

/// A condition on a claim of the verified token: its value, or one of its values.
fn claim(path: Vec<&str>, condition: &StringMatch, invert: bool) -> MetadataMatcher {
    let value = match string_matcher(condition) {
        Some(text) => ValueMatcher { match_pattern: Some(MatchPattern::StringMatch(text)) },
        None => ValueMatcher { match_pattern: Some(MatchPattern::PresentMatch(true)) },
    };
    let one_of = ListMatcher { match_pattern: Some(list_matcher::MatchPattern::OneOf(Box::new(value.clone()))) };
    let member = ValueMatcher { match_pattern: Some(MatchPattern::ListMatch(Box::new(one_of))) };
    let either = MatchPattern::OrMatch(OrMatcher { value_matchers: vec![member, value] });
    let segment = |key: &str| PathSegment { segment: Some(Segment::Key(key.to_owned())) };
    MetadataMatcher {
        filter: "envoy.filters.http.jwt_authn".to_owned(),
        path: std::iter::once("payload").chain(path).map(segment).collect(),
        value: Some(ValueMatcher { match_pattern: Some(either) }),
        invert,
    }
}
