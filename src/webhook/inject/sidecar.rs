//! The template of sidecars.

use serde_json::{Value, json};

use super::{
    Context, InjectError, annotations, init,
    proxy::{self, Role},
};

/// What a Pod gains.
pub(super) fn fragment(context: &Context<'_>, variables: &[(String, String)]) -> Result<Value, InjectError> {
    let mut container = proxy::container(context, Role::Sidecar, variables)?;
    let mut init_containers = init::containers(context)?;
    let mut containers = Vec::new();
    if context.native {
        container["restartPolicy"] = "Always".into();
        container["lifecycle"] = json!({"preStop": {"exec": {
            "command": ["pilot-agent", "request", "--debug-port=15020", "POST", "drain"],
        }}});
        init_containers.push(container);
    } else {
        if holds(context)? {
            container["lifecycle"] = json!({"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}});
        }
        containers.push(container);
    }
    let global = &context.settings.values.global;
    Ok(json!({
        "spec": {
            "initContainers": init_containers,
            "containers": containers,
            "volumes": proxy::volumes(context)?,
            "imagePullSecrets": global.pull_secrets(),
        },
    }))
}

/// Whether the containers of the workload start when the proxy is ready.
pub(super) fn holds(context: &Context<'_>) -> Result<bool, InjectError> {
    let said = context.config.fields().get("holdApplicationUntilProxyStarts").and_then(Value::as_bool);
    let annotated = annotations::flag(context.target.pod, "proxy.istio.io/holdApplicationUntilProxyStarts")?;
    let usual = context.settings.values.global.proxy.hold_application_until_proxy_starts;
    Ok(annotated.or(said).unwrap_or(usual))
}
