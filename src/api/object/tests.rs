use super::{DecodeError, Object, decode};
use crate::api::Kind;
use crate::api::sidecar::OutboundTrafficMode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn object(api_version: &str, kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": { "name": "web", "namespace": "default" },
        "spec": spec,
    })
}

fn virtual_service(spec: &Value) -> Value {
    object("networking.istio.io/v1", "VirtualService", spec)
}

#[test]
fn every_served_version_is_read() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_custom() && !kind.needs_spec()) {
        if kind == Kind::DestinationRule {
            continue; // needs a host
        }
        for version in kind.versions() {
            let value = object(&format!("{}/{version}", kind.group()), kind.kind(), &json!({}));
            let (read, unknown) = decode(value).unwrap();
            assert_eq!((read.kind(), unknown), (kind, vec![]));
            assert_eq!(read.meta().name.as_deref(), Some("web"));
        }
    }
}

#[test]
fn objects_of_kubernetes_are_read() {
    let service = object("v1", "Service", &json!({ "ports": [{ "port": 80, "colour": "red" }] }));
    let (read, unknown) = decode(service).unwrap();
    assert_eq!(read.kind(), Kind::Service);
    assert_eq!(unknown, ["spec.ports[0].colour"]);
}

#[test]
fn a_missing_spec_is_an_empty_one_where_none_is_required() {
    let value =
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": { "name": "a" }, "spec": null });
    assert!(matches!(decode(value), Ok((Object::Sidecar(_), _))));
    let value = json!({ "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": { "name": "a" } });
    assert_eq!(decode(value).unwrap_err().to_string(), "WorkloadEntry a: missing field `spec`");
}

#[test]
fn null_stands_for_an_absent_value() {
    let value = virtual_service(&json!({
        "hosts": null,
        "http": [{ "timeout": null, "name": null, "match": [{ "headers": null, "ignoreUriCase": null }] }],
    }));
    let (read, unknown) = decode(value).unwrap();
    let Object::VirtualService(read) = read else { unreachable!("it is one") };
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(serde_json::to_value(&read.spec).unwrap(), json!({ "http": [{ "match": [{}] }] }));
    // A header without a condition would match more than what was meant.
    let value = virtual_service(&json!({ "http": [{ "match": [{ "headers": { "x": null } }] }] }));
    assert!(
        decode(value)
            .unwrap_err()
            .to_string()
            .starts_with("VirtualService default/web: spec.http[0].match[0].headers.x: ")
    );
}

#[test]
fn unknown_fields_are_named_and_do_no_harm() {
    let value = json!({
        "apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService", "extra": 1,
        "metadata": { "name": "web", "nmae": "x" },
        "spec": { "host": "a", "http": [{ "route": [{ "destination": { "host": "a", "prot": 1 }, "wieght": 5 }] }] },
        "status": { "conditions": [{ "type": "Ready", "more": 1 }], "anything": {} },
    });
    let (_, mut unknown) = decode(value).unwrap();
    unknown.sort();
    assert_eq!(
        unknown,
        [
            "extra",
            "metadata.nmae",
            "spec.host",
            "spec.http[0].route[0].destination.prot",
            "spec.http[0].route[0].wieght"
        ]
    );
}

#[test]
fn free_form_values_are_kept_whole() {
    let patch =
        json!({ "operation": "MERGE", "value": { "name": null, "typed_config": { "@type": "x", "n": [1, 2.5] } } });
    let spec = json!({ "configPatches": [{ "applyTo": "HTTP_FILTER", "patch": patch }] });
    let (read, unknown) = decode(object("networking.istio.io/v1alpha3", "EnvoyFilter", &spec)).unwrap();
    let Object::EnvoyFilter(read) = read else { unreachable!("it is one") };
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(serde_json::to_value(&read.spec).unwrap(), spec);
}

#[test]
fn older_spellings_are_read() {
    let value = virtual_service(&json!({ "http": [{ "mirror_percent": 5 }] }));
    let Ok((Object::VirtualService(read), unknown)) = decode(value) else { unreachable!("it is one") };
    assert_eq!((read.spec.http[0].mirror_percent, unknown), (Some(5), vec![]));
    let value = object(
        "security.istio.io/v1",
        "RequestAuthentication",
        &json!({ "jwtRules": [{ "jwks_uri": "https://a/b" }] }),
    );
    let Ok((Object::RequestAuthentication(read), _)) = decode(value) else { unreachable!("it is one") };
    assert_eq!(read.spec.jwt_rules[0].jwks_uri, "https://a/b");
}

