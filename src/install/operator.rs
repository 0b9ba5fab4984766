//! IstioOperators in a cluster: it is made as they say, and each tells how that is. One replica does this.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        controller::{Action, Controller},
        finalizer::{self, Event as Due, finalizer},
        reflector::ObjectRef,
        watcher,
    },
};
use serde_json::{Value, json};

use super::{
    ComponentName, Manifest, Object,
    apply::{self, Event},
    cluster::{Cluster, ClusterError, MANAGER},
    object::labels,
    ready,
    remove::{self, Selection},
};
use crate::api::istio_operator::{
    ComponentStatus, GROUP, Health, IstioOperatorStatus, KIND, PLURAL, VERSION, definition,
};

/// Keeps an IstioOperator until what it installed is removed.
const FINALIZER: &str = "istio-finalizer.install.istio.io";
/// When it is looked again while workloads become ready.
const SOON: Duration = Duration::from_secs(5);
/// When something that failed is tried again.
const RETRY: Duration = Duration::from_secs(15);
/// When it is looked whether somebody changed what was installed.
const LATER: Duration = Duration::from_secs(300);

/// Why an IstioOperator could not be looked after. What is wrong with its content is in its status instead.
#[derive(Debug, thiserror::Error)]
enum OperatorError {
    #[error("what it installed cannot be removed")]
    Remove(#[from] ClusterError),
    #[error("its status cannot be written")]
    Status(#[source] Box<kube::Error>),
}

/// Says of a manifest what of it the control plane will not honour.
pub type Review = fn(&Manifest) -> Vec<String>;

struct Operator {
    cluster: Cluster,
    resource: ApiResource,
    review: Review,
}

/// Looks after all IstioOperators, until dropped.
///
/// # Errors
/// Their definition cannot be installed.
pub async fn run(client: Client, review: Review) -> Result<(), ClusterError> {
    let cluster = Cluster::new(client.clone());
    cluster.apply(&Object::new(ComponentName::Base, definition())).await?;
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL);
    let operators: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let installed = watcher::Config::default().labels(&format!("{}={}", labels::MANAGER.0, labels::MANAGER.1));
    let of = resource.clone();
    let owner = move |deployment: Deployment| {
        let label = |name: &str| deployment.labels().get(name).cloned();
        let (name, namespace) = (label(labels::OWNER)?, label(labels::OWNER_NAMESPACE)?);
        Some(ObjectRef::new_with(&name, of.clone()).within(&namespace))
    };
    let operator = Arc::new(Operator { cluster, resource: resource.clone(), review });
    Controller::new_with(operators, watcher::Config::default(), resource)
        .watches(Api::<Deployment>::all(client), installed, owner)
        .run(reconcile, retry, operator)
        .for_each(|_| async {})
        .await;
    Ok(())
}

async fn reconcile(
    object: Arc<DynamicObject>,
    operator: Arc<Operator>,
) -> Result<Action, finalizer::Error<OperatorError>> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(operator.cluster.client().clone(), &namespace, &operator.resource);
    let due = |due: Due<DynamicObject>| async {
        match due {
            Due::Apply(object) => operator.install(&api, &object).await,
            Due::Cleanup(object) => operator.remove(&object).await,
        }
    };
    finalizer(&api, FINALIZER, object, due).await
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the controller asks for")]
fn retry(object: Arc<DynamicObject>, error: &finalizer::Error<OperatorError>, _: Arc<Operator>) -> Action {
    let reason = chain(error);
    tracing::warn!(object = object.name_any(), reason, "an IstioOperator cannot be looked after; it is tried again");
    Action::requeue(RETRY)
}

impl Operator {
    async fn install(&self, api: &Api<DynamicObject>, object: &DynamicObject) -> Result<Action, OperatorError> {
        let (mut status, action) = match Manifest::of_object(asked(object), &[]) {
            Ok(manifest) => self.make(object, &manifest).await,
            Err(error) => {
                let message = chain(&error);
                let status = IstioOperatorStatus { status: Health::Error, message, ..IstioOperatorStatus::default() };
                (status, Action::await_change())
            }
        };
        status.observed_generation = object.metadata.generation.unwrap_or_default();
        self.tell(api, object, &status).await?;
        Ok(action)
    }

