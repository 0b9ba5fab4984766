//! Who is asked before configuration is stored (contract §10).

use serde_json::{Value, json};

use crate::install::context::Context;

/// Names the revision that an object is for.
const REVISION: &str = "istio.io/rev";
/// The groups whose objects are judged.
const GROUPS: [&str; 4] = ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"];

/// The name of the configuration that asks about objects of this revision.
pub(super) fn own_name(context: &Context) -> String {
    format!("{}-{}", context.named("istio-validator"), context.namespace)
}

/// The name of the one that asks about all others; only the default revision has it.
pub(super) const DEFAULT_NAME: &str = "istiod-default-validator";

/// The webhooks; none where nothing is to be validated.
pub(super) fn objects(context: &Context) -> Vec<Value> {
    let said = &context.values;
    if said.global.config_validation == Some(false) {
        return Vec::new();
    }
    let revision = context.revision_label();
    let own = json!({"key": REVISION, "operator": "In", "values": [revision]});
    let mut all = vec![configuration(context, &own_name(context), "rev.validation.istio.io", &own)];
    let default = match &*said.default_revision {
        "" => "default",
        named => named,
    };
    if default == revision {
        let others = json!({"key": REVISION, "operator": "DoesNotExist"});
        all.push(configuration(context, DEFAULT_NAME, "validation.istio.io", &others));
    }
    all
}

fn configuration(context: &Context, name: &str, webhook: &str, objects: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name, "labels": {"app": "istiod", "istio": "istiod"}},
        "webhooks": [{
            "name": webhook,
            "admissionReviewVersions": ["v1"],
            // The control plane adds the authority.
            "clientConfig": {"service": {
                "name": context.named("istiod"),
                "namespace": context.namespace,
                "path": "/validate",
                "port": 443,
            }},
            // The control plane makes it `Fail` when an invalid object was refused.
            "failurePolicy": "Ignore",
            "objectSelector": {"matchExpressions": [objects]},
            "rules": [{
                "apiGroups": GROUPS,
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["*"],
            }],
            "sideEffects": "None",
        }],
    })
}
