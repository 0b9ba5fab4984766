//! HTTP rules of a `VirtualService` as Envoy's routes (translation §6.3, §6.4).
//!
//! ```text
//!  HttpRoute × HttpMatch ─ source, port: is it for this proxy? ─► Route { match, action, filters' settings }
//!                                                Destination ─ resolve ─► ClusterRef
//! ```

mod action;
mod cors;
mod decorator;
mod fault;
mod hash_policy;
mod headers;
mod matching;
mod mirror;
mod percent;
mod redirect;
mod retry;
mod rewrite;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use envoy_types::pb::{
    envoy::config::{
        core::v3::Metadata,
        route::v3::{Decorator, Route, RouteMatch, route_match::PathSpecifier},
    },
    google::protobuf::{Any, Struct, Value, value::Kind},
};

pub(super) use self::action::{direct_response, forward};
pub use self::{action::default_route, hash_policy::hash_policy, retry::retry_policy};
use crate::{
    model::{
        Flaw, Labels, ObjectRef, Problem,
        destination_rule::HashKey,
        virtual_service::{Destination, GatewayName, HttpMatch, HttpRoute, Retries, RouteSemantics, StringMatch},
    },
    snapshot::Name,
};

/// Everything that decides the routes of a `VirtualService`, besides its rules.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'a> {
    /// The object that is bound to hosts; of delegated rules the root.
    pub object: &'a ObjectRef,
    /// Whose rules of matching apply.
    pub semantics: RouteSemantics,
    /// The gateways in play: `mesh` for sidecars, those of the servers behind the route configuration for gateways.
    pub gateways: &'a [GatewayName],
    /// The proxy's labels; empty when [`SourceFacets`](crate::model::virtual_service::SourceFacets) says that no
    /// rule looks at them.
    pub labels: &'a Labels,
    /// The proxy's namespace; empty when no rule looks at it.
    pub namespace: &'a str,
    /// The port as users write it: of the service, or of the Gateway's server.
    pub listener_port: u16,
    /// Whether requests come over TLS that ends here.
    pub tls: bool,
    /// Whether the listener has an HTTP/3 companion, which responses tell of.
    pub http3: bool,
    /// Retries of rules that say nothing; `None` is Istio's default.
    pub default_retries: Option<&'a Retries>,
    /// Whether rewritten requests get `x-forwarded-host` (ProxyConfig `proxyHeaders.xForwardedHost`).
    pub append_x_forwarded_host: bool,
}

/// Where a destination leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// The cluster's name, whether it exists or not.
    pub cluster: Name,
    /// Why there is no such cluster, if so.
    pub missing: Option<Flaw>,
    /// What the destination's consistent hashing looks at.
    pub hash: Option<HashKey>,
    /// Whether the port's protocol is sniffed and mutual TLS of the mesh may be on the way: see
    /// [`offers_http`](crate::translate::clusters::offers_http).
    pub offers_http: bool,
}

/// Routes and what was found while they were made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteOutput {
    /// The routes, in order of evaluation; empty: the object has nothing for this proxy and port.
    pub routes: Vec<Route>,
    /// The clusters that they lead to and that exist, for [`Refs`](crate::snapshot::Refs).
    pub clusters: BTreeSet<Name>,
    /// What is wrong with the rules that this proxy has.
    pub problems: Vec<Problem>,
}

/// Finds clusters of destinations.
pub type Resolve<'a> = &'a mut dyn FnMut(&Destination) -> ClusterRef;

/// The routes of `http` (without delegates: see
/// [`resolve_delegates`](crate::model::virtual_service::resolve_delegates)) for a proxy and port.
pub fn routes(input: &RouteInput<'_>, http: &[HttpRoute], resolve: Resolve<'_>) -> RouteOutput {
    let mut work = Work { input, resolve, out: RouteOutput::default() };
    for rule in http {
        if work.add_rule(rule) {
            break;
        }
    }
    work.out
}

/// Whether a route takes every request, so that none behind it is reached.
#[must_use]
pub fn is_catch_all(route: &Route) -> bool {
    let Some(matching) = &route.r#match else { return false };
    let any_path = match &matching.path_specifier {
        Some(PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix)) => prefix == "/",
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    any_path
        && matching.headers.is_empty()
        && matching.query_parameters.is_empty()
        && matching.dynamic_metadata.is_empty()
}

/// What is under way while the routes of one object are made.
struct Work<'a, 'r> {
    input: &'a RouteInput<'a>,
    resolve: Resolve<'r>,
    out: RouteOutput,
}

