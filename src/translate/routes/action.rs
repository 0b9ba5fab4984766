//! What a route does with a request.

use std::time::Duration;

use envoy_types::pb::envoy::config::{
    core::v3::{DataSource, data_source::Specifier},
    route::v3::{
        Decorator, DirectResponseAction, Route, RouteAction, WeightedCluster,
        route::Action,
        route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier},
        weighted_cluster::{ClusterWeight, cluster_weight},
    },
};

use super::{
    ClusterRef, Work, any_request, decorator, hash_policy::hash_policy, headers, mirror, redirect, retry, rewrite,
};
use crate::{
    model::virtual_service::{
        Body, DirectResponse, HttpAction, HttpDestination, HttpRoute, Mirror, Retries, RouteSemantics, UNANSWERED,
        UNMIRRORED,
    },
    translate::{filters::set_filter_state, listeners::wire},
};

/// The route of a service without a `VirtualService` (translation §6.2); `retries` as in
/// [`RouteInput::default_retries`](super::RouteInput::default_retries).
#[must_use]
pub fn default_route(to: &ClusterRef, retries: Option<&Retries>) -> Route {
    let mut action = forward(None);
    action.cluster_specifier = Some(ClusterSpecifier::Cluster(to.cluster.to_string()));
    // Hashing does not stop default routes from avoiding hosts that were tried: Istio's behaviour.
    action.retry_policy = retry::retry_policy(retries, false);
    action.hash_policy = to.hash.as_ref().map(hash_policy).into_iter().collect();
    let mut route = Route {
        name: "default".to_owned(),
        r#match: Some(any_request()),
        action: Some(Action::Route(action)),
        typed_per_filter_config: to.offers_http.then(set_filter_state::offers_http).into_iter().collect(),
        ..Route::default()
    };
    let operation = decorator::operation(&route, "", 0);
    route.decorator = Some(Decorator { operation, propagate: None });
    route
}

/// A route action with nothing but timeouts: none unless given, for gRPC's own header too.
pub(crate) fn forward(timeout: Option<Duration>) -> RouteAction {
    let timeout = wire::duration(timeout.unwrap_or_default());
    #[expect(deprecated, reason = "its replacement also ends streams that go on, which Istio's users do not expect")]
    let action = RouteAction { timeout, max_grpc_timeout: timeout, ..RouteAction::default() };
    action
}

/// An answer without a service.
pub(crate) fn direct_response(status: u16, body: Option<&Body>) -> Action {
    let specifier = body.map(|body| match body {
        Body::Text(text) => Specifier::InlineString(text.to_string()),
        Body::Bytes(bytes) => Specifier::InlineBytes(bytes.to_vec()),
    });
    let body = specifier.map(|specifier| DataSource { specifier: Some(specifier), ..DataSource::default() });
    Action::DirectResponse(DirectResponseAction { status: status.into(), body, ..DirectResponseAction::default() })
}

impl Work<'_, '_> {
    pub(super) fn act(&mut self, rule: &HttpRoute, route: &mut Route) {
        let changes = rule.headers.as_ref();
        changes.inspect(|h| headers::apply(h, route));
        match &rule.action {
            HttpAction::Redirect(to) => {
                route.action = Some(Action::Redirect(redirect::action(to, self.input.listener_port, self.input.tls)));
            }
            HttpAction::DirectResponse(DirectResponse { status, body }) => {
                route.action = Some(direct_response(*status, body.as_ref()));
            }
            HttpAction::Route(destinations) => {
                let mut action = self.forwarding(rule, route);
                self.lead(rule, destinations, route, &mut action);
                route.action = Some(Action::Route(action));
            }
            // Never the case: delegates are resolved before. Saying so beats routing to nowhere.
            HttpAction::Delegate { .. } => route.action = Some(direct_response(503, None)),
        }
    }

