use std::{
    collections::BTreeSet,
    fs,
    path::{Path as File, PathBuf},
};

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{Rule, Schemas, Violation};
use crate::api::{Kind, crds};

/// Says which words the refusal of an object by a real API server holds (`e2e/tests/cluster_crds.rs`).
const REASON: &str = "rejected-because";

fn objects() -> Vec<(PathBuf, Value)> {
    let fixtures = File::new(env!("CARGO_MANIFEST_DIR")).join("e2e/fixtures/crds");
    let folders = ["accept", "reject"].map(|folder| fs::read_dir(fixtures.join(folder)).unwrap());
    let files = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    files
        .flat_map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            let read = |d| Value::deserialize(d).unwrap();
            serde_yaml_ng::Deserializer::from_str(&text).map(|d| (file.clone(), read(d))).collect::<Vec<_>>()
        })
        .collect()
}

fn check(schemas: &Schemas, object: &Value) -> Vec<Violation> {
    let (group, _) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap();
    let kind = Kind::from_group_kind(group, object["kind"].as_str().unwrap()).unwrap();
    schemas.check(kind, object)
}

#[test]
fn what_an_api_server_says_is_said_here() {
    let schemas = Schemas::default();
    let mut wrong = Vec::new();
    let all = objects();
    for (file, object) in &all {
        let said: Vec<String> = check(&schemas, object).iter().map(ToString::to_string).collect();
        let as_expected = match object["metadata"]["annotations"][REASON].as_str() {
            None => said.is_empty(),
            Some(reason) => said.iter().any(|s| s.contains(reason)),
        };
        if !as_expected {
            wrong.push(format!("{} {}: {said:?}", file.display(), object["metadata"]["name"]));
        }
    }
    assert!(wrong.is_empty() && all.len() > 150, "{}", wrong.join("\n"));
}

#[test]
fn every_rule_of_our_definitions_is_asked_both_ways() {
    fn rules(schema: &Value, into: &mut BTreeSet<String>) {
        match schema {
            Value::Object(members) => {
                let own = members.get("x-kubernetes-validations").and_then(Value::as_array);
                into.extend(own.into_iter().flatten().map(|rule| rule["message"].as_str().unwrap().to_owned()));
                members.values().for_each(|inner| rules(inner, into));
            }
            Value::Array(items) => items.iter().for_each(|inner| rules(inner, into)),
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    Kind::ALL.into_iter().filter_map(crds::definition).for_each(|d| rules(&d, &mut all));
    let schemas = Schemas::default();
    let broken: Vec<Violation> = objects().iter().flat_map(|(_, o)| check(&schemas, o)).collect();
    for message in &all {
        let found = broken.iter().any(|v| v.rule == Rule::Cel && v.message.contains(message));
        assert!(found, "no case of e2e/fixtures/crds/reject breaks {message:?}");
    }
    let unable = broken.iter().find(|v| v.message.contains("cannot be compiled") || v.message.contains("overload"));
    assert_eq!(unable, None);
}

#[test]
fn rules_are_asked_only_about_what_has_its_types() {
    let said = |spec: Value| {
        let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "spec": spec});
        let all = check(&Schemas::default(), &object);
        all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        said(json!({"http": [{"timeout": "10us", "retries": {"attempts": "x"}}]})),
        ["spec.http[0].retries.attempts: Invalid value: \"string\": must be of type integer: \"string\""]
    );
    assert_eq!(
        said(json!({"http": [{"timeout": "10us"}]})),
        [
            "spec.http[0].timeout: Invalid value: \"10us\": must be a duration of at least 1ms, such as 500ms, 10s or 1h30m"
        ]
    );
    let said = said(json!({"http": [{"timeout": "10"}]}));
    assert!(said.len() == 1 && said[0].contains("missing unit in duration"), "{said:?}");
}

#[test]
fn hostile_values_are_only_wrong() {
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({ "route": [deep], "match": null, "": [1, null, 1e300] });
    }
    let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "spec": {"http": [deep]}});
    assert!(!check(&Schemas::default(), &object).is_empty());
}
