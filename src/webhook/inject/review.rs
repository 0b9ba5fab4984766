//! What the API server asks of each Pod, and the answer (contract §5.1).

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::{Settings, Target, inject, warnings};
use crate::webhook::{
    patch,
    request::chain,
    review::{Answer, Request, ReviewError},
};

/// What became of a request, for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The Pod is injected.
    Injected,
    /// It is left as it is.
    Skipped,
    /// It is refused.
    Failed,
}

/// The answer to a request, an AdmissionReview too; `variables` are those of the path.
///
/// # Errors
/// It is no request. What is wrong with the Pod is no error here but a refusal.
pub(super) fn answer(
    settings: &Settings,
    body: &[u8],
    variables: &[(String, String)],
) -> Result<(Value, Outcome), ReviewError> {
    let mut request = Request::read(body)?;
    let object = request.object.take();
    let (outcome, answer, warnings) = match operations(settings, &request.namespace, object, variables) {
        Ok(None) => (Outcome::Skipped, Answer::Allowed, Vec::new()),
        Ok(Some((patch, warnings))) => (Outcome::Injected, Answer::Patched(patch), warnings),
        Err(message) => (Outcome::Failed, Answer::Denied(message), Vec::new()),
    };
    Ok((request.answer(answer, &warnings), outcome))
}

/// What is to be changed and told; nothing when the Pod is left as it is.
fn operations(
    settings: &Settings,
    namespace: &str,
    object: Value,
    variables: &[(String, String)],
) -> Result<Option<(Value, Vec<String>)>, String> {
    let pod: Pod = serde_json::from_value(object).map_err(|e| format!("the object is no Pod: {e}"))?;
    // The API server fills the namespace in later.
    let own = pod.metadata.namespace.as_deref().unwrap_or_default();
    let target = Target { pod: &pod, namespace: if namespace.is_empty() { own } else { namespace }, variables };
    let Some(made) = inject(settings, &target).map_err(|e| chain(&e))? else { return Ok(None) };
    let value = |pod: &Pod| serde_json::to_value(pod).map_err(|e| format!("the Pod cannot be written: {e}"));
    let patch = Value::Array(patch::diff(&value(&pod)?, &value(&made)?));
    Ok(Some((patch, warnings(&pod))))
}

/// The variables that a path of the webhook names: `/inject/<key>/<value>/…`, where `cluster` and `net` stand for those of
/// the proxy's metadata, `--slash--` for a slash; or `/inject/:ENV:<name>=<value>…` (contract §5.1).
pub(super) fn variables_of_path(path: &str) -> Vec<(String, String)> {
    let rest = path.strip_prefix("/inject").unwrap_or_default().trim_matches('/');
    let unescaped = |text: &str| text.replace("--slash--", "/");
    if rest.starts_with(":ENV:") {
        let pairs = rest.split(":ENV:").filter_map(|pair| pair.split_once('='));
        return pairs.map(|(name, value)| (name.to_owned(), unescaped(value))).collect();
    }
    let words: Vec<&str> = rest.split('/').filter(|word| !word.is_empty()).collect();
    let name = |key: &str| match key {
        "cluster" => "ISTIO_META_CLUSTER_ID".to_owned(),
        "net" => "ISTIO_META_NETWORK".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    let (pairs, _) = words.as_chunks::<2>();
    pairs.iter().map(|[key, value]| (name(key), unescaped(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn review(object: &Value) -> Vec<u8> {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
               "request": {"uid": "u1", "namespace": "default", "object": object}})
        .to_string()
        .into_bytes()
    }

    #[test]
    fn an_injected_pod_is_answered_with_a_patch_that_makes_it() {
        let object =
            json!({"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "web", "later": 1}]}});
        let (answer, outcome) = answer(&Settings::default(), &review(&object), &[]).expect("a request");
        assert_eq!((outcome, &answer["response"]["uid"]), (Outcome::Injected, &json!("u1")));
        let patch = answer["response"]["patch"].as_str().expect("a patch");
        let patch = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, patch).expect("base64");
        let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
        let mut made = object;
        json_patch::patch(&mut made, &patch).expect("it applies");
        assert_eq!(made["spec"]["initContainers"][1]["name"], "istio-proxy");
        assert_eq!(made["spec"]["containers"][0]["later"], 1, "what is not known stays");
    }

    #[test]
    fn what_changes_nothing_is_told_and_what_is_wrong_is_refused_by_name() {
        let asked = |annotations: Value| {
            let object = json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "web"}]}});
            answer(&Settings::default(), &review(&object), &[]).expect("a request").0["response"].take()
        };
        let told = asked(json!({
            "readiness.status.sidecar.istio.io/applicationPorts": "80,81",
            "sidecar.istio.io/logLevel": "debug",
            "sidecar.istio.io/proxyImagge": "x",
            "example.com/of-others": "y",
        }));
        assert_eq!(
            told["warnings"],
            json!([
                "annotation readiness.status.sidecar.istio.io/applicationPorts has no effect: the proxy is ready when Envoy is",
                "annotation sidecar.istio.io/proxyImagge is not known to injection: it has no effect",
            ])
        );
        assert_eq!(asked(json!({"sidecar.istio.io/logLevel": "debug"}))["warnings"], Value::Null);
        let refused = asked(json!({"prometheus.io/port": "15090"}));
        let message = refused["status"]["message"].as_str().expect("a message");
        assert!(message.starts_with("annotation prometheus.io/port of the Pod is \"15090\": it must be "), "{message}");
    }

    #[test]
    fn who_is_left_alone_and_who_is_refused_is_said() {
        let refused =
            json!({"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}, "spec": {"containers": []}});
        let (said, outcome) = answer(&Settings::default(), &review(&refused), &[]).expect("a request");
        assert_eq!((outcome, &said["response"]), (Outcome::Skipped, &json!({"allowed": true, "uid": "u1"})));
        let (said, outcome) = answer(&Settings::default(), &review(&json!({"spec": 3})), &[]).expect("a request");
        assert_eq!((outcome, &said["response"]["allowed"]), (Outcome::Failed, &json!(false)));
        let message = said["response"]["status"]["message"].as_str().expect("a message");
        assert!(message.starts_with("the object is no Pod: "), "{message}");
    }

    #[test]
    fn paths_name_variables() {
        let of = |path: &str| {
            variables_of_path(path).into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("/inject"), "");
        assert_eq!(
            of("/inject/cluster/c1/net/n1/my_var/a--slash--b"),
            "ISTIO_META_CLUSTER_ID=c1 ISTIO_META_NETWORK=n1 MY_VAR=a/b"
        );
        assert_eq!(of("/inject/:ENV:cluster=c1:ENV:A=b"), "cluster=c1 A=b");
    }
}
