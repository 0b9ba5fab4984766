//! The mesh configuration, as the control plane reads it.

use serde_json::{Value, json};

use crate::install::context::Context;

/// Its ConfigMap.
pub(super) fn objects(context: &Context) -> Vec<Value> {
    let mesh = serde_yaml_ng::to_string(&context.injector.mesh).expect("a configuration is plain data");
    vec![json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": context.named("istio"), "namespace": context.namespace},
        "data": {"mesh": mesh, "meshNetworks": "networks: {}\n"},
    })]
}
