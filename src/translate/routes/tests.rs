mod property;

use std::{sync::Arc, time::Duration};

use envoy_types::pb::envoy::{
    config::{
        core::v3::{HeaderValueOption, data_source::Specifier},
        route::v3::{
            RedirectAction, RouteAction,
            header_matcher::HeaderMatchSpecifier,
            query_parameter_matcher::QueryParameterMatchSpecifier,
            redirect_action::PathRewriteSpecifier,
            route::Action,
            route_action::{ClusterSpecifier, HostRewriteSpecifier, hash_policy::PolicySpecifier},
        },
    },
    extensions::filters::http::{cors::v3::CorsPolicy, fault::v3::HttpFault, fault::v3::fault_abort::ErrorType},
    r#type::matcher::v3::string_matcher::MatchPattern,
};
use prost::Message;

use super::*;
use crate::model::{Code, virtual_service::*};

/// A sidecar in `ns` with `app=web`, listening on port 80.
fn site<'a>(object: &'a ObjectRef, labels: &'a Labels) -> RouteInput<'a> {
    RouteInput {
        object,
        semantics: RouteSemantics::Istio,
        gateways: &[GatewayName::Mesh],
        labels,
        namespace: "ns",
        listener_port: 80,
        tls: false,
        http3: false,
        default_retries: None,
        append_x_forwarded_host: false,
    }
}

fn resolve(to: &Destination) -> ClusterRef {
    let cluster = format!("outbound|{}|{}|{}", to.port.unwrap_or(80), to.subset, to.host);
    let hash = (&*to.host == "hashed").then(|| HashKey::Header("x-user".into()));
    let missing = (&*to.host == "gone").then(|| Flaw::new(Code::DestinationHostUnknown, "no such service"));
    ClusterRef { cluster: cluster.into(), missing, hash, offers_http: &*to.host == "sniffed" }
}

