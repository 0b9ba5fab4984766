//! Injection: what it is set up with, and who asks for it (contract §5.1).

use serde_json::{Value, json};

use crate::install::context::Context;

/// Where nothing is ever injected by itself.
const LEFT_OUT: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];
/// Asks for injection in a namespace.
const INJECTION: &str = "istio-injection";
/// Names a revision, of namespaces and Pods.
const REVISION: &str = "istio.io/rev";
/// Asks for injection, or against it, of a Pod.
const INJECT: &str = "sidecar.istio.io/inject";

/// The ConfigMap and the webhooks.
pub(super) fn objects(context: &Context) -> Vec<Value> {
    let mut all = Vec::new();
    let said = &context.values;
    if !said.global.omit_sidecar_injector_config_map {
        all.push(config_map(context));
    }
    if said.global.operator_manage_webhooks {
        return all;
    }
    all.push(webhooks(context, &context.named("istio-sidecar-injector"), None));
    // The default revision is asked for by its own webhooks already.
    let is_default = !context.revision.is_empty() && *said.default_revision == *context.revision;
    let tags = said.revision_tags.iter().map(|tag| &**tag).filter(|tag| *tag != "default");
    for tag in tags.chain(is_default.then_some("default")) {
        all.push(webhooks(context, &format!("istio-revision-tag-{tag}"), Some(tag)));
    }
    all
}

fn config_map(context: &Context) -> Value {
    let config = serde_yaml_ng::to_string(&context.injector.config).expect("a configuration is plain data");
    let values = serde_json::to_string_pretty(&context.injector.values).expect("values are plain data");
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": context.named("istio-sidecar-injector"), "namespace": context.namespace},
        "data": {"config": config, "values": values},
    })
}

/// The webhooks of the revision, or of another name of it.
fn webhooks(context: &Context, name: &str, tag: Option<&str>) -> Value {
    let name = match context.namespace.as_str() {
        "istio-system" => name.to_owned(),
        namespace => format!("{name}-{namespace}"),
    };
    let revision = tag.unwrap_or_else(|| context.revision_label());
    let mut all = vec![
        hook(
            context,
            "rev.namespace",
            &json!([one_of(REVISION, revision), absent(INJECTION)]),
            &json!([not(INJECT, "false")]),
        ),
        hook(
            context,
            "rev.object",
            &json!([absent(REVISION), absent(INJECTION)]),
            &json!([not(INJECT, "false"), one_of(REVISION, revision)]),
        ),
    ];
    if revision == "default" {
        all.extend(of_default(context));
    }
    let mut labels = json!({"app": "sidecar-injector"});
    if let Some(tag) = tag {
        labels["istio.io/tag"] = tag.into();
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "labels": labels},
        "webhooks": all,
    })
}

/// Those of the default revision, for who names none.
fn of_default(context: &Context) -> Vec<Value> {
    let mut all = vec![
        hook(context, "namespace", &json!([one_of(INJECTION, "enabled")]), &json!([not(INJECT, "false")])),
        hook(
            context,
            "object",
            &json!([absent(INJECTION), absent(REVISION)]),
            &json!([one_of(INJECT, "true"), absent(REVISION)]),
        ),
    ];
    if context.values.sidecar_injector_webhook.enable_namespaces_by_default {
        let elsewhere = json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": LEFT_OUT});
        all.push(hook(
            context,
            "auto",
            &json!([absent(INJECTION), absent(REVISION), elsewhere]),
            &json!([absent(INJECT), absent(REVISION)]),
        ));
    }
    all
}

fn hook(context: &Context, name: &str, namespaces: &Value, objects: &Value) -> Value {
    let reinvocation = match &*context.values.sidecar_injector_webhook.reinvocation_policy {
        "" => "Never",
        said => said,
    };
    json!({
        "name": format!("{name}.sidecar-injector.istio.io"),
        "admissionReviewVersions": ["v1"],
        // The control plane adds the authority.
        "clientConfig": {"service": {
            "name": context.named("istiod"),
            "namespace": context.namespace,
            "path": "/inject",
            "port": 443,
        }},
        // The control plane makes it `Fail` when somebody answers.
        "failurePolicy": "Ignore",
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": objects},
        "reinvocationPolicy": reinvocation,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "sideEffects": "None",
    })
}

fn one_of(key: &str, value: &str) -> Value {
    json!({"key": key, "operator": "In", "values": [value]})
}

fn not(key: &str, value: &str) -> Value {
    json!({"key": key, "operator": "NotIn", "values": [value]})
}

fn absent(key: &str) -> Value {
    json!({"key": key, "operator": "DoesNotExist"})
}
