//! What the API server asks of each object of configuration, and the answer.

use serde_json::Value;

use super::text;
use crate::{
    api::Kind,
    model::Code,
    validate::{Context, Finding, validate},
    webhook::review::{Answer, Request, Resource, ReviewError},
};

/// What became of a request, for the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What was asked about; empty when it is no kind of configuration: others could fill the memory with their names.
    pub(super) resource: Resource,
    /// Why it did not pass, in a word.
    pub(super) failure: Option<&'static str>,
}

/// The answer to a request, an AdmissionReview too.
///
/// # Errors
/// It is no request. What is wrong with the object is no error here but a refusal.
pub(super) fn answer(context: &Context, body: &[u8]) -> Result<(Value, Outcome), ReviewError> {
    let request = Request::read(body)?;
    let mut outcome = Outcome { resource: known(&request.resource), failure: None };
    if !["CREATE", "UPDATE"].contains(&&*request.operation) {
        outcome.failure = Some("unsupported_operation");
        return Ok((request.answer(Answer::Allowed, &[]), outcome));
    }
    // Its finalizers must be free to go, whatever is wrong with it; nothing else may change.
    let goes = !request.object["metadata"]["deletionTimestamp"].is_null();
    if goes && request.object["spec"] == request.old["spec"] {
        return Ok((request.answer(Answer::Allowed, &[]), outcome));
    }
    let findings = validate(&request.object, context);
    let warnings = text::warnings(&findings);
    let Some(message) = text::refusal(&findings) else {
        return Ok((request.answer(Answer::Allowed, &warnings), outcome));
    };
    outcome.failure = Some(reason(&findings));
    tracing::info!(object = named(&request), reason = message, "an object is refused");
    Ok((request.answer(Answer::Denied(message), &warnings), outcome))
}

fn known(resource: &Resource) -> Resource {
    let is_known = |kind: &&Kind| {
        kind.is_custom()
            && kind.group() == resource.group
            && kind.plural() == resource.resource
            && kind.versions().contains(&&*resource.version)
    };
    Kind::ALL.iter().find(is_known).map(|_| resource.clone()).unwrap_or_default()
}

/// Under istiod's words; of several errors the first decides.
fn reason(findings: &[Finding]) -> &'static str {
    match findings.first().map(|finding| finding.code) {
        Some(Code::UnrecognizedType) => "unknown_type",
        Some(Code::TypeMissing) => "yaml_decode_error",
        Some(Code::Undecodable) => "crd_conversion_error",
        _ => "invalid_resource",
    }
}

fn named(request: &Request) -> String {
    let name = request.object["metadata"]["name"].as_str().unwrap_or_default();
    let all = format!("{} {}/{name}", request.resource.resource, request.namespace);
    all[..all.floor_char_boundary(256)].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(operation: &str, object: &Value) -> (Value, Outcome) {
        reviewed(operation, object, &Value::Null)
    }

    fn changed(from: &Value, to: &Value) -> (Value, Outcome) {
        reviewed("UPDATE", to, from)
    }

    fn reviewed(operation: &str, object: &Value, old: &Value) -> (Value, Outcome) {
        let resource = json!({"group": "networking.istio.io", "version": "v1", "resource": "gateways"});
        let request = json!({"uid": "u", "operation": operation, "resource": resource, "namespace": "default",
            "object": object, "oldObject": old, "dryRun": true});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let (answer, outcome) = answer(&Context::default(), review.to_string().as_bytes()).expect("a request");
        (answer["response"].clone(), outcome)
    }

    fn gateway(port: u32) -> Value {
        let server = json!({"port": {"number": port, "name": "http", "protocol": "HTTP"}, "hosts": ["a.example.com"]});
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "g", "namespace": "default"},
            "spec": {"selector": {"istio": "ingressgateway"}, "servers": [server]},
        })
    }

    #[test]
    fn valid_objects_pass() {
        for operation in ["CREATE", "UPDATE"] {
            let (response, outcome) = asked(operation, &gateway(80));
            assert_eq!(response, json!({"uid": "u", "allowed": true}));
            assert_eq!((outcome.failure, outcome.resource.resource.as_str()), (None, "gateways"));
        }
    }

    #[test]
    fn invalid_objects_are_refused_with_all_that_is_wrong() {
        for operation in ["CREATE", "UPDATE"] {
            let (response, outcome) = asked(operation, &gateway(0));
            assert_eq!(response["allowed"], false);
            let message = response["status"]["message"].as_str().expect("a message");
            assert!(message.starts_with("configuration is invalid: spec.servers[0].port.number: "), "{message}");
            assert_eq!(outcome.failure, Some("invalid_resource"));
        }
        let mut marked = gateway(80);
        marked["metadata"]["annotations"] = json!({"internal.istio.io/webhook-always-reject": "true"});
        assert_eq!(asked("CREATE", &marked).0["allowed"], false);
        let mut unknown = gateway(80);
        unknown["sepc"] = json!({});
        assert_eq!(asked("CREATE", &unknown).0["allowed"], false);
        let mut kind = gateway(80);
        kind["kind"] = "Gatewya".into();
        assert_eq!(asked("CREATE", &kind).1.failure, Some("unknown_type"));
        let mut spec = gateway(80);
        spec["spec"]["servers"] = "none".into();
        assert_eq!(asked("CREATE", &spec).1.failure, Some("crd_conversion_error"));
        assert_eq!(asked("CREATE", &Value::Null).1.failure, Some("yaml_decode_error"));
    }

    #[test]
    fn other_operations_and_objects_that_go_are_let_through() {
        for operation in ["DELETE", "CONNECT", ""] {
            let (response, outcome) = asked(operation, &Value::Null);
            assert_eq!(response, json!({"uid": "u", "allowed": true}), "{operation}");
            assert_eq!(outcome.failure, Some("unsupported_operation"));
        }
        let mut goes = gateway(0);
        goes["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(changed(&gateway(0), &goes).0["allowed"], true);
        assert_eq!(changed(&gateway(80), &goes).0["allowed"], false);
        goes["spec"] = gateway(80)["spec"].clone();
        assert_eq!(changed(&gateway(0), &goes).0["allowed"], true);
    }

    #[test]
    fn only_known_resources_are_counted_by_name() {
        let of = |group: &str, version: &str| {
            known(&Resource { group: group.into(), version: version.into(), resource: "gateways".into() })
        };
        assert_eq!(of("networking.istio.io", "v1").resource, "gateways");
        assert_eq!(of("networking.istio.io", "v9"), Resource::default());
        assert_eq!(of("example.com", "v1"), Resource::default());
    }
}