fn translate(change: impl FnOnce(&mut RouteInput<'_>), http: &[HttpRoute]) -> RouteOutput {
    let object = ObjectRef::new("VirtualService", "ns", "rules");
    let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
    let mut input = site(&object, &labels);
    change(&mut input);
    routes(&input, http, &mut resolve)
}

fn one(rule: HttpRoute) -> Route {
    let mut out = translate(|_| (), &[rule]);
    assert_eq!(out.problems, []);
    out.routes.remove(0)
}

fn to(host: &str) -> HttpDestination {
    weighted(host, 0)
}

fn weighted(host: &str, weight: u32) -> HttpDestination {
    let destination = Destination { host: host.into(), subset: "".into(), port: None };
    HttpDestination { destination, weight, headers: Headers::default() }
}

fn rule(action: HttpAction) -> HttpRoute {
    HttpRoute {
        name: "".into(),
        index: 0,
        delegate: None,
        matches: Vec::new(),
        action,
        rewrite: None,
        timeout: None,
        retries: None,
        fault: None,
        mirror: None,
        mirror_percent: None,
        mirrors: Vec::new(),
        cors: None,
        headers: None,
    }
}

fn forwarded() -> HttpRoute {
    rule(HttpAction::Route(vec![to("a")]))
}

fn when(condition: HttpMatch) -> HttpRoute {
    HttpRoute { matches: vec![condition], ..forwarded() }
}

fn prefix(text: &str) -> Option<StringMatch> {
    Some(StringMatch::Prefix(text.into()))
}

fn action(route: &Route) -> &RouteAction {
    match &route.action {
        Some(Action::Route(action)) => action,
        other => panic!("not forwarded: {other:?}"),
    }
}

fn path(route: &Route) -> &PathSpecifier {
    route.r#match.as_ref().and_then(|m| m.path_specifier.as_ref()).expect("a path")
}

fn settings<M: Message + Default>(route: &Route, filter: &str) -> M {
    M::decode(&route.typed_per_filter_config[filter].value[..]).expect("decodes")
}

fn text(value: &str) -> Arc<str> {
    value.into()
}

#[test]
fn rules_for_other_proxies_and_ports_are_left_out() {
    let from = |source| HttpMatch { source, ..HttpMatch::default() };
    let label = |v: &str| SourceMatch { labels: Labels::from([("app".into(), v.into())]), ..SourceMatch::default() };
    let namespace = |ns: &str| SourceMatch { namespace: Some(ns.into()), ..SourceMatch::default() };
    let through = |gateway, base| SourceMatch { gateways: vec![gateway], ..base };
    let edge = || GatewayName::Named("ns/edge".into());
    let port = |port| HttpMatch { port: Some(port), ..HttpMatch::default() };
    for (condition, here) in [
        (HttpMatch::default(), true),
        (port(80), true),
        (port(81), false),
        (from(label("web")), true),
        (from(label("api")), false),
        (from(namespace("ns")), true),
        (from(namespace("other")), false),
        (from(through(edge(), SourceMatch::default())), false),
        // Gateways are all that counts when there are some.
        (from(through(GatewayName::Mesh, label("api"))), true),
        (from(through(edge(), label("web"))), false),
    ] {
        let out = translate(|_| (), &[when(condition.clone())]);
        assert_eq!(out.routes.len(), usize::from(here), "{condition:?}");
        assert_eq!(out.clusters.len(), usize::from(here), "only what is sent is referred to");
    }
}

#[test]
fn nothing_behind_a_rule_that_takes_everything_is_sent() {
    let on = |p: &str| HttpMatch { uri: prefix(p), ..HttpMatch::default() };
    let both = HttpRoute { matches: vec![on("/"), on("/never")], ..forwarded() };
    for (http, expected) in [
        (vec![forwarded(), forwarded()], 1),
        (vec![both, forwarded()], 1),
        (vec![when(on("/a")), when(on("/b")), forwarded(), forwarded()], 3),
        (vec![when(HttpMatch { uri: Some(StringMatch::Regex(".*".into())), ..HttpMatch::default() }), forwarded()], 1),
        (vec![when(HttpMatch { method: prefix("G"), ..on("/") }), forwarded()], 2),
        // A rule without conditions ends the list also when it comes first.
        (vec![forwarded(), when(on("/a"))], 1),
    ] {
        assert_eq!(translate(|_| (), &http).routes.len(), expected, "{http:?}");
    }
}

#[test]
fn paths_are_matched_by_the_rules_of_their_api() {
    let istio = RouteSemantics::Istio;
    let k8s = RouteSemantics::GatewayApi;
    let exact = |p: &str| Some(StringMatch::Exact(p.into()));
    for (semantics, uri, expected) in [
        (istio, None, PathSpecifier::Prefix("/".into())),
        (istio, Some(StringMatch::Present), PathSpecifier::Prefix("/".into())),
        (istio, exact("/a"), PathSpecifier::Path("/a".into())),
        (istio, prefix("/a/"), PathSpecifier::Prefix("/a/".into())),
        (istio, Some(StringMatch::Regex("/a.*".into())), PathSpecifier::SafeRegex(regex("/a.*"))),
        (k8s, prefix("/a/"), PathSpecifier::PathSeparatedPrefix("/a".into())),
        (k8s, prefix("/"), PathSpecifier::Prefix("/".into())),
        (RouteSemantics::Ingress, prefix("/a"), PathSpecifier::PathSeparatedPrefix("/a".into())),
    ] {
        let condition = HttpMatch { uri: uri.clone(), ..HttpMatch::default() };
        let out = translate(|i| i.semantics = semantics, &[when(condition)]);
        assert_eq!(path(&out.routes[0]), &expected, "{uri:?}");
    }
    let any_case = HttpMatch { uri: exact("/A"), ignore_uri_case: true, ..HttpMatch::default() };
    let case = |rule: HttpRoute| one(rule).r#match.and_then(|m| m.case_sensitive).map(|c| c.value);
    assert_eq!(case(when(any_case)), Some(false));
    assert_eq!(case(when(HttpMatch::default())), Some(true));
    assert_eq!(case(forwarded()), None);
}

#[test]
fn headers_are_sorted_and_pseudo_headers_come_last() {
    let exact = |v: &str| StringMatch::Exact(v.into());
    let condition = HttpMatch {
        method: Some(exact("GET")),
        authority: prefix("web"),
        scheme: Some(exact("http")),
        headers: [(text("z"), exact("1")), (text("b"), StringMatch::Present)].into(),
        without_headers: [(text("c"), exact("1")), (text("a"), StringMatch::Present)].into(),
        query_params: [(text("q"), exact("1")), (text("p"), StringMatch::Present)].into(),
        ..HttpMatch::default()
    };
    let matching = one(when(condition)).r#match.expect("a match");
    let seen: Vec<(&str, bool, bool, bool)> = matching
        .headers
        .iter()
        .map(|h| {
            let present = h.header_match_specifier == Some(HeaderMatchSpecifier::PresentMatch(true));
            (h.name.as_str(), present, h.invert_match, h.treat_missing_header_as_empty)
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("a", true, true, false),
            ("b", true, false, false),
            ("c", false, true, true),
            ("z", false, false, false),
            (":method", false, false, false),
            (":authority", false, false, false),
            (":scheme", false, false, false),
        ]
    );
    let names: Vec<&str> = matching.query_parameters.iter().map(|q| q.name.as_str()).collect();
    assert_eq!(names, ["p", "q"]);
    let present = Some(QueryParameterMatchSpecifier::PresentMatch(true));
    assert_eq!(matching.query_parameters[0].query_parameter_match_specifier, present);
}

#[test]
fn claims_are_matched_in_the_metadata_of_verified_tokens() {
    let name = text("@request.auth.claims[group][id]");
    let condition = HttpMatch {
        headers: [(name.clone(), StringMatch::Exact("7".into()))].into(),
        without_headers: [(name, StringMatch::Present)].into(),
        ..HttpMatch::default()
    };
    let matching = one(when(condition)).r#match.expect("a match");
    assert_eq!(matching.headers, []);
    let [with, without] = &matching.dynamic_metadata[..] else { panic!("two conditions") };
    assert_eq!((with.filter.as_str(), with.path.len(), with.invert), ("envoy.filters.http.jwt_authn", 3, false));
    assert!(without.invert);
}

#[test]
fn a_route_tells_what_it_was_made_of() {
    let named = HttpRoute {
        name: "v1".into(),
        ..when(HttpMatch { name: "m".into(), stat_prefix: "s".into(), uri: prefix("/x"), ..HttpMatch::default() })
    };
    let route = one(named);
    assert_eq!((route.name.as_str(), route.stat_prefix.as_str()), ("v1.m", "s"));
    let value = &route.metadata.expect("metadata").filter_metadata["istio"].fields["config"];
    let path = "/apis/networking.istio.io/v1/namespaces/ns/virtual-service/rules";
    assert_eq!(value.kind, Some(Kind::StringValue(path.to_owned())));
    let operation = |rule| one(rule).decorator.map(|d| d.operation).unwrap_or_default();
    assert_eq!(operation(when(HttpMatch { uri: prefix("/x"), ..HttpMatch::default() })), "a:80/x*");
    let two = rule(HttpAction::Route(vec![weighted("a", 1), weighted("b", 1)]));
    assert_eq!(operation(two), "rules:80/*");
}

#[test]
fn destinations_are_one_cluster_or_weighted_ones() {
    let single = one(forwarded());
    assert_eq!(action(&single).cluster_specifier, Some(ClusterSpecifier::Cluster("outbound|80||a".into())));
    let out =
        translate(|_| (), &[rule(HttpAction::Route(vec![weighted("a", 30), weighted("b", 0), weighted("c", 70)]))]);
    let Some(ClusterSpecifier::WeightedClusters(weights)) = &action(&out.routes[0]).cluster_specifier else {
        panic!("weighted")
    };
    let weights: Vec<(&str, u32)> =
        weights.clusters.iter().map(|c| (c.name.as_str(), c.weight.map_or(0, |w| w.value))).collect();
    assert_eq!(weights, [("outbound|80||a", 30), ("outbound|80||c", 70)]);
    assert_eq!(out.clusters, ["outbound|80||a".into(), "outbound|80||c".into()].into());
}

#[test]
fn a_destination_that_is_not_there_is_reported_once_and_not_waited_for() {
    let on = |p: &str| HttpMatch { uri: prefix(p), ..HttpMatch::default() };
    let mut lost =
        HttpRoute { matches: vec![on("/a"), on("/b")], index: 4, ..rule(HttpAction::Route(vec![to("gone")])) };
    let out = translate(|_| (), std::slice::from_ref(&lost));
    assert_eq!((out.routes.len(), out.clusters.len(), out.problems.len()), (2, 0, 1));
    assert_eq!(out.problems[0].field, "spec.http[4].route[0].destination");
    lost.delegate = Some(ObjectRef::new("VirtualService", "ns", "sub"));
    assert_eq!(translate(|_| (), &[lost]).problems[0].object.name, "sub".into());
}

#[test]
fn requests_have_no_timeout_unless_told() {
    let timeout = |rule: HttpRoute| {
        let route = one(rule);
        #[expect(deprecated, reason = "Envoy still uses it")]
        let (all, grpc) = (action(&route).timeout, action(&route).max_grpc_timeout);
        assert_eq!(all, grpc);
        all.map(|t| (t.seconds, t.nanos))
    };
    assert_eq!(timeout(forwarded()), Some((0, 0)));
    assert_eq!(
        timeout(HttpRoute { timeout: Some(Duration::from_millis(1500)), ..forwarded() }),
        Some((1, 500_000_000))
    );
}

#[test]
fn requests_are_retried_twice_on_other_hosts_unless_told() {
    let policy = |retries: Option<Retries>, host: &str| {
        let rule = HttpRoute { retries, ..rule(HttpAction::Route(vec![to(host)])) };
        action(&one(rule)).retry_policy.clone()
    };
    let default = policy(None, "a").expect("a policy");
    assert_eq!(default.num_retries.map(|n| n.value), Some(2));
    assert_eq!(default.retry_on, "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes");
    assert_eq!((default.retry_host_predicate.len(), default.host_selection_retry_max_attempts), (1, 5));
    let hashed = policy(None, "hashed").expect("a policy");
    assert_eq!(hashed.retry_host_predicate, [], "a hashed host does not change");
    let said = Retries {
        attempts: 3,
        conditions: vec!["5xx".into()],
        status_codes: vec![503],
        per_try_timeout: Some(Duration::from_secs(1)),
        backoff: Some(Duration::from_millis(10)),
        remote_localities: true,
        ignore_previous_hosts: Some(true),
    };
    let explicit = policy(Some(said.clone()), "hashed").expect("a policy");
    assert_eq!(explicit.retry_on, "5xx,retriable-status-codes");
    assert_eq!((explicit.num_retries.map(|n| n.value), &explicit.retriable_status_codes[..]), (Some(3), &[503][..]));
    assert_eq!(explicit.retry_host_predicate.len(), 1);
    assert!(explicit.retry_priority.is_some() && explicit.retry_back_off.is_some());
    assert_eq!(policy(Some(Retries::default()), "a"), None, "no attempts, no policy");
    let (object, labels) = (ObjectRef::new("VirtualService", "ns", "rules"), Labels::new());
    let input = RouteInput { default_retries: Some(&said), ..site(&object, &labels) };
    let mesh = routes(&input, &[forwarded()], &mut resolve);
    assert_eq!(action(&mesh.routes[0]).retry_policy.as_ref().and_then(|p| p.num_retries).map(|n| n.value), Some(3));
}

fn redirect(to: Redirect, tls: bool) -> RedirectAction {
    let mut out = translate(|i| i.tls = tls, &[rule(HttpAction::Redirect(to))]);
    match out.routes.remove(0).action {
        Some(Action::Redirect(action)) => action,
        other => panic!("not a redirect: {other:?}"),
    }
}

#[test]
fn redirects_elide_the_usual_port_of_the_scheme() {
    let plain = Redirect { path: None, authority: None, scheme: None, port: None, code: RedirectCode::Found };
    let port = |scheme: Option<&str>, port, tls| {
        redirect(Redirect { scheme: scheme.map(Into::into), port: Some(port), ..plain.clone() }, tls).port_redirect
    };
    assert_eq!(port(None, RedirectPort::Request, false), 0);
    assert_eq!(port(None, RedirectPort::Request, true), 80);
    assert_eq!(port(Some("https"), RedirectPort::Number(443), false), 0);
    assert_eq!(port(Some("http"), RedirectPort::Number(443), false), 443);
    assert_eq!(port(None, RedirectPort::ProtocolDefault, false), 0);
    let made = redirect(Redirect { path: Some(RedirectPath::Prefix("/new".into())), ..plain }, false);
    assert_eq!(made.path_rewrite_specifier, Some(PathRewriteSpecifier::PrefixRewrite("/new".into())));
    assert_eq!(made.response_code, 1);
}

#[test]
fn direct_responses_have_a_status_and_a_body() {
    let body = Some(Body::Text("hi".into()));
    let route = one(rule(HttpAction::DirectResponse(DirectResponse { status: 418, body })));
    let Some(Action::DirectResponse(made)) = route.action else { panic!("a direct response") };
    assert_eq!(made.status, 418);
    assert_eq!(made.body.and_then(|b| b.specifier), Some(Specifier::InlineString("hi".into())));
}

#[test]
fn rewrites_change_path_and_authority() {
    let with = |path, authority: Option<&str>| {
        let rewrite = Some(Rewrite { path, authority: authority.map(Into::into) });
        HttpRoute { rewrite, ..forwarded() }
    };
    let made = one(with(Some(PathRewrite::Prefix("/new".into())), Some("b.com")));
    assert_eq!(action(&made).prefix_rewrite, "/new");
    let literal = HostRewriteSpecifier::HostRewriteLiteral("b.com".into());
    assert_eq!(action(&made).host_rewrite_specifier, Some(literal));
    let by_regex = PathRewrite::Regex { pattern: "^/(.*)".into(), substitution: r"/v1/\1".into() };
    let made = one(with(Some(by_regex), None));
    assert_eq!(action(&made).regex_rewrite.as_ref().map(|r| r.substitution.as_str()), Some(r"/v1/\1"));
    let strip = HttpRoute {
        matches: vec![HttpMatch { uri: prefix("/a.b"), ..HttpMatch::default() }],
        ..with(Some(PathRewrite::Prefix("/".into())), None)
    };
    let out = translate(|i| i.semantics = RouteSemantics::GatewayApi, &[strip]);
    let regex = action(&out.routes[0]).regex_rewrite.clone().and_then(|r| r.pattern).expect("a pattern");
    assert_eq!(regex.regex, r"^/a\.b(/?)(.*)");
    let out = translate(|i| i.append_x_forwarded_host = true, &[with(None, Some("b.com")), forwarded()]);
    assert!(action(&out.routes[0]).append_x_forwarded_host);
}

fn ops(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderOps {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (text(k), text(v))).collect();
    HeaderOps { set: map(set), add: map(add), remove: remove.iter().map(|r| text(r)).collect() }
}

fn keys(options: &[HeaderValueOption]) -> Vec<(&str, i32)> {
    options.iter().map(|o| (o.header.as_ref().map_or("", |h| h.key.as_str()), o.append_action)).collect()
}

#[test]
fn headers_are_set_added_and_removed_and_host_is_a_rewrite() {
    let request = ops(&[("b", "1"), ("a", "1"), ("Host", "h.com")], &[("c", "1"), (":path", "/")], &["d", "host"]);
    let headers = Headers { request, response: ops(&[], &[("r", "1")], &["s"]) };
    let route = one(HttpRoute { headers: Some(headers.clone()), ..forwarded() });
    // 2 overwrites or adds, 0 appends.
    assert_eq!(keys(&route.request_headers_to_add), [("a", 2), ("b", 2), ("c", 0)]);
    assert_eq!(route.request_headers_to_remove, ["d"]);
    assert_eq!(keys(&route.response_headers_to_add), [("r", 0)]);
    let host = |name: &str| Some(HostRewriteSpecifier::HostRewriteLiteral(name.into()));
    assert_eq!(action(&route).host_rewrite_specifier, host("h.com"));

    let own = |request| Headers { request, ..Headers::default() };
    let with = |weight| HttpDestination {
        headers: own(ops(&[("host", "d.com")], &[("x", "1")], &[])),
        ..weighted("a", weight)
    };
    let single = one(HttpRoute { headers: Some(headers), ..rule(HttpAction::Route(vec![with(0)])) });
    assert_eq!(keys(&single.request_headers_to_add).last(), Some(&("x", 0)), "a destination's come after the rule's");
    assert_eq!(action(&single).host_rewrite_specifier, host("h.com"), "the rule's authority wins");
    let both = one(rule(HttpAction::Route(vec![with(1), weighted("b", 1)])));
    assert_eq!(keys(&both.request_headers_to_add), []);
    let Some(ClusterSpecifier::WeightedClusters(clusters)) = &action(&both).cluster_specifier else {
        panic!("weighted")
    };
    assert_eq!(keys(&clusters.clusters[0].request_headers_to_add), [("x", 0)]);
}

#[test]
fn mirrors_take_their_share_and_none_of_zero() {
    let at = |host: &str| to(host).destination;
    let mirrored = HttpRoute {
        mirror: Some(at("m")),
        mirrors: vec![
            Mirror { destination: at("n"), percent: Some(Percent::Millionths(500)) },
            Mirror { destination: at("never"), percent: Some(Percent::Millionths(0)) },
        ],
        ..forwarded()
    };
    let out = translate(|_| (), &[mirrored]);
    let policies = &action(&out.routes[0]).request_mirror_policies;
    let seen: Vec<(&str, u32)> = policies
        .iter()
        .map(|p| {
            let share = p.runtime_fraction.as_ref().and_then(|f| f.default_value);
            (&p.cluster[..], share.map_or(0, |v| v.numerator))
        })
        .collect();
    assert_eq!(seen, [("outbound|80||m", 100), ("outbound|80||n", 500)]);
    assert!(policies.iter().all(|p| p.disable_shadow_host_suffix_append));
    assert!(out.clusters.contains("outbound|80||n") && !out.clusters.contains("outbound|80||never"));
}

#[test]
fn faults_and_cors_are_settings_of_their_filters() {
    let fault = Fault {
        delay: Some(Delay { fixed: Duration::from_secs(2), percent: Percent::Hundredths(5) }),
        abort: Some(Abort { status: AbortStatus::Grpc(14), percent: None }),
    };
    let cors = Cors {
        allow_origins: vec![StringMatch::Exact("https://a.com".into())],
        allow_methods: vec!["GET".into(), "PUT".into()],
        max_age: Some(Duration::from_secs(60)),
        allow_credentials: Some(true),
        ..Cors::default()
    };
    let route = one(HttpRoute { fault: Some(fault), cors: Some(cors), ..forwarded() });
    let fault: HttpFault = settings(&route, "envoy.filters.http.fault");
    assert_eq!(fault.delay.and_then(|d| d.percentage).map(|p| (p.numerator, p.denominator)), Some((5, 0)));
    let abort = fault.abort.expect("an abort");
    assert_eq!((abort.error_type, abort.percentage), (Some(ErrorType::GrpcStatus(14)), None));
    let cors: CorsPolicy = settings(&route, "envoy.filters.http.cors");
    assert_eq!((cors.allow_methods.as_str(), cors.max_age.as_str()), ("GET,PUT", "60"));
    let origin = cors.allow_origin_string_match[0].match_pattern.clone();
    assert_eq!(origin, Some(MatchPattern::Exact("https://a.com".into())));
    assert_eq!(cors.forward_not_matching_preflights.map(|f| f.value), Some(false));
    assert!(one(HttpRoute { fault: Some(Fault::default()), ..forwarded() }).typed_per_filter_config.is_empty());
}

#[test]
fn hashing_destinations_say_what_is_hashed() {
    let route = one(rule(HttpAction::Route(vec![to("hashed")])));
    let [policy] = &action(&route).hash_policy[..] else { panic!("one policy") };
    let Some(PolicySpecifier::Header(header)) = &policy.policy_specifier else { panic!("a header") };
    assert_eq!(header.header_name, "x-user");
    let cookie = HashKey::Cookie {
        name: "c".into(),
        path: "/".into(),
        ttl: Some(Duration::ZERO),
        attributes: vec![("SameSite".into(), "Lax".into())],
    };
    let Some(PolicySpecifier::Cookie(cookie)) = hash_policy(&cookie).policy_specifier else { panic!("a cookie") };
    assert_eq!((cookie.ttl.map(|t| t.seconds), cookie.attributes.len()), (Some(0), 1));
}

#[test]
fn the_route_of_a_service_without_rules_leads_to_it() {
    let route = default_route(
        &ClusterRef {
            cluster: "outbound|80||a.b".into(),
            missing: None,
            hash: Some(HashKey::SourceIp),
            offers_http: false,
        },
        None,
    );
    assert_eq!(route.name, "default");
    assert!(is_catch_all(&route));
    assert_eq!(route.decorator.as_ref().map(|d| d.operation.as_str()), Some("a.b:80/*"));
    assert_eq!(action(&route).hash_policy.len(), 1);
    assert!(action(&route).retry_policy.is_some());
    assert_eq!(route.metadata, None, "no object decides it");
}

#[test]
fn http3_is_told_of() {
    let out = translate(|i| i.http3 = true, &[forwarded()]);
    let [header] = &out.routes[0].response_headers_to_add[..] else { panic!("one header") };
    let header = header.header.as_ref().expect("a header");
    assert_eq!((header.key.as_str(), header.value.as_str()), ("alt-svc", "h3=\":80\"; ma=86400"));
}

#[test]
fn a_delegate_that_was_not_resolved_is_refused_openly() {
    let route = one(rule(HttpAction::Delegate { namespace: "ns".into(), name: "x".into() }));
    assert!(matches!(route.action, Some(Action::DirectResponse(a)) if a.status == 503));
}
