//! What objects of several components have in common.

use serde_json::{Value, json};

use crate::{
    api::istio_operator::KubernetesSettings,
    install::{Object, context::Context, object::labels, tree::overlay, values::texts},
};

/// The user of the image of the control plane.
pub(super) const USER: i64 = 1337;

/// Adds the labels by which an object is found again. Definitions stay as they are: they are all installations'.
pub(super) fn label(context: &Context, object: &mut Object) {
    let kind = object.r#type.kind;
    if kind == "CustomResourceDefinition" {
        return;
    }
    let (name, namespace) = &context.owner;
    let mut added = json!({
        labels::MANAGER.0: labels::MANAGER.1,
        labels::COMPONENT: object.component.to_string(),
        labels::OWNER: name,
        labels::OWNER_NAMESPACE: namespace,
    });
    // On a namespace it would ask for injection.
    if kind != "Namespace" {
        added[labels::REVISION] = context.revision_label().into();
    }
    let own = object.value["metadata"]["labels"].take();
    overlay(&mut added, own);
    object.value["metadata"]["labels"] = added;
}

/// Puts settings of Pods into their template. `container` is the name of the one that they are for.
pub(super) fn settle_pod(settings: &KubernetesSettings, template: &mut Value, container: &str) {
    overlay(&mut template["metadata"]["annotations"], texts(&settings.pod_annotations));
    let spec = &mut template["spec"];
    overlay(
        spec,
        json!({
            "affinity": settings.affinity,
            "priorityClassName": settings.priority_class_name,
            "securityContext": settings.security_context,
            "tolerations": settings.tolerations,
        }),
    );
    if !settings.node_selector.is_empty() {
        overlay(spec, json!({"nodeSelector": texts(&settings.node_selector)}));
    }
    extend(&mut spec["volumes"], json!(settings.volumes));
    let containers = spec["containers"].as_array_mut();
    let Some(container) = containers.into_iter().flatten().find(|c| c["name"] == container) else { return };
    overlay(
        container,
        json!({
            "env": settings.env,
            "imagePullPolicy": settings.image_pull_policy,
            "readinessProbe": settings.readiness_probe,
            "resources": settings.resources,
        }),
    );
    extend(&mut container["volumeMounts"], json!(settings.volume_mounts));
}

/// Adds elements to a list; an empty one is left out.
pub(super) fn extend(list: &mut Value, more: Value) {
    if let Value::Array(more) = more
        && !more.is_empty()
    {
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().into_iter().for_each(|list| list.extend(more.clone()));
    }
}

/// How many Pods there are, and how they are replaced, unless the number follows the load.
pub(super) fn settle_deployment(settings: &KubernetesSettings, spec: &mut Value) {
    if settings.hpa_spec.is_none() {
        spec["replicas"] = settings.replica_count.unwrap_or(1).into();
    }
    if let Some(strategy) = &settings.strategy {
        spec["strategy"] = json!(strategy);
    }
}

/// The number of Pods follows the load, if that is asked for.
pub(super) fn autoscaler(name: &str, namespace: &str, settings: &KubernetesSettings) -> Option<Value> {
    let mut spec = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}});
    let mut said = json!(settings.hpa_spec.as_ref()?);
    // The type has it even when nothing is said.
    if said["scaleTargetRef"]["name"] == "" {
        said["scaleTargetRef"].take();
    }
    overlay(&mut spec, said);
    Some(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }))
}

/// Evictions leave one Pod, or what is said.
pub(super) fn budget(
    context: &Context,
    name: &str,
    namespace: &str,
    selector: &Value,
    settings: &KubernetesSettings,
) -> Option<Value> {
    let mut spec = json!({"selector": {"matchLabels": selector}});
    match &settings.pod_disruption_budget {
        Some(said) => overlay(&mut spec, json!(said)),
        None if context.values.global.default_pod_disruption_budget.enabled => spec["minAvailable"] = 1.into(),
        None => return None,
    }
    // One of the two may be said.
    if spec.get("minAvailable").is_none() && spec.get("maxUnavailable").is_none() {
        spec["minAvailable"] = 1.into();
    }
    Some(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }))
}

/// A Service with what is said of it.
pub(super) fn service(name: &str, namespace: &str, mut spec: Value, settings: &KubernetesSettings) -> Value {
    overlay(&mut spec, json!(settings.service));
    let mut metadata = json!({"name": name, "namespace": namespace});
    if !settings.service_annotations.is_empty() {
        metadata["annotations"] = texts(&settings.service_annotations);
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
}

/// What a container of the image of the control plane may: nothing that it does not need.
pub(super) fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "runAsGroup": USER,
        "runAsNonRoot": true,
        "runAsUser": USER,
    })
}

/// A variable with a text.
pub(super) fn variable(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

/// A variable from a field of the Pod.
pub(super) fn variable_of_pod(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}
