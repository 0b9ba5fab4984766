use serde_json::{Value, json};

use super::*;
use crate::{
    api::{Object, decode},
    model::{
        Visibility,
        virtual_service::{HttpAction, Percent, RedirectPort, StringMatch},
    },
};

fn read(spec: &Value) -> (Option<VirtualService>, Vec<Problem>) {
    let meta = json!({"name": "r", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"});
    let kind = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec
    });
    let (object, unknown) = decode(kind).expect("an object");
    assert_eq!(unknown, Vec::<String>::new());
    let Object::VirtualService(object) = object else { panic!("a VirtualService") };
    convert(&object, &ConvertContext { domain_suffix: "cluster.local" })
}

fn good(spec: &Value) -> VirtualService {
    let (made, problems) = read(spec);
    assert_eq!(problems, []);
    made.expect("usable")
}

/// What is said of one rule, and whether it is kept.
fn rule(rule: &Value) -> (bool, Vec<(String, String)>) {
    let (made, problems) = read(&json!({"hosts": ["web"], "http": [rule, {"name": "last", "route": to("b")}]}));
    let http = made.expect("usable").http;
    assert_eq!(http.last().map(|h| &*h.name), Some("last"), "one wrong rule hurts only itself");
    // That the last rule gets nothing is about the first one.
    let of_rule = problems.into_iter().filter(|p| p.field != "spec.http[1]");
    (http.len() == 2, of_rule.map(|p| (p.field, p.reason)).collect())
}

fn to(host: &str) -> Value {
    json!([{"destination": {"host": host}}])
}

#[test]
fn every_name_is_qualified() {
    let (made, problems) = read(&json!({
        "hosts": ["web", "*.Example.com", "10.0.0.1", "FD00:0::1"],
        "gateways": ["mesh", "edge", "./inner", "other/edge", "old.legacy.svc.cluster.local", "edge"],
        "http": [{
            "match": [{"gateways": ["edge"]}],
            "route": to("Web"), "mirror": {"host": "copy.other", "port": {"number": 8080}},
        }],
        "exportTo": [".", "other"],
    }));
    let made = made.expect("usable");
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, ["spec.gateways[2]", "spec.gateways[4]"], "one is not its name, the other the old form");
    let hosts: Vec<&str> = made.hosts.iter().map(|h| &**h).collect();
    assert_eq!(hosts, ["web.shop.svc.cluster.local", "*.example.com", "10.0.0.1", "fd00::1"]);
    let gateways: Vec<String> = made.gateways.iter().map(ToString::to_string).collect();
    assert_eq!(gateways, ["mesh", "shop/edge", "other/edge", "legacy/old"]);
    assert_eq!(made.visibility, Some(Visibility::Namespaces(["shop".into(), "other".into()].into())));
    assert_eq!(made.http[0].matches[0].source.gateways[0].to_string(), "shop/edge");
    let HttpAction::Route(to) = &made.http[0].action else { panic!("a route") };
    assert_eq!(&*to[0].destination.host, "web.shop.svc.cluster.local");
    let mirror = made.http[0].mirror.as_ref().expect("a mirror");
    assert_eq!((&*mirror.host, mirror.port), ("copy.other", Some(8080)));
    assert_eq!(made.age.created, 1_767_225_600);
}

#[test]
fn without_usable_hosts_or_gateways_nothing_is_used() {
    let http = json!([{"route": to("a")}]);
    for (spec, field) in [
        (json!({"hosts": ["*"], "http": http}), "spec.hosts[0]"),
        (json!({"hosts": ["a b"], "http": http}), "spec.hosts[0]"),
        (json!({"hosts": ["a"], "gateways": ["x/y/z"], "http": http}), "spec.gateways[0]"),
    ] {
        let (made, problems) = read(&spec);
        assert_eq!((made, problems[0].field.as_str()), (None, field));
    }
    let (made, problems) = read(&json!({"hosts": ["a", "b c", "a"], "http": http}));
    assert_eq!(made.map(|m| m.hosts.len()), Some(1));
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, ["spec.hosts[1]", "spec.hosts[2]"]);
    assert!(good(&json!({"hosts": ["*"], "gateways": ["edge"], "http": http})).hosts.contains(&"*".into()));
    assert!(good(&json!({"http": http})).is_delegate());
}

