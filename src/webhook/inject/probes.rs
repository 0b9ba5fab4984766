//! Probes and hooks of the workload lead through the agent: the kubelet has no certificate of the mesh
//! (contract §5.3).

use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Pod, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Map, Value, json};

use super::{Context, InjectError, PROXY, annotations, init::status_port};

/// Tells the agent what was asked for.
pub(super) const VARIABLE: &str = "ISTIO_KUBE_APP_PROBERS";

/// Rewrites them; returns the variable for the agent, if any was rewritten.
pub(super) fn rewrite(context: &Context<'_>, pod: &mut Pod) -> Result<Option<(String, String)>, InjectError> {
    let usual = context.settings.values.sidecar_injector_webhook.rewrite_app_http_probe;
    let wanted = annotations::flag(context.target.pod, "sidecar.istio.io/rewriteAppHTTPProbers")?.unwrap_or(usual);
    let Some(port) = status_port(context)?.filter(|port| wanted && *port > 0) else { return Ok(None) };
    let mut rewritten = Map::new();
    let Some(spec) = &mut pod.spec else { return Ok(None) };
    // Init containers that go on beside the workload have probes too.
    let beside = spec.init_containers.iter_mut().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    for container in spec.containers.iter_mut().chain(beside).filter(|c| c.name != PROXY) {
        rewrite_container(container, port, &mut rewritten);
    }
    Ok((!rewritten.is_empty()).then(|| (VARIABLE.to_owned(), Value::Object(rewritten).to_string())))
}

fn rewrite_container(container: &mut Container, status: u16, rewritten: &mut Map<String, Value>) {
    let ports: Vec<(String, i32)> =
        container.ports.iter().flatten().filter_map(|port| Some((port.name.clone()?, port.container_port))).collect();
    let name = container.name.clone();
    let probes = [
        ("livez", &mut container.liveness_probe),
        ("readyz", &mut container.readiness_probe),
        ("startupz", &mut container.startup_probe),
    ];
    for (kind, probe) in probes {
        let path = format!("/app-health/{name}/{kind}");
        if let Some(original) = probe.as_mut().and_then(|probe| rewrite_probe(probe, &path, status, &ports)) {
            rewritten.insert(path, original);
        }
    }
    let Some(lifecycle) = &mut container.lifecycle else { return };
    for (kind, hook) in [("prestopz", &mut lifecycle.pre_stop), ("poststartz", &mut lifecycle.post_start)] {
        let path = format!("/app-lifecycle/{name}/{kind}");
        if let Some(original) = hook.as_mut().and_then(|hook| rewrite_hook(hook, &path, status, &ports)) {
            rewritten.insert(path, original);
        }
    }
}

/// What the probe asked for; nothing when it runs a command, or names a port that there is not.
fn rewrite_probe(probe: &mut Probe, path: &str, status: u16, ports: &[(String, i32)]) -> Option<Value> {
    if probe.http_get.as_ref().and_then(|http| http.path.as_deref()) == Some(path) {
        return None;
    }
    let timeout = probe.timeout_seconds.unwrap_or(1);
    let mut original = if let Some(http) = &probe.http_get {
        json!({"httpGet": http_get(http, ports)?})
    } else if let Some(tcp) = &probe.tcp_socket {
        json!({"tcpSocket": {"port": number(&tcp.port, ports)?}})
    } else {
        let grpc = probe.grpc.as_ref()?;
        json!({"grpc": {"port": grpc.port, "service": grpc.service}})
    };
    original["timeoutSeconds"] = timeout.into();
    (probe.tcp_socket, probe.grpc) = (None, None);
    probe.http_get = Some(to_agent(path, status));
    Some(original)
}

fn rewrite_hook(hook: &mut LifecycleHandler, path: &str, status: u16, ports: &[(String, i32)]) -> Option<Value> {
    if hook.http_get.as_ref().and_then(|http| http.path.as_deref()) == Some(path) {
        return None;
    }
    let original = match (&hook.http_get, &hook.tcp_socket) {
        (Some(http), _) => json!({"httpGet": http_get(http, ports)?}),
        (None, Some(TCPSocketAction { port, .. })) => json!({"tcpSocket": {"port": number(port, ports)?}}),
        (None, None) => return None,
    };
    hook.tcp_socket = None;
    hook.http_get = Some(to_agent(path, status));
    Some(original)
}

fn http_get(http: &HTTPGetAction, ports: &[(String, i32)]) -> Option<Value> {
    let mut made = serde_json::to_value(http).ok()?;
    made["port"] = number(&http.port, ports)?.into();
    Some(made)
}

fn to_agent(path: &str, status: u16) -> HTTPGetAction {
    HTTPGetAction { path: Some(path.to_owned()), port: IntOrString::Int(status.into()), ..HTTPGetAction::default() }
}

fn number(port: &IntOrString, ports: &[(String, i32)]) -> Option<i32> {
    match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let named = ports.iter().find(|(name, _)| name == text).map(|(_, number)| *number);
            named.or_else(|| text.parse().ok())
        }
    }
}
