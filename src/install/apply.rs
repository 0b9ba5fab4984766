//! An installation, step by step: definitions, what others need, workloads, webhooks; then what nobody asks for any more goes,
//! and workloads become ready.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Manifest, Object, ObjectId,
    cluster::{Change, Cluster, ClusterError},
    object::{TYPES, labels},
};

/// How long definitions may take until they are served.
const SERVED: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What happens, for who watches.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// An object was applied.
    Applied(&'a Object, &'a Change),
    /// An object was removed.
    Removed(&'a ObjectId),
    /// These workloads are not ready, and why.
    Waiting(&'a [String]),
}

/// Who watches.
pub type Watcher<'a> = &'a mut (dyn FnMut(Event<'_>) + Send);

/// Applies all objects of a manifest in their order, and removes what earlier ones had.
///
/// # Errors
/// The first thing that the API server refuses. What was done stays; to try again does the rest.
pub async fn apply(cluster: &Cluster, manifest: &Manifest, watcher: Watcher<'_>) -> Result<(), ClusterError> {
    let (definitions, rest): (Vec<&Object>, Vec<&Object>) =
        manifest.objects.iter().partition(|object| object.r#type.kind == "CustomResourceDefinition");
    for object in &definitions {
        watcher(Event::Applied(object, &cluster.apply(object).await?));
    }
    if !cluster.is_dry() {
        await_served(cluster, definitions).await?;
    }
    for object in rest {
        watcher(Event::Applied(object, &cluster.apply(object).await?));
    }
    for id in superfluous(cluster, manifest).await? {
        let r#type = TYPES.iter().find(|known| known.kind == id.kind).expect("a kind that was listed");
        cluster.delete(r#type, &id).await?;
        watcher(Event::Removed(&id));
    }
    Ok(())
}

/// What has the labels of an installation and is not in its manifest.
///
/// # Errors
/// The API server does not say.
pub async fn superfluous(cluster: &Cluster, manifest: &Manifest) -> Result<Vec<ObjectId>, ClusterError> {
    let wanted: HashSet<ObjectId> = manifest.objects.iter().map(Object::id).collect();
    let mut all = Vec::new();
    // The last kinds go first.
    for r#type in TYPES.iter().rev().filter(|known| known.is_pruned) {
        let found = cluster.list(r#type, &selector_of(manifest)).await?;
        all.extend(found.into_iter().filter(|id| !wanted.contains(id)));
    }
    Ok(all)
}

/// The labels of all objects of an installation.
fn selector_of(manifest: &Manifest) -> String {
    let (name, namespace) = &manifest.owner;
    let revision = if manifest.revision.is_empty() { "default" } else { &manifest.revision };
    let pairs = [
        (labels::MANAGER.0, labels::MANAGER.1),
        (labels::OWNER, name.as_str()),
        (labels::OWNER_NAMESPACE, namespace.as_str()),
        (labels::REVISION, revision),
    ];
    pairs.map(|(key, value)| format!("{key}={value}")).join(",")
}

async fn await_served(cluster: &Cluster, mut definitions: Vec<&Object>) -> Result<(), ClusterError> {
    let start = Instant::now();
    loop {
        let mut waiting = Vec::new();
        for object in definitions {
            if !cluster.get(object).await?.is_some_and(|definition| is_served(&definition)) {
                waiting.push(object);
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if start.elapsed() > SERVED {
            let names: Vec<String> = waiting.iter().map(|object| object.id().name).collect();
            return Err(ClusterError::NotServed { names: names.join(", "), after: SERVED });
        }
        definitions = waiting;
        sleep(LOOK_EVERY).await;
    }
}

fn is_served(definition: &serde_json::Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
}
