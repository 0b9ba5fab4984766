//! What a template sees: the fields of Istio's.

use gotmpl::Value;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value as Json, json};

use super::json::{map, plain, structure};
use crate::webhook::inject::{Context, proxy};

/// The user and the group of the proxy.
const PROXY_ID: i64 = 1337;

/// For a Pod.
pub(super) fn of(context: &Context<'_>, pod: &Pod) -> Value {
    let Context { settings, workload, config, .. } = context;
    let text = |text: &str| Value::from(text);
    let revision = if settings.revision.is_empty() { "default" } else { &settings.revision };
    let policy = settings.mesh_config.pointer("/inboundTrafficPolicy/mode").and_then(Json::as_str);
    let fields = [
        ("TypeMeta", structure(&json!({"kind": workload.kind, "apiVersion": workload.api_version}))),
        ("DeploymentMeta", structure(&json!({"name": workload.name, "namespace": context.target.namespace}))),
        ("ObjectMeta", structure(&with_defaults(as_json(&pod.metadata), &metadata(context.target.namespace)))),
        ("Spec", structure(&pod.spec.as_ref().map(as_json).unwrap_or_default())),
        ("ProxyConfig", structure(&Json::Object(config.fields().clone()))),
        ("MeshConfig", structure(&with_defaults(settings.mesh_config.clone(), &mesh(context)))),
        ("Values", plain(&settings.all_values)),
        ("Revision", text(revision)),
        ("NativeSidecars", Value::Bool(context.native)),
        ("ProxyImage", text(&proxy::image(context))),
        ("ProxyUID", Value::Int(PROXY_ID)),
        ("ProxyGID", Value::Int(PROXY_ID)),
        ("InboundTrafficPolicyMode", text(policy.unwrap_or("PASSTHROUGH"))),
        ("CompliancePolicy", text("")),
    ];
    map(fields.map(|(name, value)| (name.to_owned(), value)))
}

fn as_json<T: serde::Serialize>(value: &T) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}

/// What is there in Go though nobody said it, and is asked for most.
fn metadata(namespace: &str) -> Json {
    json!({"name": "", "generateName": "", "namespace": namespace, "labels": {}, "annotations": {}})
}

fn mesh(context: &Context<'_>) -> Json {
    json!({
        "trustDomain": context.settings.trust_domain,
        "enablePrometheusMerge": context.settings.merges_metrics,
        "rootNamespace": context.settings.values.global.istio_namespace,
    })
}

fn with_defaults(mut value: Json, defaults: &Json) -> Json {
    if !value.is_object() {
        value = json!({});
    }
    for (key, default) in defaults.as_object().into_iter().flatten() {
        let field = &mut value[key.as_str()];
        if field.is_null() {
            *field = default.clone();
        }
    }
    value
}
