//! Edits that say nothing new, of each kind that is read.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    objects::{annotated, object, slice},
    world::World,
};
use crate::{api::Kind, engine::graph::Stats};

fn istio(kind: &str, version: &str, spec: &Value) -> Value {
    let group = match kind {
        "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => "security.istio.io",
        "Telemetry" => "telemetry.istio.io",
        "WasmPlugin" | "TrafficExtension" => "extensions.istio.io",
        _ => "networking.istio.io",
    };
    let mut value = kubernetes(kind, json!({"spec": spec}));
    value["apiVersion"] = format!("{group}/{version}").into();
    value
}

fn kubernetes(kind: &str, content: Value) -> Value {
    let mut value = content;
    value["apiVersion"] = "v1".into();
    value["kind"] = kind.into();
    value["metadata"] = json!({"name": "idle", "namespace": "ns1"});
    value
}

/// Changes something in an object that has no meaning.
type Edit = fn(&mut Value);

/// An object of each kind that means something to the proxies of [`World::with_proxies`], and an edit apart
/// from annotations.
fn kinds() -> Vec<(Value, Edit)> {
    let same: Edit = |_| ();
    let host = "idle.example.com";
    let port = json!({"number": 80, "name": "http", "protocol": "HTTP"});
    let service = json!({"spec": {"clusterIP": "10.200.0.1", "selector": {"app": "idle"}, "ports": [{"name": "http", "port": 80}]}});
    let pod = json!({
        "spec": {"nodeName": "idle", "containers": []},
        "status": {"phase": "Running", "podIP": "172.99.0.1", "podIPs": [{"ip": "172.99.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}]},
    });
    let node = json!({"status": {"conditions": [{"type": "Ready", "status": "True",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}});
    let mut mesh = kubernetes("ConfigMap", json!({"data": {"mesh": "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}}));
    mesh["metadata"] = json!({"name": "istio", "namespace": "istio-system"});
    vec![
        (kubernetes("Service", service), |v| v["status"] = json!({"loadBalancer": {}})),
        (slice(1, &["172.0.1.1".to_owned(), "173.0.1.1".to_owned()]), |v| {
            v["endpoints"][0]["conditions"]["serving"] = true.into();
        }),
        (kubernetes("Pod", pod), |v| v["status"]["conditions"][0]["lastProbeTime"] = "2026-01-01T00:00:00Z".into()),
        (kubernetes("Node", node), |v| {
            v["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:00:10Z".into();
        }),
        (kubernetes("Namespace", json!({})), |v| v["status"] = json!({"phase": "Active"})),
        (kubernetes("Secret", json!({"type": "Opaque", "data": {"cacert": "eA=="}})), same),
        (mesh, |v| {
            v["data"]["mesh"] = "# said once more\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}".into();
        }),
        (istio("DestinationRule", "v1", &json!({"host": host, "trafficPolicy": {"tls": {"mode": "DISABLE"}}})), same),
        (
            istio(
                "EnvoyFilter",
                "v1alpha3",
                &json!({"configPatches": [{"applyTo": "HTTP_FILTER",
                "match": {"context": "SIDECAR_OUTBOUND"}, "patch": {"operation": "INSERT_FIRST", "value": {"name": "idle",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
                "max_request_bytes": 1024}}}}]}),
            ),
            same,
        ),
        (
            istio(
                "Gateway",
                "v1",
                &json!({"selector": {"istio": "ingressgateway"}, "servers": [{"port": port, "hosts": ["*"]}]}),
            ),
            same,
        ),
        (istio("ProxyConfig", "v1beta1", &json!({"concurrency": 2})), same),
        (
            istio(
                "ServiceEntry",
                "v1",
                &json!({"hosts": [host], "ports": [port], "resolution": "STATIC",
                "endpoints": [{"address": "192.0.2.1"}]}),
            ),
            |v| v["spec"]["location"] = "MESH_EXTERNAL".into(),
        ),
        (istio("Sidecar", "v1", &json!({"egress": [{"hosts": ["ns1/*"]}]})), same),
        (
            istio(
                "VirtualService",
                "v1",
                &json!({"hosts": [host], "http": [{"route": [{"destination": {"host": host}}]}]}),
            ),
            |v| v["spec"]["gateways"] = json!(["mesh"]),
        ),
        (istio("WorkloadEntry", "v1", &json!({"address": "192.0.2.2", "labels": {"app": "idle"}})), same),
        (istio("WorkloadGroup", "v1", &json!({"template": {}})), same),
        (istio("AuthorizationPolicy", "v1", &json!({})), same),
        (istio("PeerAuthentication", "v1", &json!({"mtls": {"mode": "STRICT"}})), same),
        (istio("RequestAuthentication", "v1", &json!({})), same),
        (istio("Telemetry", "v1", &json!({"tracing": [{"disableSpanReporting": true}]})), same),
        (istio("WasmPlugin", "v1alpha1", &json!({"url": "file:///idle.wasm"})), same),
        (istio("TrafficExtension", "v1alpha1", &json!({"wasm": {"url": "file:///idle.wasm"}})), same),
    ]
}

#[test]
fn an_edit_without_a_meaning_is_no_work_whatever_its_kind() {
    let mut world = World::with_proxies(100);
    let mut covered = BTreeSet::new();
    for (mut value, edit) in kinds() {
        let first = object(value.clone());
        let kind = first.kind();
        world.apply_all(&[first]);
        edit(&mut value);
        let effect = world.apply_all(&[object(annotated(value))]);
        assert_eq!((effect.moved.len(), effect.cost, effect.grown), (0, Stats::default(), 0), "{}", kind.kind());
        covered.insert(kind.kind());
    }
    assert_eq!(covered.len(), Kind::ALL.len(), "{covered:?}");
}
