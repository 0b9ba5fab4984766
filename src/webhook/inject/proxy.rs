//! What sidecars and gateways have in common: the proxy's container and the volumes of the Pod (contract §5.3).

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use super::{Context, InjectError, PROXY, annotations, otel};

/// The user of the proxy, whose traffic is not redirected.
pub(super) const USER: i64 = 1337;
/// Where Envoy is asked whether it is ready.
const READY_PORT: u16 = 15021;
/// How long a token of the certificate authority is good, seconds.
const TOKEN_LIFETIME: u32 = 43_200;

/// How the proxy is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Sidecar,
    Router,
}

impl Role {
    const fn word(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
        }
    }
}

/// The proxy's image.
pub(super) fn image(context: &Context<'_>) -> String {
    let values = &context.settings.values.global;
    match annotations::text(context.target.pod, "sidecar.istio.io/proxyImage") {
        "" => {
            let of_config = context.config.fields().get("image").and_then(|image| image["imageType"].as_str());
            values.image(&values.proxy.image, image_type(context.target.pod).or(of_config).unwrap_or_default())
        }
        own => own.to_owned(),
    }
}

/// Which variant of an image the Pod asks for, such as `debug`: its tag ends with it.
pub(super) fn image_type(pod: &Pod) -> Option<&str> {
    annotations::given(pod, "sidecar.istio.io/proxyImageType")
}

/// The proxy's container; `variables` are more of its environment.
pub(super) fn container(
    context: &Context<'_>,
    role: Role,
    variables: &[(String, String)],
) -> Result<Value, InjectError> {
    let values = &context.settings.values.global;
    let mut made = json!({
        "name": PROXY,
        "image": image(context),
        "args": arguments(context, role),
        "env": environment(context, variables),
        "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
        "readinessProbe": readiness(context)?,
        "resources": resources(context)?,
        "securityContext": security(context, role)?,
        "volumeMounts": mounts(context)?,
    });
    if !values.image_pull_policy.is_empty() {
        made["imagePullPolicy"] = values.image_pull_policy.as_str().into();
    }
    let startup = &values.proxy.startup_probe;
    if role == Role::Sidecar && startup.enabled {
        made["startupProbe"] = json!({
            "httpGet": {"path": "/healthz/ready", "port": READY_PORT},
            "initialDelaySeconds": 0,
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": startup.failure_threshold,
        });
    }
    Ok(made)
}

fn arguments(context: &Context<'_>, role: Role) -> Vec<String> {
    let values = &context.settings.values.global;
    let or = |annotation: &str, usual: &str| match annotations::text(context.target.pod, annotation) {
        "" => usual.to_owned(),
        own => own.to_owned(),
    };
    let mut all = vec![
        "proxy".to_owned(),
        role.word().to_owned(),
        "--domain".to_owned(),
        format!("$(POD_NAMESPACE).svc.{}", values.proxy.cluster_domain),
        format!("--proxyLogLevel={}", or("sidecar.istio.io/logLevel", &values.proxy.log_level)),
        format!(
            "--proxyComponentLogLevel={}",
            or("sidecar.istio.io/componentLogLevel", &values.proxy.component_log_level)
        ),
        format!("--log_output_level={}", or("sidecar.istio.io/agentLogLevel", &values.logging.level)),
    ];
    all.extend(values.log_as_json.then(|| "--log_as_json".to_owned()));
    all
}

