use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::{Cluster, cluster::LbPolicy},
            core::v3::Metadata,
        },
        extensions::filters::{
            http::{fault::v3::HttpFault, local_ratelimit::v3::LocalRateLimit, lua::v3::Lua, router::v3::Router},
            network::http_connection_manager::v3::{HttpConnectionManager, http_filter::ConfigType},
        },
    },
    google::protobuf::{BytesValue, Duration, Struct, UInt32Value, value::Kind},
};
use proptest::{collection::vec, prelude::*};
use prost::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::snapshot::canonical_bytes_of;

fn read<M: Message + Name + Default>(value: &Json) -> M {
    let any = json_to_any(value).expect("a message");
    assert_eq!(any.type_url, M::type_url());
    M::decode(&any.value[..]).expect("decodes")
}

fn error(value: &Json) -> String {
    json_to_any(value).expect_err("is wrong").to_string()
}

fn cluster(fields: Json) -> Json {
    let mut object = json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster"});
    let (Json::Object(object_fields), Json::Object(fields)) = (&mut object, fields) else { panic!("objects") };
    object_fields.extend(fields);
    object
}

#[test]
fn fields_have_both_names_and_all_forms() {
    let message: Cluster = read(&cluster(json!({
        "name": "a",
        "altStatName": "b",
        "connect_timeout": "0.250s",
        "lbPolicy": "LEAST_REQUEST",
        "perConnectionBufferLimitBytes": 32768,
        "circuit_breakers": {"thresholds": [{"max_connections": "7", "max_requests": 1e3}]},
        "common_lb_config": {"healthy_panic_threshold": {"value": "12.5"}},
        "ignore_health_on_host_removal": true,
        "load_assignment": null,
    })));
    assert_eq!((&message.name[..], &message.alt_stat_name[..]), ("a", "b"));
    assert_eq!(message.connect_timeout, Some(Duration { seconds: 0, nanos: 250_000_000 }));
    assert_eq!(message.lb_policy(), LbPolicy::LeastRequest);
    assert_eq!(message.per_connection_buffer_limit_bytes, Some(UInt32Value { value: 32768 }));
    let thresholds = &message.circuit_breakers.expect("given").thresholds[0];
    assert_eq!(thresholds.max_connections, Some(UInt32Value { value: 7 }));
    assert_eq!(thresholds.max_requests, Some(UInt32Value { value: 1000 }));
    assert!(message.ignore_health_on_host_removal && message.load_assignment.is_none());
    let panic = message.common_lb_config.expect("given").healthy_panic_threshold.expect("given");
    assert!((panic.value - 12.5).abs() < f64::EPSILON);
}

#[test]
fn an_any_holds_an_any() {
    let message: HttpConnectionManager = read(&json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                "suppress_envoy_headers": true,
            },
        }],
    }));
    let Some(ConfigType::TypedConfig(router)) = &message.http_filters[0].config_type else { panic!("a config") };
    assert!(Router::decode(&router.value[..]).expect("a router").suppress_envoy_headers);
}

#[test]
fn a_message_with_its_own_form_stands_under_value() {
    let any = json_to_any(&json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "-1.5s"}));
    let duration = Duration::decode(&any.expect("a duration").value[..]).expect("decodes");
    assert_eq!(duration, Duration { seconds: -1, nanos: -500_000_000 });
    let bytes: BytesValue = read(&json!({"@type": "type.googleapis.com/google.protobuf.BytesValue", "value": "_-8"}));
    assert_eq!(bytes.value, [0xff, 0xef]);
    let content: Struct = read(&json!({
        "@type": "type.googleapis.com/google.protobuf.Struct",
        "value": {"a": [1, null, {"b": true}]},
    }));
    let Some(Kind::ListValue(list)) = &content.fields["a"].kind else { panic!("a list") };
    assert_eq!(list.values.len(), 3);
    json_to_any(&json!({"@type": "type.googleapis.com/google.protobuf.Empty", "value": {}})).expect("nothing");
}

