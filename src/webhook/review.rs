//! AdmissionReviews: what the API server asks of a webhook, and the answer (contract §5.1, §10).

mod strict;

use serde::Deserialize;
use serde_json::{Value, json};

use self::strict::Strict;

/// Why a body is no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    /// It is no AdmissionReview.
    #[error("the body is no AdmissionReview")]
    Syntax(#[source] serde_json::Error),
    /// It is of another kind or version.
    #[error("the body is {kind:?} of {version:?}: it must be AdmissionReview of admission.k8s.io/v1 or v1beta1")]
    Kind {
        /// What it says that it is.
        kind: String,
        /// Of which version.
        version: String,
    },
    /// It asks nothing.
    #[error("the AdmissionReview has no request")]
    NoRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    object: Strict,
    #[serde(default, rename = "oldObject")]
    old: Strict,
}

/// What a resource is called in URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource: String,
}

/// A request: whether something may be done with an object.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The version of the review, which is that of the answer too.
    version: String,
    uid: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub(super) operation: String,
    /// The namespace; the object may have none yet.
    pub(super) namespace: String,
    pub(super) resource: Resource,
    /// The object as it would be; null when it is deleted.
    pub(super) object: Value,
    /// The object as it is; null when it is created.
    pub(super) old: Value,
}

/// What a webhook says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Allowed,
    /// With operations of a JSON patch.
    Patched(Value),
    /// With what is told to the user.
    Denied(String),
}

impl Request {
    /// Reads a body. No key may be there twice: who else reads the object could see another one.
    ///
    /// # Errors
    /// It is no request.
    pub(super) fn read(body: &[u8]) -> Result<Self, ReviewError> {
        let Review { api_version, kind, request } = serde_json::from_slice(body).map_err(ReviewError::Syntax)?;
        if kind != "AdmissionReview" || !["admission.k8s.io/v1", "admission.k8s.io/v1beta1"].contains(&&*api_version) {
            return Err(ReviewError::Kind { kind, version: api_version });
        }
        let Asked { uid, operation, namespace, resource, object, old } = request.ok_or(ReviewError::NoRequest)?;
        Ok(Self { version: api_version, uid, operation, namespace, resource, object: object.0, old: old.0 })
    }

    /// The AdmissionReview that answers it.
    pub(super) fn answer(&self, answer: Answer, warnings: &[String]) -> Value {
        let mut response = match answer {
            Answer::Allowed => json!({"allowed": true}),
            Answer::Patched(operations) => {
                let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, operations.to_string());
                json!({"allowed": true, "patchType": "JSONPatch", "patch": encoded})
            }
            Answer::Denied(message) => {
                json!({"allowed": false, "status": {"code": 400, "reason": "BadRequest", "message": message}})
            }
        };
        response["uid"] = self.uid.as_str().into();
        if !warnings.is_empty() {
            response["warnings"] = warnings.into();
        }
        json!({"apiVersion": self.version, "kind": "AdmissionReview", "response": response})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &[u8]) -> String {
        let error = Request::read(body).expect_err("no request");
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    #[test]
    fn what_is_no_request_is_told() {
        assert!(told(b"[1]").starts_with("the body is no AdmissionReview: "));
        let other = told(br#"{"apiVersion": "v1", "kind": "Pod"}"#);
        assert!(other.starts_with("the body is \"Pod\" of \"v1\""), "{other}");
        let none = told(br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#);
        assert_eq!(none, "the AdmissionReview has no request");
    }

    fn review(object: &str) -> Vec<u8> {
        format!(
            "{{\"apiVersion\": \"admission.k8s.io/v1\", \"kind\": \"AdmissionReview\", \"request\": {{\"object\": {object}}}}}"
        )
        .into_bytes()
    }

    #[test]
    fn hostile_bodies_are_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(told(&review(&deep)).contains("recursion limit"), "serde_json bounds the depth");
        let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        assert!(told(&review(&deep)).contains("recursion limit"));
        let twice = told(&review(r#"{"spec": {"hosts": ["a"], "hosts": ["b"]}}"#));
        assert!(twice.contains(r#"the key "hosts" is there twice"#), "{twice}");
        let twice = told(br#"{"kind": "AdmissionReview", "kind": "Pod"}"#);
        assert!(twice.contains("duplicate field `kind`"), "{twice}");
    }

    #[test]
    fn values_are_read_as_they_are() {
        let text = r#"{"a": [1, -2, 1.5, 18446744073709551615, true, null, "x", {"b": {}}], "c": ""}"#;
        let expected: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(Request::read(&review(text)).expect("a request").object, expected);
    }

    #[test]
    fn an_answer_has_the_version_and_the_uid_of_the_request() {
        let body =
            br#"{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {"uid": "u1"}}"#;
        let request = Request::read(body).expect("a request");
        let answer = request.answer(Answer::Denied("no".to_owned()), &["w".to_owned()]);
        assert_eq!(
            answer,
            json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": {
                "allowed": false,
                "status": {"code": 400, "reason": "BadRequest", "message": "no"},
                "uid": "u1",
                "warnings": ["w"],
            }})
        );
        assert_eq!(request.answer(Answer::Allowed, &[])["response"], json!({"allowed": true, "uid": "u1"}));
    }
}
