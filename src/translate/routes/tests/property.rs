//! Whatever rules say, they are translated without a panic, the same way every time, to bytes that decode.

use envoy_types::pb::envoy::config::route::v3::VirtualHost;
use proptest::{collection, option, prelude::*};

use super::*;
use crate::snapshot::canonical_bytes;

fn word() -> impl Strategy<Value = Arc<str>> {
    prop_oneof!["[a-z]{0,8}", "\\PC{0,6}", Just("@request.auth.claims.a".to_owned()), Just("host".to_owned())]
        .prop_map(Arc::from)
}

fn condition() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        Just(StringMatch::Present),
        word().prop_map(StringMatch::Exact),
        word().prop_map(StringMatch::Prefix),
        word().prop_map(StringMatch::Regex),
    ]
}

fn conditions() -> impl Strategy<Value = std::collections::BTreeMap<Arc<str>, StringMatch>> {
    collection::btree_map(word(), condition(), 0..3)
}

prop_compose! {
    fn http_match()(
        name in word(),
        uri in option::of(condition()),
        ignore_uri_case: bool,
        method in option::of(condition()),
        headers in conditions(),
        without_headers in conditions(),
        query_params in conditions(),
        port in option::of(79..82_u16),
        namespace in option::of(Just(Arc::from("ns"))),
    ) -> HttpMatch {
        HttpMatch {
            name, uri, ignore_uri_case, method, headers, without_headers, query_params, port,
            source: SourceMatch { namespace, ..SourceMatch::default() },
            ..HttpMatch::default()
        }
    }
}

fn header_ops() -> impl Strategy<Value = HeaderOps> {
    let map = || collection::btree_map(word(), word(), 0..3);
    (map(), map(), collection::vec(word(), 0..2)).prop_map(|(set, add, remove)| HeaderOps { set, add, remove })
}

fn headers() -> impl Strategy<Value = Headers> {
    (header_ops(), header_ops()).prop_map(|(request, response)| Headers { request, response })
}

fn destination() -> impl Strategy<Value = Destination> {
    let host = prop_oneof![Just(Arc::from("hashed")), Just(Arc::from("gone")), word()];
    (host, word(), option::of(any::<u16>())).prop_map(|(host, subset, port)| Destination { host, subset, port })
}

fn http_action() -> impl Strategy<Value = HttpAction> {
    let one = (destination(), any::<u32>(), headers()).prop_map(|(destination, weight, headers)| HttpDestination {
        destination,
        weight,
        headers,
    });
    prop_oneof![
        3 => collection::vec(one, 0..3).prop_map(HttpAction::Route),
        1 => (word(), any::<u16>()).prop_map(|(path, port)| HttpAction::Redirect(Redirect {
            path: Some(RedirectPath::Full(path)),
            authority: None,
            scheme: None,
            port: Some(RedirectPort::Number(port)),
            code: RedirectCode::default(),
        })),
        1 => any::<u16>().prop_map(|status| HttpAction::DirectResponse(DirectResponse { status, body: None })),
        1 => (word(), word()).prop_map(|(namespace, name)| HttpAction::Delegate { namespace, name }),
    ]
}

prop_compose! {
    fn http_route()(
        name in word(),
        matches in collection::vec(http_match(), 0..3),
        action in http_action(),
        rewrite in option::of(word()),
        timeout in option::of(any::<Duration>()),
        attempts in option::of(any::<u32>()),
        delay in option::of((any::<Duration>(), any::<u32>())),
        mirror in option::of(destination()),
        origins in option::of(collection::vec(condition(), 0..2)),
        headers in option::of(headers()),
    ) -> HttpRoute {
        HttpRoute {
            name, matches, timeout, mirror, headers,
            rewrite: rewrite.map(|p| Rewrite { path: Some(PathRewrite::Prefix(p)), authority: None }),
            retries: attempts.map(|attempts| Retries { attempts, backoff: timeout, ..Retries::default() }),
            fault: delay.map(|(fixed, share)| Fault {
                delay: Some(Delay { fixed, percent: Percent::Millionths(share) }),
                abort: None,
            }),
            cors: origins.map(|allow_origins| Cors { allow_origins, max_age: timeout, ..Cors::default() }),
            ..rule(action)
        }
    }
}

proptest! {
    #[test]
    fn any_rule_translates_to_the_same_bytes_every_time(
        http in collection::vec(http_route(), 0..4),
        semantics in prop_oneof![Just(RouteSemantics::Istio), Just(RouteSemantics::GatewayApi)],
        http3: bool,
    ) {
        let host = || {
            let made = translate(|i| (i.semantics, i.http3) = (semantics, http3), &http);
            VirtualHost { routes: made.routes, ..VirtualHost::default() }
        };
        let first = canonical_bytes(&host());
        prop_assert_eq!(&first, &canonical_bytes(&host()));
        prop_assert_eq!(VirtualHost::decode(&first[..]).expect("decodes"), host());
    }
}