    /// Makes the cluster as it is to be; returns how that went.
    async fn make(&self, object: &DynamicObject, manifest: &Manifest) -> (IstioOperatorStatus, Action) {
        let name = object.name_any();
        let mut done = BTreeSet::new();
        let applied = apply::apply(&self.cluster, manifest, &mut |event| match event {
            Event::Applied(object, change) => {
                let id = object.id();
                if *change != super::cluster::Change::Unchanged {
                    tracing::info!(operator = name, object = id.to_string(), "applied");
                }
                done.insert(id);
            }
            Event::Removed(id) => tracing::info!(operator = name, object = id.to_string(), "removed"),
            Event::Waiting(_) => {}
        })
        .await;
        let warnings = [manifest.warnings.clone(), (self.review)(manifest)].concat();
        let mut status = IstioOperatorStatus { message: warnings.join("; "), ..IstioOperatorStatus::default() };
        for object in &manifest.objects {
            status.component_status.entry(object.component.to_string()).or_insert_with(|| of(Health::Healthy, ""));
        }
        let failed = match applied {
            Ok(()) => match ready::waiting(&self.cluster, manifest).await {
                Ok(waiting) => {
                    for (component, reasons) in waiting {
                        status
                            .component_status
                            .insert(component.to_string(), of(Health::Reconciling, &reasons.join("; ")));
                    }
                    None
                }
                Err(error) => Some((ComponentName::Pilot, error)),
            },
            Err(error) => {
                let at = manifest.objects.iter().find(|object| !done.contains(&object.id()));
                Some((at.map_or(ComponentName::Base, |object| object.component), error))
            }
        };
        if let Some((component, error)) = failed {
            let reason = chain(&error);
            tracing::warn!(operator = name, component = component.to_string(), reason, "cannot be installed");
            status.component_status.insert(component.to_string(), of(Health::Error, &reason));
        }
        status.status = status.component_status.values().map(|component| component.status).max().unwrap_or_default();
        let again = match status.status {
            Health::Error => RETRY,
            Health::Reconciling => SOON,
            Health::Healthy | Health::None => LATER,
        };
        (status, Action::requeue(again))
    }

    /// Writes a status, if it is another one than there is.
    async fn tell(
        &self,
        api: &Api<DynamicObject>,
        object: &DynamicObject,
        status: &IstioOperatorStatus,
    ) -> Result<(), OperatorError> {
        let there = object.data.get("status").cloned().unwrap_or_default();
        if serde_json::from_value::<IstioOperatorStatus>(there).ok().as_ref() == Some(status) {
            return Ok(());
        }
        let whole = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": KIND,
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let written = api.patch_status(&object.name_any(), &params, &Patch::Apply(&whole)).await;
        written.map(drop).map_err(|error| OperatorError::Status(Box::new(error)))
    }

    async fn remove(&self, object: &DynamicObject) -> Result<Action, OperatorError> {
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let selection = Selection::Owner { name: name.clone(), namespace, revision: None };
        let objects = remove::selected(&self.cluster, &selection).await?;
        remove::remove(&self.cluster, &objects, &mut |event| {
            if let Event::Removed(id) = event {
                tracing::info!(operator = name, object = id.to_string(), "removed");
            }
        })
        .await?;
        Ok(Action::await_change())
    }
}

/// What an object asks for, without what the API server and this operator note on it.
fn asked(object: &DynamicObject) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": {"name": object.metadata.name, "namespace": object.metadata.namespace},
        "spec": object.data.get("spec"),
    })
}

fn of(health: Health, error: &str) -> ComponentStatus {
    ComponentStatus { status: health, version: env!("CARGO_PKG_VERSION").to_owned(), error: error.to_owned() }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