impl fmt::Debug for Work<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("input", self.input).field("out", &self.out).finish_non_exhaustive()
    }
}

impl Work<'_, '_> {
    /// Adds the routes of a rule; says whether it takes everything that is left.
    fn add_rule(&mut self, rule: &HttpRoute) -> bool {
        if rule.matches.is_empty() {
            self.add(rule, None);
            return true;
        }
        rule.matches.iter().any(|m| self.add(rule, Some(m)))
    }

    /// Adds the route of a rule under a condition, if it is for this proxy; says whether it takes everything.
    fn add(&mut self, rule: &HttpRoute, matching: Option<&HttpMatch>) -> bool {
        let input = self.input;
        let here = |m: &HttpMatch| {
            m.port.is_none_or(|p| p == input.listener_port)
                && m.source.admits_http(input.gateways, input.labels, input.namespace)
        };
        if !matching.is_none_or(here) {
            return false;
        }
        let mut route = Route {
            name: route_name(rule, matching),
            r#match: Some(matching::route_match(matching, input.semantics)),
            metadata: Some(config_metadata(input.object)),
            stat_prefix: matching.map_or_else(String::new, |m| m.stat_prefix.to_string()),
            typed_per_filter_config: filters(rule),
            ..Route::default()
        };
        self.act(rule, &mut route);
        let operation = decorator::operation(&route, &input.object.name, input.listener_port);
        route.decorator = Some(Decorator { operation, propagate: None });
        if input.http3 {
            route.response_headers_to_add.push(headers::alt_svc(input.listener_port));
        }
        let last = is_catch_all(&route);
        self.out.routes.push(route);
        last
    }

    /// Finds a destination's cluster; `field` is within the rule, and `without` is what follows when there is none.
    fn cluster(&mut self, rule: &HttpRoute, field: &str, destination: &Destination, without: &str) -> ClusterRef {
        let found = (self.resolve)(destination);
        match &found.missing {
            None => {
                self.out.clusters.insert(found.cluster.clone());
            }
            Some(missing) => self.report(rule, field, missing.clone().then(without)),
        }
        found
    }

    fn report(&mut self, rule: &HttpRoute, field: &str, flaw: Flaw) {
        let object = rule.delegate.as_ref().unwrap_or(self.input.object).clone();
        let problem = flaw.at(object, format!("spec.http[{}].{field}", rule.index));
        // A rule with several conditions meets the same problem in each of its routes.
        if !self.out.problems.contains(&problem) {
            self.out.problems.push(problem);
        }
    }
}

fn route_name(rule: &HttpRoute, matching: Option<&HttpMatch>) -> String {
    match matching.map(|m| &*m.name) {
        None | Some("") => rule.name.to_string(),
        Some(name) => format!("{}.{name}", rule.name),
    }
}

/// Settings of filters for this route.
fn filters(rule: &HttpRoute) -> HashMap<String, Any> {
    let fault = rule.fault.as_ref().and_then(fault::settings);
    let cors = rule.cors.as_ref().map(cors::settings);
    let named = [("envoy.filters.http.fault", fault), ("envoy.filters.http.cors", cors)];
    named.into_iter().filter_map(|(name, settings)| Some((name.to_owned(), settings?))).collect()
}

/// Which object a route was made of, as consoles read it (contract §3.3).
fn config_metadata(object: &ObjectRef) -> Metadata {
    let path = format!("/apis/networking.istio.io/v1/namespaces/{}/virtual-service/{}", object.namespace, object.name);
    let fields = HashMap::from([("config".to_owned(), Value { kind: Some(Kind::StringValue(path)) })]);
    let filter_metadata = HashMap::from([("istio".to_owned(), Struct { fields })]);
    Metadata { filter_metadata, ..Metadata::default() }
}

/// A match of every request.
pub(super) fn any_request() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..RouteMatch::default() }
}

/// A condition on a text; `None` when it is only about presence.
fn string_matcher(condition: &StringMatch) -> Option<envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher> {
    use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
    let pattern = match condition {
        StringMatch::Present => return None,
        StringMatch::Exact(text) => MatchPattern::Exact(text.to_string()),
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        StringMatch::Regex(text) => MatchPattern::SafeRegex(regex(text)),
    };
    Some(StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() })
}

fn regex(pattern: &str) -> envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher {
    use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
    RegexMatcher { regex: pattern.to_owned(), ..RegexMatcher::default() }
}

#[cfg(test)]
mod tests;
