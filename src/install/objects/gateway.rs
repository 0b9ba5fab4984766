//! A gateway: a Deployment of proxies with its Service. Its Pods carry the whole proxy, as injection makes it, so that they
//! start without a webhook.

use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::{Value, json};

use super::{access, common};
use crate::{
    api::istio_operator::Component,
    install::{
        ComponentName, InstallError,
        context::Context,
        images,
        tree::overlay,
        values::{Workload, texts},
    },
    webhook::inject::{Target, inject},
};

const CONTAINER: &str = "istio-proxy";
/// Notes of an injection, which are for injected Pods.
const NOTES: [&str; 3] = ["sidecar.istio.io/status", "proxy.istio.io/overrides", "inject.istio.io/templates"];

/// Where it is.
pub(super) fn namespace<'a>(context: &'a Context, gateway: &'a Component) -> &'a str {
    if gateway.namespace.is_empty() { &context.namespace } else { &gateway.namespace }
}

/// Its ServiceAccount, rights, Service, Deployment and what belongs to it.
pub(super) fn objects(
    context: &Context,
    component: ComponentName,
    gateway: &Component,
) -> Result<Vec<Value>, InstallError> {
    let (name, namespace) = (&*gateway.name, namespace(context, gateway));
    let is_ingress = component == ComponentName::IngressGateways;
    let said = if is_ingress { &context.values.gateways.ingress } else { &context.values.gateways.egress };
    let selector = selector(gateway, is_ingress);
    let service = json!({
        "type": if is_ingress { "LoadBalancer" } else { "ClusterIP" },
        "selector": selector,
        "ports": ports(is_ingress),
    });
    let mut service = common::service(name, namespace, service, &gateway.k8s);
    service["metadata"]["labels"] = selector.clone();
    let account = format!("{name}-service-account");
    let mut all = vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": namespace, "labels": selector},
        }),
        service,
        deployment(context, gateway, said, &selector, &account)?,
    ];
    all.extend(access::of_gateway(name, namespace, &account));
    all.extend(common::budget(context, name, namespace, &selector, &gateway.k8s));
    all.extend(common::autoscaler(name, namespace, &gateway.k8s));
    Ok(all)
}

/// The labels that select its Pods, by which Gateways name it too.
fn selector(gateway: &Component, is_ingress: bool) -> Value {
    let role = if is_ingress { "ingressgateway" } else { "egressgateway" };
    let mut labels = json!({"app": format!("istio-{role}"), "istio": role});
    overlay(&mut labels, texts(&gateway.label));
    labels
}

fn ports(is_ingress: bool) -> Value {
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
    let (http, https) = (port("http2", 80, 8080), port("https", 443, 8443));
    if is_ingress { json!([port("status-port", 15021, 15021), http, https]) } else { json!([http, https]) }
}

fn deployment(
    context: &Context,
    gateway: &Component,
    said: &Workload,
    selector: &Value,
    account: &str,
) -> Result<Value, InstallError> {
    let (name, namespace) = (&*gateway.name, namespace(context, gateway));
    let mut template = template(context, gateway, said, selector, account);
    common::settle_pod(&gateway.k8s, &mut template, CONTAINER);
    let template = with_proxy(context, name, namespace, template)?;
    let mut spec = json!({
        "selector": {"matchLabels": selector},
        "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}},
        "template": template,
    });
    common::settle_deployment(&gateway.k8s, &mut spec);
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": selector},
        "spec": spec,
    }))
}

/// What of the Pod is not the proxy's.
fn template(context: &Context, gateway: &Component, said: &Workload, selector: &Value, account: &str) -> Value {
    let mut labels = json!({
        "istio.io/rev": context.revision_label(),
        "istio.io/dataplane-mode": "none",
        "service.istio.io/canonical-name": gateway.name.0,
        "service.istio.io/canonical-revision": "latest",
        "sidecar.istio.io/inject": "false",
    });
    overlay(&mut labels, texts(&said.labels));
    overlay(&mut labels, texts(&said.pod_labels));
    overlay(&mut labels, selector.clone());
    let container_ports = said_ports(gateway).into_iter().map(|port| json!({"containerPort": port, "protocol": "TCP"}));
    let direction = selector["istio"].as_str().unwrap_or_default().to_owned();
    let certificates = ["certs", "ca-certs"].map(|what| format!("{direction}-{what}"));
    let mounts = certificates
        .each_ref()
        .map(|name| json!({"name": name, "mountPath": format!("/etc/istio/{name}"), "readOnly": true}));
    let volumes = certificates
        .each_ref()
        .map(|name| json!({"name": name, "secret": {"secretName": format!("istio-{name}"), "optional": true}}));
    json!({
        "metadata": {"labels": labels, "annotations": {"inject.istio.io/templates": "gateway"}},
        "spec": {
            "serviceAccountName": account,
            "securityContext": {"fsGroup": 1337, "runAsGroup": 1337, "runAsNonRoot": true, "runAsUser": 1337},
            "containers": [{
                "name": CONTAINER,
                "image": image(context, gateway, said),
                "ports": container_ports.collect::<Vec<_>>(),
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })
}

/// The image, if another one than that of all proxies is asked for.
fn image(context: &Context, gateway: &Component, said: &Workload) -> String {
    let (hub, tag) = (gateway.hub.as_ref().or(said.hub.as_ref()), gateway.tag.as_ref().or(said.tag.as_ref()));
    if hub.is_none() && tag.is_none() {
        return "auto".to_owned();
    }
    let mut images = context.images.clone();
    images.hub = hub.map_or(images.hub, |hub| hub.0.clone());
    images.tag = tag.map_or(images.tag, |tag| tag.0.clone());
    images.reference(&context.values.global.proxy.image, images::PROXY)
}

/// The ports of the Pod that its Service leads to.
fn said_ports(gateway: &Component) -> Vec<i32> {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let ports = gateway.k8s.service.iter().flat_map(|service| service.ports.iter().flatten());
    let target = |port: &k8s_openapi::api::core::v1::ServicePort| match &port.target_port {
        Some(IntOrString::Int(target)) => Some(*target),
        Some(IntOrString::String(_)) => None,
        None => Some(port.port),
    };
    let mut all: Vec<i32> = ports.filter_map(target).collect();
    if all.is_empty() {
        all = vec![15021, 8080, 8443];
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The template with the proxy in it, as injection makes it.
fn with_proxy(context: &Context, name: &str, namespace: &str, template: Value) -> Result<Value, InstallError> {
    let owner = OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        name: name.to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    let mut pod: Pod = serde_json::from_value(template).expect("a template of Pods");
    pod.metadata = ObjectMeta { owner_references: Some(vec![owner]), ..pod.metadata };
    set_injection(&mut pod, "true");
    let target = Target { pod: &pod, namespace, variables: &[] };
    let made = inject(&context.injection, &target)
        .map_err(|source| InstallError::Gateway { name: name.to_owned(), source })?;
    let mut made = made.unwrap_or(pod);
    set_injection(&mut made, "false");
    made.metadata.owner_references = None;
    if let Some(annotations) = &mut made.metadata.annotations {
        annotations.retain(|name, _| !NOTES.contains(&name.as_str()));
    }
    let made = serde_json::to_value(made).expect("a Pod is plain data");
    Ok(json!({"metadata": made["metadata"], "spec": made["spec"]}))
}

fn set_injection(pod: &mut Pod, word: &str) {
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert("sidecar.istio.io/inject".to_owned(), word.to_owned());
}