fn environment(context: &Context<'_>, variables: &[(String, String)]) -> Vec<Value> {
    let Context { settings, target, workload, .. } = context;
    let values = &settings.values.global;
    let revision = if settings.revision.is_empty() { String::new() } else { format!("-{}", settings.revision) };
    let control_plane = format!("istiod{revision}.{}.svc:15012", values.istio_namespace);
    let of_pod = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let of_limit = |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": "0"}}});
    let text = |name: &str, value: &str| json!({"name": name, "value": value});
    let or = |value: &str, usual: &str| if value.is_empty() { usual.to_owned() } else { value.to_owned() };
    let mut all = vec![
        text("PILOT_CERT_PROVIDER", &values.pilot_cert_provider),
        text("CA_ADDR", &or(&values.ca_address, &control_plane)),
        of_pod("POD_NAME", "metadata.name"),
        of_pod("POD_NAMESPACE", "metadata.namespace"),
        of_pod("INSTANCE_IP", "status.podIP"),
        of_pod("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        of_pod("HOST_IP", "status.hostIP"),
        of_limit("ISTIO_CPU_LIMIT", "limits.cpu"),
        of_limit("GOMEMLIMIT", "limits.memory"),
        text("PROXY_CONFIG", &proxy_config(context)),
        text("ISTIO_META_POD_PORTS", &pod_ports(context)),
        text("ISTIO_META_APP_CONTAINERS", &app_containers(context)),
        text("ISTIO_META_CLUSTER_ID", &or(&values.multi_cluster.cluster_name, "Kubernetes")),
        of_pod("ISTIO_META_NODE_NAME", "spec.nodeName"),
        text("ISTIO_META_INTERCEPTION_MODE", interception(context)),
        text("ISTIO_META_WORKLOAD_NAME", &workload.name),
        text("ISTIO_META_OWNER", &workload.owner),
        text("ISTIO_META_MESH_ID", &or(&values.mesh_id, &settings.trust_domain)),
        text("TRUST_DOMAIN", &settings.trust_domain),
    ];
    if !values.network.is_empty() {
        all.push(text("ISTIO_META_NETWORK", &values.network));
    }
    if !settings.compliance_policy.is_empty() {
        all.push(text("COMPLIANCE_POLICY", &settings.compliance_policy));
    }
    if !annotations::text(target.pod, BOOTSTRAP).is_empty() {
        all.push(text("ISTIO_BOOTSTRAP_OVERRIDE", BOOTSTRAP_FILE));
    }
    all.extend(otel::attributes(context).map(|attributes| text("OTEL_RESOURCE_ATTRIBUTES", &attributes)));
    let of_config = context.config.proxy_metadata().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let more = variables.iter().cloned().chain(of_config).chain(target.variables.iter().cloned());
    for (name, value) in more {
        all.retain(|known| known["name"] != *name);
        all.push(text(&name, &value));
    }
    all
}

/// What is said of the proxy, defaults left out.
fn proxy_config(context: &Context<'_>) -> String {
    Value::Object(context.config.said().clone()).to_string()
}

/// How traffic gets to the proxy.
pub(super) fn interception<'a>(context: &'a Context<'_>) -> &'a str {
    let of_config = context.config.text("interceptionMode");
    match annotations::text(context.target.pod, "sidecar.istio.io/interceptionMode") {
        "" if of_config.is_empty() => "REDIRECT",
        "" => of_config,
        own => own,
    }
}

fn pod_ports(context: &Context<'_>) -> String {
    let containers = context.target.pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    let ports: Vec<Value> = ports
        .map(|port| {
            let mut made = Map::new();
            made.extend(port.name.as_ref().map(|name| ("name".to_owned(), json!(name))));
            made.insert("containerPort".to_owned(), json!(port.container_port));
            made.extend(port.protocol.as_ref().map(|protocol| ("protocol".to_owned(), json!(protocol))));
            Value::Object(made)
        })
        .collect();
    Value::Array(ports).to_string()
}

fn app_containers(context: &Context<'_>) -> String {
    let containers = context.target.pod.spec.iter().flat_map(|spec| &spec.containers);
    let names: Vec<&str> = containers.map(|c| c.name.as_str()).filter(|name| *name != PROXY).collect();
    names.join(",")
}

fn readiness(context: &Context<'_>) -> Result<Value, InjectError> {
    let (pod, proxy) = (context.target.pod, &context.settings.values.global.proxy);
    let or = |name: &str, usual: i32| {
        let name = format!("readiness.status.sidecar.istio.io/{name}");
        Ok::<_, InjectError>(annotations::number(pod, &name)?.unwrap_or(usual))
    };
    Ok(json!({
        "httpGet": {"path": "/healthz/ready", "port": READY_PORT},
        "initialDelaySeconds": or("initialDelaySeconds", proxy.readiness_initial_delay_seconds)?,
        "periodSeconds": or("periodSeconds", proxy.readiness_period_seconds)?,
        "timeoutSeconds": 3,
        "failureThreshold": or("failureThreshold", proxy.readiness_failure_threshold)?,
    }))
}

/// By annotations when any is there: then those of the installation do not count.
fn resources(context: &Context<'_>) -> Result<Value, InjectError> {
    let given = |name: &str| {
        let name = format!("sidecar.istio.io/{name}");
        Some(annotations::text(context.target.pod, &name).to_owned()).filter(|amount| !amount.is_empty())
    };
    let map = |cpu: Option<String>, memory: Option<String>| {
        let all = [("cpu", cpu), ("memory", memory)].into_iter();
        let all: Map<String, Value> =
            all.filter_map(|(name, amount)| Some((name.to_owned(), amount?.into()))).collect();
        (!all.is_empty()).then_some(Value::Object(all))
    };
    let requests = map(given("proxyCPU"), given("proxyMemory"));
    let limits = map(given("proxyCPULimit"), given("proxyMemoryLimit"));
    if requests.is_none() && limits.is_none() {
        let usual = &context.settings.values.global.proxy.resources;
        return serde_json::to_value(usual).map_err(|source| InjectError::Fragment { template: "resources", source });
    }
    let mut made = Map::new();
    made.extend(requests.map(|all| ("requests".to_owned(), all)));
    made.extend(limits.map(|all| ("limits".to_owned(), all)));
    Ok(Value::Object(made))
}

fn security(context: &Context<'_>, role: Role) -> Result<Value, InjectError> {
    let privileged = context.settings.values.global.proxy.privileged;
    let binds = annotations::flag(context.target.pod, "sidecar.istio.io/capNetBindService")?.unwrap_or(false);
    let tproxy = role == Role::Sidecar && interception(context) == "TPROXY";
    let root = tproxy || binds;
    let mut capabilities = json!({"drop": ["ALL"]});
    let added: Vec<&str> =
        [(tproxy, "NET_ADMIN"), (binds, "NET_BIND_SERVICE")].iter().filter(|(is, _)| *is).map(|(_, c)| *c).collect();
    if !added.is_empty() {
        capabilities["add"] = json!(added);
    }
    Ok(json!({
        "allowPrivilegeEscalation": privileged,
        "capabilities": capabilities,
        "privileged": privileged,
        "readOnlyRootFilesystem": true,
        "runAsGroup": USER,
        "runAsNonRoot": !root,
        "runAsUser": if root { 0 } else { USER },
    }))
}

fn mounts(context: &Context<'_>) -> Result<Value, InjectError> {
    let mut all = vec![
        json!({"name": "workload-socket", "mountPath": "/var/run/secrets/workload-spiffe-uds"}),
        json!({"name": "credential-socket", "mountPath": "/var/run/secrets/credential-uds"}),
        json!({"name": "workload-certs", "mountPath": "/var/run/secrets/workload-spiffe-credentials"}),
        json!({"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"}),
        json!({"name": "istio-ca-crl", "mountPath": "/var/run/secrets/istio/crl"}),
        json!({"name": "istio-data", "mountPath": "/var/lib/istio/data"}),
        json!({"name": "istio-envoy", "mountPath": "/etc/istio/proxy"}),
        json!({"name": "istio-token", "mountPath": "/var/run/secrets/tokens"}),
        json!({"name": "istio-podinfo", "mountPath": "/etc/istio/pod"}),
    ];
    if !annotations::text(context.target.pod, BOOTSTRAP).is_empty() {
        all.push(json!({"name": "custom-bootstrap-volume", "mountPath": BOOTSTRAP_FOLDER}));
    }
    let own = user_json(context, "sidecar.istio.io/userVolumeMount")?;
    all.extend(own.into_iter().map(|(name, mut mount)| {
        mount["name"] = name.into();
        mount
    }));
    Ok(Value::Array(all))
}

/// Names a ConfigMap that is laid over the bootstrap.
const BOOTSTRAP: &str = "sidecar.istio.io/bootstrapOverride";
/// Where that is mounted, and its key.
const BOOTSTRAP_FOLDER: &str = "/etc/istio/custom-bootstrap";
const BOOTSTRAP_FILE: &str = "/etc/istio/custom-bootstrap/custom_bootstrap.json";

/// The volumes of the Pod.
pub(super) fn volumes(context: &Context<'_>) -> Result<Value, InjectError> {
    let values = &context.settings.values.global;
    let of_pod = |name: &str| json!({"path": name, "fieldRef": {"fieldPath": format!("metadata.{name}")}});
    let mut all = vec![
        json!({"name": "workload-socket", "emptyDir": {}}),
        json!({"name": "credential-socket", "emptyDir": {}}),
        json!({"name": "workload-certs", "emptyDir": {}}),
        json!({"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}),
        json!({"name": "istio-data", "emptyDir": {}}),
        json!({"name": "istio-podinfo", "downwardAPI": {"items": [of_pod("labels"), of_pod("annotations")]}}),
        json!({"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": {
            "path": "istio-token", "expirationSeconds": TOKEN_LIFETIME, "audience": values.sds.token.aud,
        }}]}}),
        json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
        // Gateways have it too, which they have not in Istio: who is revoked is refused there as well.
        json!({"name": "istio-ca-crl", "configMap": {"name": "istio-ca-crl", "optional": true}}),
    ];
    let bootstrap = annotations::text(context.target.pod, BOOTSTRAP);
    if !bootstrap.is_empty() {
        all.push(json!({"name": "custom-bootstrap-volume", "configMap": {"name": bootstrap}}));
    }
    let own = user_json(context, "sidecar.istio.io/userVolume")?;
    all.extend(own.into_iter().map(|(name, mut volume)| {
        volume["name"] = name.into();
        volume
    }));
    Ok(Value::Array(all))
}

/// An annotation that is a map of objects in JSON, or a list of objects that have names.
fn user_json(context: &Context<'_>, annotation: &str) -> Result<Vec<(String, Value)>, InjectError> {
    let text = annotations::text(context.target.pod, annotation);
    let wrong = || annotations::wrong(annotation, text, "a list in JSON of objects with names, or a map of them");
    match serde_json::from_str(if text.is_empty() { "{}" } else { text }) {
        Ok(Value::Object(all)) if all.values().all(Value::is_object) => Ok(all.into_iter().collect()),
        Ok(Value::Array(all)) => {
            let named = all.into_iter().map(|item| Some((item["name"].as_str()?.to_owned(), item)));
            named.collect::<Option<_>>().ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}
