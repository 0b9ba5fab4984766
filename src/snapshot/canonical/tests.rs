use std::{collections::HashMap, process::Command};

use bytes::Bytes;
use envoy_types::pb::{
    envoy::config::{
        core::v3::Metadata,
        listener::v3::{FilterChain, Listener},
        route::v3::{Route, RouteConfiguration, VirtualHost},
    },
    google::protobuf::{ListValue, Struct, Value, value::Kind},
};
use prost::Message;

use crate::snapshot::{Version, canonical_bytes, canonical_bytes_of, pack_any};

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

/// A struct of `n` fields, with structs in lists in structs below it.
fn nested(n: usize, depth: usize) -> Struct {
    let field = |i: usize| {
        let value = match (i, depth) {
            (0, 1..) => Value { kind: Some(Kind::StructValue(nested(n, depth - 1))) },
            (1, 1..) => Value {
                kind: Some(Kind::ListValue(ListValue {
                    values: vec![text("x"), Value { kind: Some(Kind::StructValue(nested(n, depth - 1))) }],
                })),
            },
            _ => text(&"v".repeat(i)),
        };
        ("k".repeat(i), value)
    };
    Struct { fields: (0..n).map(field).collect() }
}

fn metadata(n: usize) -> Metadata {
    let mut typed = HashMap::new();
    for i in 0..n {
        typed.insert(format!("typed-{i}"), pack_any(&nested(n, 1)));
    }
    Metadata {
        filter_metadata: (0..n).map(|i| (format!("filter-{i}"), nested(n, 1))).collect(),
        typed_filter_metadata: typed,
    }
}

fn routes() -> RouteConfiguration {
    let route = |i: usize| Route {
        name: format!("r{i}"),
        metadata: Some(metadata(6)),
        typed_per_filter_config: (0..12).map(|i| (format!("filter-{i}"), pack_any(&nested(8, 1)))).collect(),
        ..Route::default()
    };
    let host = VirtualHost { name: "h".to_owned(), routes: (0..2).map(route).collect(), ..VirtualHost::default() };
    RouteConfiguration { name: "80".to_owned(), virtual_hosts: vec![host], ..RouteConfiguration::default() }
}

fn listener() -> Listener {
    Listener {
        metadata: Some(metadata(6)),
        filter_chains: vec![FilterChain { metadata: Some(metadata(3)), ..FilterChain::default() }],
        ..Listener::default()
    }
}

fn fingerprint() -> String {
    format!("{} {}", Version::of(&canonical_bytes(&routes())), Version::of(&canonical_bytes(&listener())))
}

#[test]
fn a_thousand_encodings_are_equal() {
    // Each round makes its maps anew: every `HashMap` has a seed of its own.
    let first: (Bytes, Bytes) = (canonical_bytes(&routes()), canonical_bytes(&listener()));
    assert_ne!(routes().encode_to_vec(), routes().encode_to_vec(), "the maps are too small to prove anything");
    for _ in 0..500 {
        assert_eq!(canonical_bytes(&routes()), first.0);
        assert_eq!(canonical_bytes(&listener()), first.1);
    }
}

#[test]
fn sorting_keeps_the_content() {
    assert_eq!(RouteConfiguration::decode(canonical_bytes(&routes())).expect("decodes"), routes());
    assert_eq!(Listener::decode(canonical_bytes(&listener())).expect("decodes"), listener());
}

#[test]
fn entries_are_in_the_order_of_their_keys() {
    let bytes = canonical_bytes(&Struct {
        fields: ["b", "", "aa", "a"].iter().map(|key| ((*key).to_owned(), text(key))).collect(),
    });
    let encoded = |key: &str| Struct { fields: HashMap::from([(key.to_owned(), text(key))]) }.encode_to_vec();
    assert_eq!(bytes, ["", "a", "aa", "b"].map(encoded).concat());
}

#[test]
fn a_message_is_known_by_its_name_too() {
    let name = "envoy.config.route.v3.RouteConfiguration";
    assert_eq!(canonical_bytes_of(name, routes().encode_to_vec()), canonical_bytes(&routes()));
    assert_eq!(canonical_bytes_of("no.such.Message", vec![1, 2]), Bytes::from_static(&[1, 2]));
}

#[test]
fn bytes_that_are_no_message_do_no_harm() {
    let whole = routes().encode_to_vec();
    for len in 0..whole.len().min(4_000) {
        drop(canonical_bytes_of("envoy.config.route.v3.RouteConfiguration", whole[..len].to_vec()));
    }
    for byte in 0..=255 {
        drop(canonical_bytes_of("google.protobuf.Struct", vec![byte; 11]));
    }
}

/// Prints what the test below compares.
#[test]
#[ignore = "run by two_processes_agree in another process"]
fn print_fingerprint() {
    println!("fingerprint {}", fingerprint());
}

#[test]
fn two_processes_agree() {
    let program = std::env::current_exe().expect("the test program");
    let output = Command::new(program)
        .args(["--ignored", "--exact", "--nocapture", "snapshot::canonical::tests::print_fingerprint"])
        .output()
        .expect("the test program runs again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains(&format!("fingerprint {}", fingerprint())), "{stdout}");
}