#[test]
fn typed_structs_pass_through() {
    for package in ["udpa.type.v1", "xds.type.v3"] {
        let any = json_to_any(&json!({
            "@type": format!("type.googleapis.com/{package}.TypedStruct"),
            "type_url": "type.googleapis.com/what.only.envoy.Knows",
            "value": {"stat_prefix": "x"},
        }))
        .expect("a message");
        assert_eq!(any.type_url, format!("type.googleapis.com/{package}.TypedStruct"));
        // Both have the URL as field 1 and a struct as field 2.
        let url = "type.googleapis.com/what.only.envoy.Knows";
        let content = json_to_any(&json!({
            "@type": "type.googleapis.com/google.protobuf.Struct",
            "value": {"stat_prefix": "x"},
        }))
        .expect("a message")
        .value;
        let lengths = [url.len(), content.len()].map(|len| u8::try_from(len).expect("short"));
        assert_eq!(any.value, [&[0x0a, lengths[0]], url.as_bytes(), &[0x12, lengths[1]], &content].concat());
    }
}

#[test]
fn bytes_depend_on_the_content_alone() {
    let fields = |order: &mut dyn Iterator<Item = usize>| -> Json {
        Json::Object(order.map(|i| (format!("k{i}"), json!({"a": i, "b": [i]}))).collect())
    };
    let lua = |metadata: Json| {
        json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.Metadata",
            "filter_metadata": {"x": metadata},
            "typed_filter_metadata": {
                "l": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "source_codes": {"a": {"inline_string": "1"}, "b": {"inline_string": "2"}, "c": {"filename": "x"}},
                },
            },
        })
    };
    let first = json_to_any(&lua(fields(&mut (0..20)))).expect("a message");
    for _ in 0..50 {
        assert_eq!(json_to_any(&lua(fields(&mut (0..20).rev()))).expect("a message"), first);
    }
    let metadata = Metadata::decode(&first.value[..]).expect("decodes");
    assert_eq!(metadata.filter_metadata["x"].fields.len(), 20);
    assert_eq!(Lua::decode(&metadata.typed_filter_metadata["l"].value[..]).expect("decodes").source_codes.len(), 3);
}

