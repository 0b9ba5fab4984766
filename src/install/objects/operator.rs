//! What runs `mizzen operator` in a cluster: a Deployment, and the rights of somebody who installs.

use serde_json::{Value, json};

use super::{access, common};
use crate::install::images::{CONTROL_PLANE, Images};

/// Its namespace, apart from what it installs: it outlives that.
const NAMESPACE: &str = "istio-operator";
const NAME: &str = "mizzen-operator";

/// All of it.
pub(in crate::install) fn objects(images: &Images) -> Vec<Value> {
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}}),
    ];
    all.extend(access::of_installer(NAME, NAMESPACE));
    all.push(deployment(images));
    all
}

fn deployment(images: &Images) -> Value {
    let labels = json!({"app": NAME});
    let template = json!({
        "metadata": {"labels": {"app": NAME, "sidecar.istio.io/inject": "false"}},
        "spec": {"serviceAccountName": NAME, "containers": [container(images)]},
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        // More replicas wait for the lock of the one that installs.
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    })
}

fn container(images: &Images) -> Value {
    json!({
        "name": "operator",
        "image": images.reference("", CONTROL_PLANE),
        "command": ["mizzen"],
        "args": ["operator"],
        "env": [
            common::variable_of_pod("POD_NAME", "metadata.name"),
            common::variable_of_pod("POD_NAMESPACE", "metadata.namespace"),
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": common::confined(),
    })
}
