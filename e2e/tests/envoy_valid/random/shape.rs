//! Random JSON: fields that are there or not, lists, and values of pools that lie near the edges.

use proptest::{prelude::*, strategy::Union};
use serde_json::{Value, json};

pub(super) type Json = BoxedStrategy<Value>;

/// An object whose fields are there so often.
pub(super) fn fields(list: Vec<(&'static str, f64, Json)>) -> Json {
    let field = |(key, often, value): (&'static str, f64, Json)| {
        let keyed = move |value| (key.to_owned(), value);
        if often >= 1.0 {
            return value.prop_map(move |value| Some(keyed(value))).boxed();
        }
        proptest::option::weighted(often, value).prop_map(move |value| value.map(keyed)).boxed()
    };
    let fields: Vec<_> = list.into_iter().filter(|(_, often, _)| *often > 0.0).map(field).collect();
    fields.prop_map(|made| Value::Object(made.into_iter().flatten().collect())).boxed()
}

/// A map from some keys to values.
pub(super) fn map(keys: &[&'static str], value: Json) -> Json {
    let keys: Vec<&'static str> = keys.to_vec();
    let entry = (proptest::sample::select(keys), value).prop_map(|(key, value)| (key.to_owned(), value));
    proptest::collection::vec(entry, 1..3).prop_map(|made| Value::Object(made.into_iter().collect())).boxed()
}

pub(super) fn list(of: Json, from: usize, to: usize) -> Json {
    proptest::collection::vec(of, from..=to).prop_map(Value::Array).boxed()
}

/// Some values of a pool, each at most once.
pub(super) fn some<T: Clone + Into<Value> + std::fmt::Debug + 'static>(pool: &[T], from: usize, to: usize) -> Json {
    proptest::sample::subsequence(pool.to_vec(), from..=to.min(pool.len()))
        .prop_map(|made| made.into_iter().map(Into::into).collect())
        .boxed()
}

pub(super) fn pick<T: Clone + Into<Value> + std::fmt::Debug + 'static>(pool: &[T]) -> Json {
    proptest::sample::select(pool.to_vec()).prop_map(Into::into).boxed()
}

/// One of a pool, seldom one of another.
pub(super) fn mostly<T: Clone + Into<Value> + std::fmt::Debug + 'static>(usual: &[T], odd: &[T]) -> Json {
    either(vec![(40, pick(usual)), (1, pick(odd))])
}

pub(super) fn either(of: Vec<(u32, Json)>) -> Json {
    Union::new_weighted(of).boxed()
}

pub(super) fn always(value: Value) -> Json {
    Just(value).boxed()
}

/// Fields of one object and of another.
pub(super) fn both(one: Json, other: Json) -> Json {
    let merge = |(mut one, other): (Value, Value)| {
        other.as_object().into_iter().flatten().for_each(|(key, value)| one[key] = value.clone());
        one
    };
    (one, other).prop_map(merge).boxed()
}

/// An object of the API.
pub(super) fn object(api_version: &'static str, kind: &'static str, spec: Json) -> Json {
    spec.prop_map(move |spec| {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "random", "namespace": "shop"},
            "spec": spec,
        })
    })
    .boxed()
}

pub(super) fn duration() -> Json {
    mostly(&["1ms", "10ms", "1s", "15s", "1h", "1.5s", "1h30m", "100000h"], &["0s", "0.0001s", "1us", "2540400h"])
}

pub(super) fn boolean() -> Json {
    pick(&[true, false])
}

pub(super) fn port() -> Json {
    mostly(&[80, 443, 7000, 8080, 9000, 1, 65535], &[15001, 0])
}

/// A count of at least 1.
pub(super) fn count() -> Json {
    mostly(&[1, 2, 10, 1024, 100_000], &[i32::MAX, 0])
}