#[test]
fn a_rule_that_envoy_would_refuse_is_left_out_with_the_field_named() {
    let cases = [
        (json!({}), "", "none is set"),
        (json!({"route": to("a"), "redirect": {"uri": "/"}}), "", "route and redirect are set"),
        (json!({"route": to("*")}), "route[0].destination.host", "name a service"),
        (json!({"route": to("a_b.com")}), "route[0].destination.host", "no label"),
        (
            json!({"route": to("a"), "mirror": {"host": "b"}, "mirrors": [{"destination": {"host": "c"}}]}),
            "mirrors",
            "cannot be set beside mirror",
        ),
        (
            json!({"route": [{"destination": {"host": "a", "port": {"number": 0}}}]}),
            "route[0].destination.port.number",
            "0 is not",
        ),
        (json!({"route": [{"destination": {"host": "a"}, "weight": -1}]}), "route[0].weight", "-1 is not"),
        (json!({"route": [to("a")[0], to("b")[0]]}), "route[0].weight", "all destinations have weight 0"),
        (json!({"route": to("a"), "match": [{"uri": {"regex": "("}}]}), "match[0].uri", "not an RE2"),
        (json!({"route": to("a"), "match": [{"uri": {"regex": "a", "exact": "b"}}]}), "match[0].uri", "only one"),
        (json!({"route": to("a"), "match": [{"method": {"prefix": ""}}]}), "match[0].method", "empty prefix"),
        (json!({"route": to("a"), "match": [{"headers": {"a b": {}}}]}), "match[0].headers[\"a b\"]", "not the name"),
        (
            json!({"route": to("a"), "match": [{"headers": {"@request.auth.claims.a": {}}}]}),
            "match[0].headers[\"@request.auth.claims.a\"]",
            "only be matched on gateways",
        ),
        (json!({"route": to("a"), "match": [{"port": 70000}]}), "match[0].port", "70000 is not"),
        (
            json!({"route": to("a"), "match": [{"gateways": ["a/b/c"]}]}),
            "match[0].gateways[0]",
            "not the name of a Gateway",
        ),
        (json!({"route": to("a"), "timeout": "10"}), "timeout", "is not a duration"),
        (json!({"route": to("a"), "timeout": "10us"}), "timeout", "too short"),
        (json!({"route": to("a"), "retries": {"attempts": -1}}), "retries.attempts", "below zero"),
        (
            json!({"route": to("a"), "mirror": {"host": "b"}, "mirrorPercentage": {"value": 101.0}}),
            "mirrorPercentage",
            "101 is not",
        ),
        (json!({"route": to("a"), "mirror": {"host": "b"}, "mirrorPercent": 101}), "mirrorPercent", "101 is not"),
        (
            json!({"route": to("a"), "mirrors": [{"destination": {"host": ""}}]}),
            "mirrors[0].destination.host",
            "name a service",
        ),
        (json!({"route": to("a"), "rewrite": {}}), "rewrite", "changes nothing"),
        (
            json!({"route": to("a"), "rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": "\\1"}}}),
            "rewrite.uriRegexRewrite.rewrite",
            "group 1",
        ),
        (json!({"redirect": {"redirectCode": 305, "uri": "/"}}), "redirect.redirectCode", "305 is not"),
        (json!({"redirect": {"redirectCode": 302}}), "redirect", "leads back"),
        (json!({"redirect": {"scheme": "ftp"}}), "redirect.scheme", "not a scheme"),
        (json!({"directResponse": {"status": 600}}), "directResponse.status", "600 is not"),
        (
            json!({"directResponse": {"status": 200, "body": {"string": "x".repeat(1_048_577)}}}),
            "directResponse.body",
            "1048577 bytes",
        ),
        (
            json!({"route": to("a"), "headers": {"request": {"set": {"x": "50%"}}}}),
            "headers.request.set[\"x\"]",
            "percent sign",
        ),
        (
            json!({"route": to("a"), "headers": {"response": {"remove": ["a b"]}}}),
            "headers.response.remove[0]",
            "not the name",
        ),
        (
            json!({"route": to("a"), "fault": {"abort": {"httpStatus": 100, "percentage": {"value": 1.0}}}}),
            "fault.abort.httpStatus",
            "100 is not",
        ),
        (
            json!({"route": to("a"), "fault": {"abort": {"grpcStatus": "BAD", "percentage": {"value": 1.0}}}}),
            "fault.abort.grpcStatus",
            "NOT_FOUND",
        ),
        (
            json!({"route": to("a"), "corsPolicy": {"allowOrigins": [{"exact": ""}]}}),
            "corsPolicy.allowOrigins[0]",
            "to something",
        ),
        (json!({"delegate": {"name": ""}}), "delegate.name", "is needed"),
    ];
    for (given, field, why) in cases {
        let (kept, said) = rule(&given);
        assert!(!kept, "{given}");
        let field = format!("spec.http[0]{}{field}", if field.is_empty() { "" } else { "." });
        let found = said.iter().any(|(f, r)| *f == field && r.contains(why) && r.ends_with("the entry is left out"));
        assert!(found, "{field}: {why}: {said:#?}");
    }
}

