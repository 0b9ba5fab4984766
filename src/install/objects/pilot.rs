//! The control plane: a Deployment with its Service (contract §1).

use serde_json::{Value, json};

use super::common;
use crate::install::{context::Context, images, tree::overlay, values::texts};

const CONTAINER: &str = "discovery";
/// How long a client stays with one replica, so that new replicas get their share.
const CONNECTION_AGE: &str = "30m";

/// Its ServiceAccount, Service, Deployment and what belongs to it.
pub(super) fn objects(context: &Context) -> Vec<Value> {
    let settings = &context.spec.components.pilot.k8s;
    let (name, namespace) = (context.named("istiod"), context.namespace.as_str());
    let selector = selector(context);
    let service = json!({
        "selector": selector,
        "ports": [
            {"name": "grpc-xds", "port": 15010, "protocol": "TCP"},
            {"name": "https-dns", "port": 15012, "protocol": "TCP"},
            {"name": "https-webhook", "port": 443, "targetPort": 15017, "protocol": "TCP"},
            {"name": "http-monitoring", "port": 15014, "protocol": "TCP"},
        ],
    });
    let mut service = common::service(&name, namespace, service, settings);
    service["metadata"]["labels"] = json!({"app": "istiod", "istio": context_label(context)});
    let mut account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "istiod"}},
    });
    let pull_secrets = &context.values.global.image_pull_secrets;
    if !pull_secrets.is_empty() {
        account["imagePullSecrets"] = pull_secrets.iter().map(|name| json!({"name": name})).collect();
    }
    let mut all = vec![account, service, deployment(context, &name, &selector)];
    all.extend(common::budget(context, &name, namespace, &selector, settings));
    all.extend(common::autoscaler(&name, namespace, settings));
    all
}

/// The labels that select its Pods: with a revision, others than those of the default one.
fn selector(context: &Context) -> Value {
    match context.revision.as_str() {
        "" => json!({"app": "istiod", "istio": "pilot"}),
        revision => json!({"app": "istiod", "istio.io/rev": revision}),
    }
}

fn context_label(context: &Context) -> &'static str {
    if context.revision.is_empty() { "pilot" } else { "istiod" }
}

fn deployment(context: &Context, name: &str, selector: &Value) -> Value {
    let component = &context.spec.components.pilot;
    let said = &context.values.pilot;
    let mut labels = json!({
        "app": "istiod",
        "istio": context_label(context),
        "istio.io/rev": context.revision_label(),
        "istio.io/dataplane-mode": "none",
        "operator.istio.io/component": "Pilot",
        "sidecar.istio.io/inject": "false",
    });
    overlay(&mut labels, texts(&said.labels));
    overlay(&mut labels, texts(&said.pod_labels));
    let mut template = json!({
        "metadata": {
            "labels": labels,
            "annotations": {
                "prometheus.io/port": "15014",
                "prometheus.io/scrape": "true",
                "sidecar.istio.io/inject": "false",
            },
        },
        "spec": {
            "serviceAccountName": name,
            "securityContext": {"fsGroup": common::USER},
            "containers": [container(context)],
            "volumes": volumes(context),
        },
    });
    common::settle_pod(&component.k8s, &mut template, CONTAINER);
    let mut spec = json!({
        "selector": {"matchLabels": selector},
        "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}},
        "template": template,
    });
    common::settle_deployment(&component.k8s, &mut spec);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": context.namespace,
            "labels": {"app": "istiod", "istio": context_label(context)},
        },
        "spec": spec,
    })
}

fn container(context: &Context) -> Value {
    let component = &context.spec.components.pilot;
    let said = &context.values.pilot;
    let hub = component.hub.as_ref().or(said.hub.as_ref());
    let tag = component.tag.as_ref().or(said.tag.as_ref());
    let mut images = context.images.clone();
    if let Some(hub) = hub {
        images.hub.clone_from(&hub.0);
    }
    if let Some(tag) = tag {
        images.tag.clone_from(&tag.0);
    }
    json!({
        "name": CONTAINER,
        "image": images.reference(&said.image, images::CONTROL_PLANE),
        "args": arguments(context),
        "ports": [
            {"name": "http-debug", "containerPort": 8080, "protocol": "TCP"},
            {"name": "grpc-xds", "containerPort": 15010, "protocol": "TCP"},
            {"name": "tls-xds", "containerPort": 15012, "protocol": "TCP"},
            {"name": "https-webhooks", "containerPort": 15017, "protocol": "TCP"},
            {"name": "http-monitoring", "containerPort": 15014, "protocol": "TCP"},
        ],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8080},
            "initialDelaySeconds": 1,
            "periodSeconds": 3,
            "timeoutSeconds": 5,
        },
        "env": environment(context),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": common::confined(),
        "volumeMounts": mounts(),
    })
}

fn arguments(context: &Context) -> Vec<String> {
    let or = |said: &str, usual: &str| if said.is_empty() { usual.to_owned() } else { said.to_owned() };
    let (global, said) = (&context.values.global, &context.values.pilot);
    let mut all = vec![
        "discovery".to_owned(),
        "--monitoringAddr=:15014".to_owned(),
        format!("--log_output_level={}", or(&global.logging.level, "default:info")),
        "--domain".to_owned(),
        or(&global.proxy.cluster_domain, "cluster.local"),
        "--keepaliveMaxServerConnectionAge".to_owned(),
        or(&said.keepalive_max_server_connection_age, CONNECTION_AGE),
    ];
    all.extend(global.log_as_json.then(|| "--log_as_json".to_owned()));
    all.extend(said.extra_container_args.iter().map(|arg| arg.0.clone()));
    all
}

fn environment(context: &Context) -> Vec<Value> {
    let or = |said: &str, usual: &str| if said.is_empty() { usual.to_owned() } else { said.to_owned() };
    let global = &context.values.global;
    vec![
        common::variable("REVISION", context.revision_label()),
        common::variable("PILOT_CERT_PROVIDER", &or(&global.pilot_cert_provider, "istiod")),
        common::variable_of_pod("POD_NAME", "metadata.name"),
        common::variable_of_pod("POD_NAMESPACE", "metadata.namespace"),
        common::variable_of_pod("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        common::variable("CLUSTER_ID", &or(&global.multi_cluster.cluster_name, "Kubernetes")),
    ]
}

fn mounts() -> Value {
    json!([
        {"name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": true},
        {"name": "cacerts", "mountPath": "/etc/cacerts", "readOnly": true},
        {"name": "istio-csr-dns-cert", "mountPath": "/var/run/secrets/istiod/tls", "readOnly": true},
        {"name": "istio-csr-ca-configmap", "mountPath": "/var/run/secrets/istiod/ca", "readOnly": true},
    ])
}

fn volumes(context: &Context) -> Value {
    let audience = &context.injection.values.global.sds.token.aud;
    let token = json!({"audience": audience, "expirationSeconds": 43_200, "path": "istio-token"});
    json!([
        {"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": "cacerts", "secret": {"secretName": "cacerts", "optional": true}},
        {"name": "istio-csr-dns-cert", "secret": {"secretName": "istiod-tls", "optional": true}},
        {"name": "istio-csr-ca-configmap", "configMap": {"name": "istio-ca-root-cert", "optional": true}},
    ])
}