#[test]
fn ports_may_be_keys() {
    let spec = json!({ "portLevelMtls": { "8080": { "mode": "DISABLE" } } });
    let (read, _) = decode(object("security.istio.io/v1", "PeerAuthentication", &spec)).unwrap();
    let Object::PeerAuthentication(read) = read else { unreachable!("it is one") };
    assert_eq!(serde_json::to_value(&read.spec).unwrap(), spec);
    let wrong = json!({ "portLevelMtls": { "http": { "mode": "DISABLE" } } });
    let error = decode(object("security.istio.io/v1", "PeerAuthentication", &wrong)).unwrap_err().to_string();
    assert!(error.starts_with("PeerAuthentication default/web: spec.portLevelMtls"), "{error}");
}

#[test]
fn an_empty_policy_is_the_zero_value() {
    let (read, _) =
        decode(object("networking.istio.io/v1", "Sidecar", &json!({ "outboundTrafficPolicy": {} }))).unwrap();
    let Object::Sidecar(read) = read else { unreachable!("it is one") };
    assert_eq!(read.spec.outbound_traffic_policy.unwrap().mode, OutboundTrafficMode::RegistryOnly);
}

#[test]
fn wrong_values_are_named_exactly() {
    let route =
        |weight: Value| json!({ "http": [{ "route": [{ "destination": { "host": "a" }, "weight": weight }] }] });
    for (value, message) in [
        (
            virtual_service(&route(json!("x"))),
            "VirtualService default/web: spec.http[0].route[0].weight: invalid type: string \"x\", expected i32",
        ),
        (
            virtual_service(&json!({ "http": [{ "route": [{ "weight": 1 }] }] })),
            "VirtualService default/web: spec.http[0].route[0]: missing field `destination`",
        ),
        (
            virtual_service(&json!({ "hosts": "a" })),
            "VirtualService default/web: spec.hosts: invalid type: string \"a\", expected a sequence",
        ),
        (
            virtual_service(&json!({ "http": [{ "corsPolicy": { "unmatchedPreflights": "DROP" } }] })),
            "VirtualService default/web: spec.http[0].corsPolicy.unmatchedPreflights: unknown variant `DROP`, \
             expected one of `UNSPECIFIED`, `FORWARD`, `IGNORE`",
        ),
        (
            object("networking.istio.io/v1", "DestinationRule", &json!({})),
            "DestinationRule default/web: spec: missing field `host`",
        ),
        (
            object("networking.istio.io/v1", "Gateway", &json!({ "servers": [{ "port": { "number": -1 } }] })),
            "Gateway default/web: spec.servers[0].port.number: invalid value: integer `-1`, expected u32",
        ),
        (
            object("networking.istio.io/v2", "Gateway", &json!({})),
            "Gateway default/web: apiVersion: version \"v2\" is not known, expected one of v1, v1beta1, v1alpha3",
        ),
        (object("apps/v1", "Deployment", &json!({})), "apps/v1 Deployment: this kind is not read"),
        (json!({ "kind": "Gateway" }), "not a Kubernetes object: apiVersion is missing"),
        (json!([1]), "not a Kubernetes object: apiVersion is missing"),
        (
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "default" } }),
            "Service default/: metadata.name: a name is required",
        ),
        (
            object("v1", "Service", &json!({ "ports": [{ "port": "http" }] })),
            "Service default/web: spec.ports[0].port: invalid type: string \"http\", expected i32",
        ),
    ] {
        assert_eq!(decode(value).unwrap_err().to_string(), message);
    }
}

/// The objects that the tests against a real API server create there.
#[test]
fn what_an_api_server_accepts_is_read_without_complaint() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/fixtures/crds/accept");
    let mut kinds = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let value = Value::deserialize(document).unwrap();
            // The one exception: without a spec an API server does not ask for the host in it.
            if value["kind"] == "DestinationRule" && value.get("spec").is_none() {
                assert!(decode(value).unwrap_err().to_string().ends_with(": spec: missing field `host`"));
                continue;
            }
            let (object, unknown) = decode(value.clone()).unwrap();
            assert_eq!(unknown, Vec::<String>::new(), "{value}");
            kinds.insert(object.kind());
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), Kind::ALL[7..]);
}

#[test]
fn the_kind_of_an_error_is_told_apart() {
    let error = decode(object("apps/v1", "Deployment", &json!({}))).unwrap_err();
    assert!(matches!(error, DecodeError::UnknownKind { .. }));
}