pub(super) fn percent() -> Json {
    fields(vec![("value", 0.95, mostly(&[100.0, 50.0, 0.5, 99.99], &[0.0, 0.0001, 33.333_333]))])
}

pub(super) fn host() -> Json {
    let long = "a23456789012345678901234567890123456789012345678901234567890123.example.com";
    mostly(
        &["web", "web.shop.svc.cluster.local", "a.example.com", "*.example.com", "*.x.test", "A.Example.COM", long],
        &["10.1.2.3", "2001:db8::1", "xn--bcher-kva.example", "a.b.c.d.e.f.example.com.", "1.example", "*.a"],
    )
}

/// Where requests go.
pub(super) fn target() -> Json {
    pick(&["web", "web.shop.svc.cluster.local", "a.example.com", "api.scenery.svc.cluster.local", "x", "10.1.2.3"])
}

pub(super) const HEADERS: [&str; 9] =
    ["x-a", "X-Long-Name", "a.b", "x_y", "content-type", "cookie", "grpc-timeout", "x-envoy-a", "!#$&'*+-.^_`|~"];

/// Values of headers: formats of Envoy.
pub(super) fn header_value() -> Json {
    let others = r#"%COALESCE({"operators":["PROTOCOL",{"command":"REQ","param":"x"}]})%"#;
    mostly(
        &[
            "a",
            "",
            "a b",
            "100%%",
            "%REQ(x-a)%",
            "%REQ(:path?x):10%",
            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
            "%HOSTNAME% %PROTOCOL%",
            "%DYNAMIC_METADATA(a:b):5%",
            "%%%PROTOCOL%%%",
            "{\"a\": [1, \"%ROUTE_NAME%\"]}",
            "%CEL(request.path)%",
            others,
            "%UPSTREAM_METADATA([\"a\", \"b\"])%",
            "%FILTER_STATE(a:FIELD:b)%",
        ],
        &["é", "a\tb", "%NO_SUCH_COMMAND%", "100%", "%REQ%", "%START_TIME(%n)%", "%PATH(X)%", "%DURATION:4%"],
    )
}

/// A regular expression.
pub(super) fn regex() -> Json {
    mostly(
        &[
            "/a+",
            "(?i)x",
            "/users/(\\d+)",
            "[^/]+",
            ".*",
            "\\pL{10}",
            "a{1000}",
            "^$",
            "(a|b)*",
            "(?P<x>a)",
            "\\bfoo\\b",
            "/é",
            "\\x{41}",
            "(?s).",
            "[[:alpha:]]+",
            "a??",
            "(?:)",
            "\\Qa.b\\E",
            "[a-]",
            "[]a]",
            "a{,2}",
            "\\p{Greek}",
            "\\A\\z",
        ],
        &["\\C", "x*+", "(?=a)", "[z-a]", "a{1001}", "(", "\\8", "\\p{Nope}", "(?<y>b)", "a**", "[[:nope:]]", "\\Z"],
    )
}

pub(super) fn path() -> Json {
    mostly(
        &["/", "/a", "/a/b/", "/a%20b", "/a//b", "/{x}", "/A.b;c=d", "/a~b"],
        &["", "/a b", "/é", "a", "/a?b", "/a#b", "*", "//"],
    )
}

pub(super) fn text() -> Json {
    mostly(&["a", "A", "a b", "a.b", "*", "0"], &["é", "a\tb", "%", "\u{1f980}", "a,b"])
}

/// A condition on a text.
pub(super) fn string_match(text: &Json) -> Json {
    either(vec![
        (3, fields(vec![("exact", 1.0, text.clone())])),
        (3, fields(vec![("prefix", 1.0, text.clone())])),
        (3, fields(vec![("regex", 1.0, regex())])),
    ])
}

/// Labels of workloads.
pub(super) fn labels() -> Json {
    map(&["app", "version", "example.com/team", "a.b-c_d"], mostly(&["web", "v1", "v2", "A.b-c_1"], &["", "a b"]))
}