    /// Everything of a forwarding action but its destinations.
    fn forwarding(&mut self, rule: &HttpRoute, route: &Route) -> RouteAction {
        let mut action = forward(rule.timeout);
        if self.input.semantics == RouteSemantics::GatewayApi {
            action.set_cluster_not_found_response_code(ClusterNotFoundResponseCode::InternalServerError);
        }
        let mut authority = rule.headers.as_ref().and_then(headers::authority);
        if let Some(rewrite) = &rule.rewrite {
            action.append_x_forwarded_host = self.input.append_x_forwarded_host;
            rewrite::apply(rewrite, self.input.semantics, route.r#match.as_ref(), &mut action);
            authority = rewrite.authority.as_ref().or(authority);
        }
        action.host_rewrite_specifier = authority.map(|a| HostRewriteSpecifier::HostRewriteLiteral(a.to_string()));
        let single = rule.mirror.iter().map(|d| Mirror { destination: d.clone(), percent: rule.mirror_percent });
        let mirrors: Vec<Mirror> = single.chain(rule.mirrors.iter().cloned()).collect();
        for (at, mirror) in mirrors.iter().enumerate() {
            let field = match rule.mirror {
                Some(_) if at == 0 => "mirror".to_owned(),
                _ => format!("mirrors[{}].destination", at - usize::from(rule.mirror.is_some())),
            };
            if !mirror.percent.is_some_and(|p| p.is_zero()) {
                let found = self.cluster(rule, &field, &mirror.destination, UNMIRRORED);
                action.request_mirror_policies.push(mirror::policy(&found.cluster, mirror.percent));
            }
        }
        action
    }

    fn lead(&mut self, rule: &HttpRoute, to: &[HttpDestination], route: &mut Route, action: &mut RouteAction) {
        let mut hashed = false;
        if let [only] = to {
            let found = self.cluster(rule, "route[0].destination", &only.destination, UNANSWERED);
            hashed = found.hash.is_some();
            headers::apply(&only.headers, route);
            if action.host_rewrite_specifier.is_none() {
                let authority = headers::authority(&only.headers).map(ToString::to_string);
                action.host_rewrite_specifier = authority.map(HostRewriteSpecifier::HostRewriteLiteral);
            }
            action.hash_policy.extend(found.hash.as_ref().map(hash_policy));
            route.typed_per_filter_config.extend(found.offers_http.then(set_filter_state::offers_http));
            action.cluster_specifier = Some(ClusterSpecifier::Cluster(found.cluster.to_string()));
        } else {
            let weighed = to.iter().enumerate().filter(|(_, d)| d.weight > 0);
            let clusters = weighed.map(|(at, d)| self.weigh(rule, at, d, action)).collect();
            let weighted = WeightedCluster { clusters, ..WeightedCluster::default() };
            action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(weighted));
        }
        let retries = rule.retries.as_ref().or(self.input.default_retries);
        action.retry_policy = retry::retry_policy(retries, hashed);
    }

    fn weigh(&mut self, rule: &HttpRoute, at: usize, to: &HttpDestination, action: &mut RouteAction) -> ClusterWeight {
        let found = self.cluster(rule, &format!("route[{at}].destination"), &to.destination, UNANSWERED);
        action.hash_policy.extend(found.hash.as_ref().map(hash_policy));
        let (request, response) = (&to.headers.request, &to.headers.response);
        let authority = headers::authority(&to.headers).map(ToString::to_string);
        ClusterWeight {
            name: found.cluster.to_string(),
            weight: wire::uint32(to.weight),
            request_headers_to_add: headers::to_add(request),
            request_headers_to_remove: headers::to_remove(request),
            response_headers_to_add: headers::to_add(response),
            response_headers_to_remove: headers::to_remove(response),
            typed_per_filter_config: found.offers_http.then(set_filter_state::offers_http).into_iter().collect(),
            host_rewrite_specifier: authority.map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
            ..ClusterWeight::default()
        }
    }
}
