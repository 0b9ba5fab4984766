//! The template of gateways: the Pod is the proxy, and nothing is redirected.

use serde_json::{Value, json};

use super::{
    Context, InjectError,
    proxy::{self, Role},
};

/// What a Pod gains.
pub(super) fn fragment(context: &Context<'_>, variables: &[(String, String)]) -> Result<Value, InjectError> {
    let mut container = proxy::container(context, Role::Router, variables)?;
    // It is asked more often than a sidecar: load balancers wait for it.
    container["readinessProbe"]["failureThreshold"] = 30.into();
    container["readinessProbe"]["periodSeconds"] = 2.into();
    Ok(json!({
        "spec": {
            "securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
            "containers": [container],
            "volumes": proxy::volumes(context)?,
            "imagePullSecrets": context.settings.values.global.pull_secrets(),
        },
    }))
}
