//! What an installation asks of an API server, and what can go wrong there.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy},
    core::{DynamicObject, PartialObjectMeta},
};
use serde_json::{Value, json};

use super::object::{Object, ObjectId, Type};

/// Who owns the fields that are written.
pub const MANAGER: &str = "mizzen-installer";

/// Why an installation cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Nobody answers.
    #[error(
        "cannot reach the API server: is the kubeconfig that of the cluster (--kubeconfig, --context, KUBECONFIG), and does it run?"
    )]
    Unreachable(#[source] Box<kube::Error>),
    /// The API server does not know who asks.
    #[error("the API server does not accept the credentials of the kubeconfig")]
    Unauthorized(#[source] Box<kube::Error>),
    /// A right is missing.
    #[error("not allowed to {verb} {resource}{place}: grant it by the rule {rule}")]
    Forbidden {
        /// What was to be done.
        verb: &'static str,
        /// With what: `deployments.apps`.
        resource: String,
        /// Where.
        place: String,
        /// A rule of a Role or ClusterRole that allows it.
        rule: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// Something else.
    #[error("cannot {verb} {object}")]
    Failed {
        /// What was to be done.
        verb: &'static str,
        /// With which object, or objects.
        object: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// A definition is not served in time.
    #[error("definitions are not served after {}: {names}", seconds(*.after))]
    NotServed {
        /// Which.
        names: String,
        /// After how long.
        after: Duration,
    },
    /// A workload does not become ready in time.
    #[error("not ready after {}: {reasons}", seconds(*.after))]
    NotReady {
        /// Which, and why.
        reasons: String,
        /// After how long.
        after: Duration,
    },
    /// A namespace is being deleted.
    #[error("the namespace {0} is being deleted: install again when it is gone")]
    Terminating(String),
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

impl ClusterError {
    /// From what a request ended with.
    pub(super) fn of(verb: &'static str, r#type: &Type, id: &ObjectId, source: kube::Error) -> Self {
        let code = match &source {
            kube::Error::Api(status) => status.code,
            kube::Error::Service(_) | kube::Error::HyperError(_) => return Self::Unreachable(Box::new(source)),
            _ => 0,
        };
        let source = Box::new(source);
        let group = r#type.group();
        match code {
            401 => Self::Unauthorized(source),
            403 => Self::Forbidden {
                verb,
                resource: if group.is_empty() {
                    r#type.plural.to_owned()
                } else {
                    format!("{}.{group}", r#type.plural)
                },
                place: if id.namespace.is_empty() { String::new() } else { format!(" in namespace {}", id.namespace) },
                // Applying creates what is not there.
                rule: json!({
                    "apiGroups": [group],
                    "resources": [r#type.plural],
                    "verbs": ["get", "list", "create", "patch", "delete"],
                })
                .to_string(),
                source,
            },
            _ => Self::Failed { verb, object: id.to_string(), source },
        }
    }
}

/// What an application did.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The object was not there.
    Created,
    /// It was another one; both, without what the API server counts.
    Changed(Box<Value>, Box<Value>),
    /// It was as it is to be.
    Unchanged,
}

/// An API server to install into.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// Whether the API server only says what would be.
    is_dry: bool,
}

impl Cluster {
    /// One that is written to.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, is_dry: false }
    }

    /// The same one, of which nothing is changed.
    #[must_use]
    pub fn dry(&self) -> Self {
        Self { is_dry: true, ..self.clone() }
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.is_dry
    }

    /// Its client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether somebody answers.
    ///
    /// # Errors
    /// Nobody does.
    pub async fn check(&self) -> Result<(), ClusterError> {
        match self.client.apiserver_version().await {
            Ok(_) => Ok(()),
            // Who may not ask for the version may still install.
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            Err(error @ kube::Error::Api(_)) => Err(ClusterError::Unauthorized(Box::new(error))),
            Err(error) => Err(ClusterError::Unreachable(Box::new(error))),
        }
    }

    fn api(&self, r#type: &Type, namespace: &str) -> Api<DynamicObject> {
        let resource = r#type.resource();
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// An object as it is.
    ///
    /// # Errors
    /// The API server does not say.
    pub async fn get(&self, object: &Object) -> Result<Option<Value>, ClusterError> {
        let id = object.id();
        let failed = |error| ClusterError::of("get", object.r#type, &id, error);
        let found = self.api(object.r#type, &id.namespace).get_opt(&id.name).await.map_err(failed)?;
        Ok(found.map(|found| serde_json::to_value(found).expect("an object is plain data")))
    }

    /// Makes an object what it is to be.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn apply(&self, object: &Object) -> Result<Change, ClusterError> {
        let id = object.id();
        let before = self.get(object).await?;
        let Some(wanted) = wanted(object, before.as_ref())? else { return Ok(Change::Unchanged) };
        let params = PatchParams::apply(MANAGER).force();
        let params = if self.is_dry { params.dry_run() } else { params };
        let answer = self.api(object.r#type, &id.namespace).patch(&id.name, &params, &Patch::Apply(&wanted)).await;
        let after = match answer {
            Ok(after) => serde_json::to_value(after).expect("an object is plain data"),
            // Its namespace would have been made before.
            Err(kube::Error::Api(status)) if self.is_dry && status.code == 404 => return Ok(Change::Created),
            Err(error) => return Err(ClusterError::of("patch", object.r#type, &id, error)),
        };
        let Some(before) = before else { return Ok(Change::Created) };
        let (before, after) = (essential(before), essential(after));
        Ok(if before == after { Change::Unchanged } else { Change::Changed(Box::new(before), Box::new(after)) })
    }

    /// The objects of a kind that have these labels, in all namespaces.
    ///
    /// # Errors
    /// The API server does not say.
    pub async fn list(&self, r#type: &'static Type, selector: &str) -> Result<Vec<ObjectId>, ClusterError> {
        let every = ObjectId { kind: format!("every {}", r#type.kind), namespace: String::new(), name: String::new() };
        let list = self.api(r#type, "").list_metadata(&ListParams::default().labels(selector)).await;
        let list = list.map_err(|error| ClusterError::of("list", r#type, &every, error))?;
        let id = |object: PartialObjectMeta<DynamicObject>| ObjectId {
            kind: r#type.kind.to_owned(),
            namespace: object.metadata.namespace.unwrap_or_default(),
            name: object.metadata.name.unwrap_or_default(),
        };
        Ok(list.items.into_iter().map(id).collect())
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn delete(&self, r#type: &'static Type, id: &ObjectId) -> Result<(), ClusterError> {
        let params =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        let params = if self.is_dry { params.dry_run() } else { params };
        match self.api(r#type, &id.namespace).delete(&id.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ClusterError::of("delete", r#type, id, error)),
        }
    }
}

/// What is to be applied over what is there; nothing for a namespace that somebody else made, and whose it stays.
fn wanted(object: &Object, before: Option<&Value>) -> Result<Option<Value>, ClusterError> {
    use super::object::labels::MANAGER as OURS;
    let mut wanted = object.value.clone();
    let Some(before) = before else { return Ok(Some(wanted)) };
    match object.r#type.kind {
        "Namespace" if !before["metadata"]["deletionTimestamp"].is_null() => {
            return Err(ClusterError::Terminating(object.id().name));
        }
        "Namespace" if before["metadata"]["labels"][OURS.0] != OURS.1 => return Ok(None),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => leave_policies(&mut wanted, before),
        _ => {}
    }
    Ok(Some(wanted))
}

/// What the control plane has made `Fail` stays so.
fn leave_policies(wanted: &mut Value, before: &Value) {
    let there = |name: &Value| before["webhooks"].as_array()?.iter().find(|webhook| webhook["name"] == *name);
    for webhook in wanted["webhooks"].as_array_mut().into_iter().flatten() {
        if there(&webhook["name"]).is_some_and(|there| there["failurePolicy"] == "Fail")
            && let Some(fields) = webhook.as_object_mut()
        {
            fields.shift_remove("failurePolicy");
        }
    }
}

/// An object without what the API server counts and notes.
fn essential(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for counted in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"] {
            metadata.shift_remove(counted);
        }
    }
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("status");
    }
    object
}
