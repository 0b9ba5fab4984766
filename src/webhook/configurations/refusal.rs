//! Asks the API server, dry, to take an object that is invalid: it is refused when the webhook works, all the way.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{
    Api, Client,
    api::PostParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{LABEL, MANAGER};
use crate::api::Kind;

/// The annotation for which validation refuses any object (contract §4.5).
const REFUSED: &str = "internal.istio.io/webhook-always-reject";
/// The name of the object.
const NAME: &str = "mizzen-asks-itself";

/// Why it is not known whether invalid objects are refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefusalError {
    #[error(
        "the API server takes an object that is invalid: it does not ask the webhook yet, or has no answer from it"
    )]
    Taken,
    #[error("the API server cannot be asked whether it takes an object that is invalid")]
    Ask(#[source] Box<kube::Error>),
    #[error("somebody else refuses the object: {0}")]
    Other(String),
}

/// Whether it is refused by the webhook of this name, which is asked about objects that the selector selects.
///
/// # Errors
/// Why not.
pub(super) async fn happens(
    client: &Client,
    namespace: &str,
    webhook: &str,
    objects: Option<&LabelSelector>,
) -> Result<(), RefusalError> {
    let kind = Kind::Gateway;
    let of_version = GroupVersionKind::gvk(kind.group(), kind.stored_version(), kind.kind());
    let resource = ApiResource::from_gvk_with_plural(&of_version, kind.plural());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let object = serde_json::from_value(invalid(&resource, namespace, objects)).expect("an object");
    let dry = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
    match api.create(&dry, &object).await {
        Ok(_) => Err(RefusalError::Taken),
        Err(kube::Error::Api(status)) if is_by(&status.message, webhook) => Ok(()),
        Err(kube::Error::Api(status)) if status.message.contains("admission webhook") => {
            Err(RefusalError::Other(status.message.clone()))
        }
        Err(error) => Err(RefusalError::Ask(Box::new(error))),
    }
}

/// Valid by its schema, so that it reaches the webhook.
fn invalid(resource: &ApiResource, namespace: &str, objects: Option<&LabelSelector>) -> Value {
    let server = json!({"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["example.com"]});
    let mut object = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": NAME, "namespace": namespace, "annotations": {REFUSED: "true"}},
        "spec": {"selector": {"istio": NAME}, "servers": [server]},
    });
    let wanted = objects.and_then(|objects| objects.match_expressions.as_ref()).into_iter().flatten();
    let revision =
        wanted.filter(|one| one.key == LABEL && one.operator == "In").find_map(|one| one.values.as_ref()?.first());
    if let Some(revision) = revision {
        object["metadata"]["labels"] = json!({LABEL: revision});
    }
    object
}

/// As an API server tells of it.
fn is_by(message: &str, webhook: &str) -> bool {
    let denied = format!("admission webhook {webhook:?} denied the request");
    message.contains(&denied) && message.contains("configuration is invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_one_that_the_webhook_is_asked_about() {
        let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "Gateway");
        let resource = ApiResource::from_gvk_with_plural(&kind, "gateways");
        let labels = |selector: &str| {
            let selector: LabelSelector = serde_yaml_ng::from_str(selector).expect("a selector");
            invalid(&resource, "ns", Some(&selector))["metadata"]["labels"].clone()
        };
        let of_revision = "matchExpressions: [{key: istio.io/rev, operator: In, values: [canary]}]";
        assert_eq!(labels(of_revision), json!({"istio.io/rev": "canary"}));
        assert_eq!(labels("matchExpressions: [{key: istio.io/rev, operator: DoesNotExist}]"), Value::Null);
    }

    #[test]
    fn only_a_refusal_of_ours_counts() {
        let said = r#"admission webhook "validation.istio.io" denied the request: configuration is invalid: x"#;
        assert!(is_by(said, "validation.istio.io"));
        assert!(!is_by(said, "rev.validation.istio.io"));
        assert!(!is_by(r#"admission webhook "validation.istio.io" denied the request: no"#, "validation.istio.io"));
        assert!(!is_by("failed calling webhook \"validation.istio.io\"", "validation.istio.io"));
    }
}
