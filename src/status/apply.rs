//! Server-side apply, and what is done when it does not work.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::object::HasSpec,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// How soon a write is tried again that could not be done.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// How soon when the kind or the namespace does not exist, or writing is forbidden.
const RETRY_REFUSED: Duration = Duration::from_secs(30);

/// The longest name of a field manager that the API server takes.
const LONGEST_MANAGER: usize = 128;

/// The field manager of a replica.
pub(super) fn manager_of(replica: &str) -> String {
    let mut name = format!("mizzen-{replica}");
    name.truncate(name.floor_char_boundary(LONGEST_MANAGER));
    name
}

/// Whose fields are applied.
pub(super) fn by(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

/// Kinds of a namespace.
pub(super) trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug
{
}

/// Applies an object.
pub(super) async fn object<K: Namespaced + HasSpec>(
    client: &Client,
    namespace: &str,
    name: &str,
    manager: &str,
    body: &Value,
) -> Result<K, kube::Error> {
    Api::<K>::namespaced(client.clone(), namespace).patch(name, &by(manager), &Patch::Apply(body)).await
}

/// Troubles that were told: each once while it lasts.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    told: BTreeSet<String>,
    until: Option<Instant>,
}

impl Troubles {
    /// Whether nothing is to be tried now.
    pub(super) fn pause(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Something worked.
    pub(super) fn over(&mut self) {
        if self.until.take().is_some() {
            self.told.clear();
        }
    }

    /// Something did not work.
    pub(super) fn meet(&mut self, what: &str, error: &kube::Error, now: Instant) {
        let refused = matches!(error, kube::Error::Api(status) if matches!(status.code, 403 | 404));
        self.until = Some(now + if refused { RETRY_REFUSED } else { RETRY });
        let reason = error.to_string();
        if self.told.insert(reason.clone()) {
            tracing::warn!(reason, "cannot write {what}; it is tried again");
        }
    }
}

/// Whether what should be changed is gone, or another one.
pub(super) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}