#[test]
fn what_is_not_honoured_is_said_and_the_rest_is_used() {
    let cases = [
        (json!({"route": to("a"), "fault": {"delay": {"exponentialDelay": "1s"}}}), "fault.delay.exponentialDelay"),
        (
            json!({"route": to("a"), "fault": {"abort": {"http2Error": "X", "percentage": {"value": 1.0}}}}),
            "fault.abort.http2Error",
        ),
        (json!({"route": to("a"), "retries": {"attempts": 1, "retryOn": "5xx,bogus"}}), "retries.retryOn"),
        (json!({"route": to("a"), "corsPolicy": {"maxAge": "1500ms"}}), "corsPolicy.maxAge"),
        (json!({"route": to("a"), "headers": {"response": {"set": {"Host": "x"}}}}), "headers.response.set[\"Host\"]"),
        (json!({"redirect": {"uri": "/"}, "rewrite": {"uri": "/x"}}), "rewrite"),
        (json!({"redirect": {"uri": "/"}, "timeout": "1s"}), "timeout"),
        (json!({"directResponse": {"status": 200}, "retries": {"attempts": 1}}), "retries"),
        (json!({"directResponse": {"status": 200}, "mirror": {"host": "b"}}), "mirror"),
        (json!({"redirect": {"uri": "/"}, "mirrors": [{"destination": {"host": "b"}}]}), "mirrors"),
        (json!({"route": to("a"), "mirrorPercentage": {"value": 1.0}}), "mirrorPercentage"),
        (json!({"route": to("a"), "mirror": {"host": "b"}, "mirrorPercent": 1}), "mirrorPercent"),
        (
            json!({"route": to("a"), "fault": {"abort": {"http2Error": "X", "httpStatus": 500,
                   "percentage": {"value": 1.0}}}}),
            "fault.abort.http2Error",
        ),
    ];
    for (given, field) in cases {
        let (kept, said) = rule(&given);
        assert!(kept, "{given}: {said:?}");
        assert_eq!(said.iter().map(|(f, _)| f.as_str()).collect::<Vec<_>>(), [format!("spec.http[0].{field}")]);
    }
}

