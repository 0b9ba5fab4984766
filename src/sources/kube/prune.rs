//! Drops what nobody here reads, before an object is decoded and kept.

use serde_json::{Map, Value};

use crate::api::Kind;

/// Metadata that is of no use: bookkeeping of the API server and of tools.
const METADATA: [&str; 6] = ["managedFields", OWNERS, "finalizers", "selfLink", "resourceVersion", "generateName"];

/// What made an object. That of a Pod is its workload.
const OWNERS: &str = "ownerReferences";

/// The largest annotation there is: a copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Reduces an object to what reconcilers need. The resource version goes too, so that equal content is equal.
pub(super) fn prune(kind: Kind, object: &mut Map<String, Value>) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let owner_matters = kind == Kind::Pod;
        metadata.retain(|key, _| !METADATA.contains(&key.as_str()) || (owner_matters && key == OWNERS));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove(LAST_APPLIED);
        }
    }
    match kind {
        Kind::Pod => prune_pod(object),
        Kind::Node | Kind::Namespace => {
            object.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata"));
        }
        Kind::Service => keep(object, "status", &["loadBalancer"]),
        Kind::Secret | Kind::ConfigMap | Kind::EndpointSlice => {}
        // Addresses given to hosts, and the health of workloads.
        Kind::ServiceEntry => keep(object, "status", &["addresses"]),
        Kind::WorkloadEntry => keep(object, "status", &["conditions"]),
        _ => {
            object.shift_remove("status");
        }
    }
}

fn prune_pod(pod: &mut Map<String, Value>) {
    keep(pod, "spec", &["containers", "hostNetwork", "nodeName", "serviceAccountName"]);
    keep(pod, "status", &["conditions", "phase", "podIP", "podIPs"]);
    if let Some(owners) = pod.get_mut("metadata").and_then(|metadata| metadata.get_mut(OWNERS)?.as_array_mut()) {
        owners.retain(|owner| owner["controller"] == true);
    }
    if let Some(conditions) = pod.get_mut("status").and_then(|status| status.get_mut("conditions")?.as_array_mut()) {
        conditions.retain(|condition| condition["type"] == "Ready");
        // Not when it was looked at: that changes all the time.
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            condition.retain(|key, _| matches!(key.as_str(), "type" | "status"));
        }
    }
    let containers = pod.get_mut("spec").and_then(|spec| spec.get_mut("containers")).and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        container.retain(|key, _| matches!(key.as_str(), "name" | "ports"));
    }
}

fn keep(object: &mut Map<String, Value>, field: &str, keys: &[&str]) {
    if let Some(inner) = object.get_mut(field).and_then(Value::as_object_mut) {
        inner.retain(|key, _| keys.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pruned(kind: Kind, mut object: Value) -> Value {
        prune(kind, object.as_object_mut().unwrap());
        object
    }

    #[test]
    fn a_pod_keeps_what_endpoints_and_proxies_need() {
        let pod = json!({
            "metadata": {
                "name": "p", "labels": {"a": "b"}, "managedFields": [{}], "resourceVersion": "1",
                "annotations": {LAST_APPLIED: "{}", "x": "y"},
                "ownerReferences": [{"kind": "Other", "name": "o"}, {"kind": "ReplicaSet", "name": "r", "controller": true}],
            },
            "spec": {
                "nodeName": "n", "serviceAccountName": "s", "hostNetwork": true, "volumes": [],
                "containers": [{"name": "c", "image": "i", "env": [], "ports": [{"containerPort": 1}]}],
            },
            "status": {"phase": "Running", "podIP": "1.2.3.4", "podIPs": [], "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "t"}, {"type": "Initialized", "status": "True"},
            ]},
        });
        let expected = json!({
            "metadata": {
                "name": "p", "labels": {"a": "b"}, "annotations": {"x": "y"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "r", "controller": true}],
            },
            "spec": {
                "nodeName": "n", "serviceAccountName": "s", "hostNetwork": true,
                "containers": [{"name": "c", "ports": [{"containerPort": 1}]}],
            },
            "status": {
                "phase": "Running", "podIP": "1.2.3.4", "podIPs": [], "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        assert_eq!(pruned(Kind::Pod, pod), expected);
    }

    #[test]
    fn status_is_kept_only_where_it_is_read() {
        let object = || json!({"spec": {"hosts": ["a"]}, "status": {"addresses": [], "conditions": []}});
        assert_eq!(pruned(Kind::VirtualService, object()), json!({"spec": {"hosts": ["a"]}}));
        assert_eq!(pruned(Kind::ServiceEntry, object())["status"], json!({"addresses": []}));
        assert_eq!(pruned(Kind::Node, json!({"metadata": {}, "spec": 1, "status": 1})), json!({"metadata": {}}));
    }
}
