//! Changes of the path before a request goes on.

use envoy_types::pb::envoy::{
    config::route::v3::{RouteAction, RouteMatch, route_match::PathSpecifier},
    r#type::matcher::v3::RegexMatchAndSubstitute,
};

use super::regex;
use crate::model::virtual_service::{PathRewrite, Rewrite, RouteSemantics};

pub(super) fn apply(
    rewrite: &Rewrite,
    semantics: RouteSemantics,
    matching: Option<&RouteMatch>,
    action: &mut RouteAction,
) {
    match &rewrite.path {
        None => {}
        Some(PathRewrite::Regex { pattern, substitution }) => {
            action.regex_rewrite = Some(substitute(pattern, substitution));
        }
        Some(PathRewrite::Prefix(prefix)) if semantics == RouteSemantics::GatewayApi && &**prefix == "/" => {
            // Replacing a separated prefix with "/" would leave "//": the prefix and a slash behind it go.
            let matched = match matching.and_then(|m| m.path_specifier.as_ref()) {
                Some(PathSpecifier::PathSeparatedPrefix(prefix)) => prefix.as_str(),
                _ => "",
            };
            let pattern = format!("^{}(/?)(.*)", ::regex::escape(matched));
            action.regex_rewrite = Some(substitute(&pattern, r"/\2"));
        }
        Some(PathRewrite::Prefix(prefix)) => action.prefix_rewrite = prefix.to_string(),
    }
}

fn substitute(pattern: &str, substitution: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute { pattern: Some(regex(pattern)), substitution: substitution.to_owned() }
}