#[test]
fn values_are_read_as_they_are_meant() {
    let made = good(&json!({"hosts": ["web"], "gateways": ["edge"], "http": [
        {
            "match": [{"uri": {}, "headers": {"x": {}, "y": {}, "@request.auth.claims[a]": {"exact": "b"}}}],
            "route": to("a"),
            "retries": {"attempts": 3, "retryOn": "503,connect-failure", "perTryTimeout": "250ms"},
            "mirror": {"host": "b"}, "mirrorPercentage": {"value": 7.0},
            "fault": {"delay": {"percentage": {"value": 5.0}, "fixedDelay": "1s"}},
        },
        {"redirect": {"derivePort": "FROM_REQUEST_PORT"}},
    ]}));
    let first = &made.http[0];
    assert_eq!(first.matches[0].uri, Some(StringMatch::Present));
    assert_eq!(first.matches[0].headers["x"], StringMatch::Present);
    assert_eq!(first.matches[0].headers["y"], StringMatch::Present);
    assert_eq!(first.timeout, None);
    let retries = first.retries.as_ref().expect("retries");
    assert_eq!((retries.attempts, &retries.status_codes[..]), (3, &[503][..]));
    assert_eq!(retries.conditions, ["connect-failure".into()]);
    assert_eq!(first.mirror_percent, Some(Percent::Millionths(70_000)));
    let delay = first.fault.as_ref().and_then(|f| f.delay).expect("a delay");
    assert_eq!(delay.percent, Percent::Millionths(50_000));
    let HttpAction::Redirect(redirect) = &made.http[1].action else { panic!("a redirect") };
    assert_eq!(redirect.port, Some(RedirectPort::Request));
}

#[test]
fn what_older_objects_say_is_told_and_used() {
    let (made, problems) = read(&json!({"hosts": ["web"], "http": [
        {"route": to("a"), "timeout": "0s", "fault": {"delay": {"percent": 5, "fixedDelay": "1s"}},
         "corsPolicy": {"allowOrigin": ["https://a.com"]}},
    ]}));
    let first = &made.expect("usable").http[0];
    assert_eq!(first.timeout, Some(std::time::Duration::ZERO));
    let delay = first.fault.as_ref().and_then(|f| f.delay).expect("a delay");
    assert_eq!(delay.percent, Percent::Hundredths(5));
    let codes: Vec<Code> = problems.iter().map(|p| p.code).collect();
    assert_eq!(codes, [Code::DurationTooShort, Code::FieldDeprecated, Code::FieldDeprecated]);
}

#[test]
fn what_a_host_is_not_is_left_out() {
    let hosts = ["web", "web.shop.svc.cluster.local", "A.com", "a.com", "a_b.com", "-c.com", "a.5"];
    let (made, problems) = read(&json!({"hosts": hosts, "http": [{"route": to("a")}]}));
    let hosts: Vec<String> = made.expect("usable").hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["web.shop.svc.cluster.local", "a.com"]);
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, ["spec.hosts[4]", "spec.hosts[5]", "spec.hosts[6]"]);
}

#[test]
fn rules_for_connections_are_checked_too() {
    let (made, problems) = read(&json!({"hosts": ["web", "a.com", "x.b.com"], "tls": [
        {"match": [{"sniHosts": ["a.com", "*.b.com", "*.a.com"], "destinationSubnets": ["10.0.0.0/8", "10.1.2.3"]}], "route": to("a")},
        {"match": [{"sniHosts": []}], "route": to("a")},
        {"match": [{"sniHosts": ["a.com"]}]},
    ], "tcp": [
        {"match": [{"port": 27017, "sourceSubnet": "10.0.0.0/8"}], "route": to("mongo")},
        {"match": [{"destinationSubnets": ["ten"]}], "route": to("mongo")},
    ]}));
    let made = made.expect("usable");
    assert_eq!((made.tls.len(), made.tcp.len()), (1, 1));
    assert_eq!(made.tls[0].matches[0].destination_subnets[1].to_string(), "10.1.2.3/32");
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.tls[0].match[0].sniHosts[1]",
            "spec.tls[0].match[0].sniHosts[2]",
            "spec.tls[1].match[0].sniHosts",
            "spec.tls[2].route",
            "spec.tcp[0].match[0].sourceSubnet",
            "spec.tcp[1].match[0].destinationSubnets[0]"
        ]
    );
}
