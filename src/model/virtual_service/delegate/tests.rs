use super::*;
use std::time::Duration;

use crate::model::{Age, Labels, ObjectRef, virtual_service::*};

fn vs(name: &str, hosts: &[&str], http: Vec<HttpRoute>) -> VirtualService {
    VirtualService {
        object: ObjectRef::new("VirtualService", "ns", name),
        age: Age { created: 0, name: name.into(), namespace: "ns".into() },
        hosts: hosts.iter().map(|h| (*h).into()).collect(),
        gateways: vec![GatewayName::Mesh],
        visibility: None,
        semantics: RouteSemantics::Istio,
        http,
        tls: Vec::new(),
        tcp: Vec::new(),
    }
}

fn route(name: &str, matches: Vec<HttpMatch>, action: HttpAction) -> HttpRoute {
    HttpRoute {
        name: name.into(),
        index: 0,
        delegate: None,
        matches,
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

fn to_delegate() -> HttpAction {
    HttpAction::Delegate { namespace: "ns".into(), name: "sub".into() }
}

fn answer(status: u16) -> HttpAction {
    HttpAction::DirectResponse(DirectResponse { status, body: None })
}

fn prefix(path: &str) -> HttpMatch {
    HttpMatch { uri: Some(StringMatch::Prefix(path.into())), ..HttpMatch::default() }
}

fn exact(path: &str) -> HttpMatch {
    HttpMatch { uri: Some(StringMatch::Exact(path.into())), ..HttpMatch::default() }
}

fn regex(path: &str) -> HttpMatch {
    HttpMatch { uri: Some(StringMatch::Regex(path.into())), ..HttpMatch::default() }
}

fn resolve(root: &VirtualService, sub: Option<VirtualService>) -> (Vec<HttpRoute>, Vec<Problem>) {
    resolve_seen(root, sub, true)
}

fn resolve_seen(root: &VirtualService, sub: Option<VirtualService>, seen: bool) -> (Vec<HttpRoute>, Vec<Problem>) {
    let sub = sub.map(Arc::new);
    resolve_delegates(root, &mut |ns, name| {
        let found = sub.clone().filter(|s| s.object.namespace == *ns && s.object.name == *name);
        found.map(|s| (s, seen))
    })
}

#[test]
fn a_missing_hidden_or_bound_delegate_makes_only_its_entry_vanish() {
    let root = vs("root", &["h"], vec![route("a", vec![], to_delegate()), route("b", vec![], answer(200))]);
    let delegate = vs("sub", &[], vec![route("", vec![], answer(204))]);
    let bound = vs("sub", &["h"], vec![route("", vec![], answer(204))]);
    let cases =
        [(None, true, "does not exist"), (Some(delegate), false, "not exported"), (Some(bound), true, "has hosts")];
    for (sub, seen, why) in cases {
        let (routes, problems) = resolve_seen(&root, sub, seen);
        assert_eq!(routes, [route("b", vec![], answer(200))]);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].field, "spec.http[0].delegate");
        assert!(problems[0].reason.contains(why), "{}", problems[0].reason);
    }
}

#[test]
fn the_delegate_decides_and_the_root_fills_gaps() {
    let mut entry = route("root", vec![prefix("/a")], to_delegate());
    entry.timeout = Some(Duration::from_secs(1));
    entry.retries = Some(Retries { attempts: 7, ..Retries::default() });
    let mut sub = route("sub", vec![], answer(204));
    sub.timeout = Some(Duration::from_secs(2));
    let (routes, problems) = resolve(&vs("root", &["h"], vec![entry]), Some(vs("sub", &[], vec![sub])));
    assert_eq!(problems, []);
    let [merged] = &routes[..] else { panic!("one route: {routes:?}") };
    assert_eq!(&*merged.name, "root-sub");
    assert_eq!(merged.matches, [prefix("/a")]);
    assert_eq!(merged.timeout, Some(Duration::from_secs(2)));
    assert_eq!(merged.retries.as_ref().map(|r| r.attempts), Some(7));
    assert_eq!(merged.action, answer(204));
}