#[test]
fn errors_name_the_field_and_what_would_be_right() {
    let cases = [
        (json!({"name": 5}), "name: is the number 5, but must be a string"),
        (
            json!({"connect_timeout": "250ms"}),
            "connect_timeout: is the string `250ms`, but must be a duration in seconds such as `0.25s`",
        ),
        (
            json!({"lb_policy": "LEAST_REQUESTS"}),
            "lb_policy: is the string `LEAST_REQUESTS`, but must be a value of `envoy.config.cluster.v3.Cluster.LbPolicy` such as `LEAST_REQUEST`",
        ),
        (
            json!({"conect_timeout": "1s"}),
            "conect_timeout: `envoy.config.cluster.v3.Cluster` has no such field (`connect_timeout` would be one)",
        ),
        (
            json!({"circuit_breakers": {"thresholds": [{}, {"max_retries": -1}]}}),
            "circuit_breakers.thresholds[1].max_retries: is the number -1, but must be a whole number from 0 to 4294967295",
        ),
        (
            json!({"connect_timeout": "1s", "connectTimeout": "1s"}),
            "connectTimeout: is given twice, in snake_case and in camelCase; one of them is to go",
        ),
        (
            json!({"type": "EDS", "cluster_type": {}}),
            "cluster_type: cannot be set together with `type`; one of them is to go",
        ),
        (
            json!({"metadata": {"filter_metadata": {"x": []}}}),
            "metadata.filter_metadata[x]: is a list, but must be an object",
        ),
        (
            json!({"transport_socket": {"typed_config": {"a": 1}}}),
            "transport_socket.typed_config: needs an `@type`, for example `type.googleapis.com/envoy.extensions.filters.http.router.v3.Router`",
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(error(&cluster(fields)), expected);
    }
    let unknown = error(&json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Clusters"}));
    assert!(unknown.starts_with("@type: `envoy.config.cluster.v3.Clusters` is none of"), "{unknown}");
    assert!(unknown.contains("(`envoy.config.cluster.v3.Cluster` would be one)"), "{unknown}");
    for value in [json!(null), json!([]), json!("x"), json!({}), json!({"@type": 3})] {
        error(&value);
    }
}

#[test]
fn unknown_fields_of_a_known_type_are_left_out_and_told() {
    let (message, unknown) = json_to_message::<LocalRateLimit>(
        &json!({"stat_prefix": "x", "no": 1, "token_bucket": {"max_tokens": 3, "yes": 2}}),
        &mut 2,
    )
    .expect("a message");
    assert_eq!(message.token_bucket.expect("given").max_tokens, 3);
    assert_eq!(unknown.iter().map(|error| &error.field[..]).collect::<Vec<_>>(), ["no", "token_bucket.yes"]);
    assert!(json_to_message::<HttpFault>(&json!({"delay": 1}), &mut 0).is_err());
}

#[test]
fn what_is_large_and_deep_is_an_error() {
    let nested = |depth| (0..depth).fold(json!("a"), |inner, _| json!([inner]));
    let cluster = |values: Vec<Json>| json!({"metadata": {"filter_metadata": {"a": {"b": values}}}});
    let read = |value: Json| check_message("envoy.config.cluster.v3.Cluster", &value, &mut 0);
    assert_eq!(read(cluster(vec![nested(30); 100])), Ok(Vec::new()));
    let error = read(cluster(vec![nested(30); 10_000])).expect_err("too much").to_string();
    assert!(error.contains("a smaller value, or one that is nested less deeply"), "{error}");
}

#[test]
fn deep_nesting_is_an_error() {
    let mut value = json!({});
    for _ in 0..120 {
        value = json!({"a": value});
    }
    let message = error(&cluster(json!({"metadata": {"filter_metadata": {"x": value}}})));
    assert!(message.contains("nested less deeply"), "{message}");

    let mut value = json!({"any": true});
    for _ in 0..120 {
        value = json!({"or_match": {"rules": [value]}});
    }
    let tap = json!({
        "@type": "type.googleapis.com/envoy.config.tap.v3.TapConfig",
        "match_config": value,
    });
    let message = error(&tap);
    assert!(message.contains("nested"), "{message}");
}

const NAMES: &[&str] = &[
    "@type",
    "value",
    "name",
    "type",
    "connect_timeout",
    "lb_policy",
    "load_assignment",
    "endpoints",
    "metadata",
    "filter_metadata",
    "typed_filter_metadata",
    "circuit_breakers",
    "thresholds",
    "max_requests",
    "extension",
    "typed_extension_protocol_options",
    "transport_socket",
    "typed_config",
    "outlier_detection",
    "lb_subset_config",
    "subset_selectors",
    "fallback_policy",
    "default_subset",
    "cluster_type",
    "upstream_config",
    "load_assignments",
];

const TYPES: &[&str] =
    &["envoy.config.cluster.v3.Cluster", "google.protobuf.Any", "google.protobuf.Struct", "google.protobuf.Value"];

/// JSON whose field names and types exist, and whose values are anything.
fn anything() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[-0-9.eEs]{0,12}".prop_map(Json::from),
        proptest::sample::select(TYPES).prop_map(|name| Json::from(format!("type.googleapis.com/{name}"))),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let field = (proptest::sample::select(NAMES), inner.clone());
        prop_oneof![
            vec(inner, 0..4).prop_map(Json::from),
            vec(field, 0..6)
                .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_users_write_panics(value in anything()) {
        let _ = json_to_any(&value).map_err(|error| error.to_string());
        if let Ok((cluster, _)) = json_to_message::<Cluster>(&value, &mut 0) {
            let bytes = canonical_bytes_of(&Cluster::full_name(), cluster.encode_to_vec());
            let again = Cluster::decode(bytes.clone()).expect("decodes");
            prop_assert_eq!(canonical_bytes_of(&Cluster::full_name(), again.encode_to_vec()), bytes);
        }
    }
}