#[test]
fn conditions_of_the_delegate_have_to_be_within_the_roots() {
    let on = |port| HttpMatch { port: Some(port), ..HttpMatch::default() };
    let of = |ns: &str| HttpMatch {
        source: SourceMatch { namespace: Some(ns.into()), ..SourceMatch::default() },
        ..HttpMatch::default()
    };
    let labelled = |k: &str, v: &str| HttpMatch {
        source: SourceMatch { labels: Labels::from([(k.to_owned(), v.to_owned())]), ..SourceMatch::default() },
        ..HttpMatch::default()
    };
    let through = |names: &[&str]| HttpMatch {
        source: SourceMatch {
            gateways: names.iter().map(|n| GatewayName::Named((*n).into())).collect(),
            ..SourceMatch::default()
        },
        ..HttpMatch::default()
    };
    let any_case = HttpMatch { ignore_uri_case: true, ..prefix("/a") };
    let header = |value: &str| HttpMatch {
        headers: [("x".into(), StringMatch::Exact(value.into()))].into(),
        ..HttpMatch::default()
    };
    let cases = [
        (prefix("/a"), prefix("/a/b"), true),
        (prefix("/a/b"), prefix("/a"), false),
        (prefix("/a"), exact("/a/b"), true),
        (prefix("/a"), exact("/b"), false),
        (exact("/a"), exact("/a"), true),
        (exact("/a"), prefix("/a"), false),
        (regex("/a.*"), HttpMatch::default(), true),
        (HttpMatch::default(), regex("/a.*"), true),
        (regex("/a.*"), regex("/a.*"), false),
        (prefix("/a"), regex("/a.*"), false),
        (prefix("/a"), any_case.clone(), false),
        (any_case.clone(), any_case, true),
        (on(80), on(80), true),
        (on(80), HttpMatch::default(), true),
        (on(80), on(81), false),
        (of("a"), of("a"), true),
        (of("a"), of("b"), false),
        (labelled("a", "1"), labelled("b", "1"), true),
        (labelled("a", "1"), labelled("a", "2"), false),
        (through(&["n/a", "n/b"]), through(&["n/a"]), true),
        (through(&["n/a"]), through(&["n/b"]), false),
        (header("1"), header("1"), true),
        (header("1"), header("2"), false),
    ];
    for (root, leaf, within) in cases {
        let entry = route("", vec![root.clone()], to_delegate());
        let sub = vs("sub", &[], vec![route("", vec![leaf.clone()], answer(204))]);
        let (routes, problems) = resolve(&vs("root", &["h"], vec![entry]), Some(sub));
        assert_eq!((routes.len(), problems.len()), if within { (1, 0) } else { (0, 1) }, "{root:?} and {leaf:?}");
    }
}

#[test]
fn each_condition_is_joined_with_every_one_that_covers_it() {
    let entry = route("r", vec![prefix("/a"), HttpMatch { port: Some(80), ..HttpMatch::default() }], to_delegate());
    let sub = vs("sub", &[], vec![route("s", vec![exact("/a/x"), exact("/b")], answer(204))]);
    let (routes, _) = resolve(&vs("root", &["h"], vec![entry]), Some(sub));
    let on_80 = |m: HttpMatch| HttpMatch { port: Some(80), ..m };
    assert_eq!(routes[0].matches, [exact("/a/x"), on_80(exact("/a/x")), on_80(exact("/b"))]);
}

#[test]
fn a_delegate_does_not_delegate() {
    let root = vs("root", &["h"], vec![route("r", vec![], to_delegate())]);
    let (routes, problems) = resolve(&root, Some(vs("sub", &[], vec![route("s", vec![], to_delegate())])));
    assert_eq!((routes.len(), problems.len()), (0, 1));
}

#[test]
fn facets_say_what_the_rules_look_at() {
    let with =
        |source| vs("a", &["h"], vec![route("", vec![HttpMatch { source, ..HttpMatch::default() }], answer(200))]);
    let labels = SourceMatch { labels: Labels::from([("a".to_owned(), "b".to_owned())]), ..SourceMatch::default() };
    let hidden = SourceMatch { gateways: vec![GatewayName::Mesh], ..labels.clone() };
    let namespace = SourceMatch { namespace: Some("n".into()), ..SourceMatch::default() };
    let facets = |uses_labels, uses_namespace| SourceFacets { uses_labels, uses_namespace };
    assert_eq!(SourceFacets::of_http(&with(labels)), facets(true, false));
    assert_eq!(SourceFacets::of_http(&with(hidden)), facets(false, false));
    assert_eq!(SourceFacets::of_http(&with(namespace)), facets(false, true));
}
