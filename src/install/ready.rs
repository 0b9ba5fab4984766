//! Whether workloads are ready, and why not.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod},
};
use kube::{Api, api::ListParams};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    ComponentName, Manifest, Object,
    apply::{Event, Watcher},
    cluster::{Cluster, ClusterError},
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits until all Deployments of a manifest are ready, and the API server can call the injector: a Pod that is made before
/// that has no sidecar.
///
/// # Errors
/// One is not when the time is over: why, as far as the API server tells.
pub async fn wait(
    cluster: &Cluster,
    manifest: &Manifest,
    timeout: Duration,
    watcher: Watcher<'_>,
) -> Result<(), ClusterError> {
    let start = Instant::now();
    loop {
        let mut reasons: Vec<String> = waiting(cluster, manifest).await?.into_values().flatten().collect();
        if reasons.is_empty() {
            reasons = unsigned(cluster, manifest).await?;
        }
        if reasons.is_empty() {
            return Ok(());
        }
        if start.elapsed() >= timeout {
            return Err(ClusterError::NotReady { reasons: reasons.join("; "), after: timeout });
        }
        watcher(Event::Waiting(&reasons));
        sleep(LOOK_EVERY).await;
    }
}

/// The components whose Deployments are not all ready, and why.
///
/// # Errors
/// The API server does not say.
pub async fn waiting(
    cluster: &Cluster,
    manifest: &Manifest,
) -> Result<BTreeMap<ComponentName, Vec<String>>, ClusterError> {
    let mut all: BTreeMap<ComponentName, Vec<String>> = BTreeMap::new();
    for object in manifest.objects.iter().filter(|object| object.r#type.kind == "Deployment") {
        if let Some(reason) = reason(cluster, object).await? {
            all.entry(object.component).or_default().push(format!("{}: {reason}", object.id()));
        }
    }
    Ok(all)
}

/// The injectors that the control plane of the manifest has not put its certificate authority into.
async fn unsigned(cluster: &Cluster, manifest: &Manifest) -> Result<Vec<String>, ClusterError> {
    let of_kind = |kind: &'static str| manifest.objects.iter().filter(move |object| object.r#type.kind == kind);
    let mut all = Vec::new();
    if !of_kind("Deployment").any(|object| object.component == ComponentName::Pilot) {
        return Ok(all);
    }
    for object in of_kind("MutatingWebhookConfiguration") {
        let found = cluster.get(object).await?.unwrap_or_default();
        let signed =
            |webhook: &Value| webhook["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty());
        if !found["webhooks"].as_array().is_some_and(|webhooks| webhooks.iter().all(signed)) {
            all.push(format!("{}: waits for the control plane's certificate authority", object.id()));
        }
    }
    Ok(all)
}

/// Why a Deployment is not ready; `None` if it is.
async fn reason(cluster: &Cluster, object: &Object) -> Result<Option<String>, ClusterError> {
    let Some(found) = cluster.get(object).await? else { return Ok(Some("it is not there".to_owned())) };
    let Ok(deployment) = serde_json::from_value::<Deployment>(found) else {
        return Ok(Some("it cannot be read".to_owned()));
    };
    let Some(progress) = progress(&deployment) else { return Ok(None) };
    let labels = deployment.spec.and_then(|spec| spec.selector.match_labels).unwrap_or_default();
    let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), &object.id().namespace);
    // A reason more, if it can be had.
    let pods = pods.list(&ListParams::default().labels(&selector.join(","))).await;
    let said = pods.ok().and_then(|pods| pods.items.iter().find_map(complaint));
    Ok(Some(said.map_or(progress.clone(), |said| format!("{progress}, {said}"))))
}

/// How far a Deployment is; `None` when all of its Pods are ready.
fn progress(deployment: &Deployment) -> Option<String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Some("its controller has not seen it yet".to_owned());
    }
    let (updated, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    if updated >= wanted && available >= wanted && status.replicas.unwrap_or(0) == updated {
        return None;
    }
    Some(format!("{available}/{wanted} ready"))
}

/// What a Pod says of why it is not ready.
fn complaint(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let of_container = |container: &ContainerStatus| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let message = waiting.message.as_deref().map(|message| format!(" ({message})")).unwrap_or_default();
        (reason != "PodInitializing" && reason != "ContainerCreating").then(|| {
            format!(
                "container {} of {}: {reason}{message}",
                container.name,
                pod.metadata.name.as_deref().unwrap_or_default()
            )
        })
    };
    let unscheduled = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    containers.filter_map(of_container).next().or_else(|| unscheduled.and_then(|condition| condition.message.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(status: &Value) -> Option<String> {
        let deployment = json!({"metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": status});
        progress(&serde_json::from_value(deployment).expect("a Deployment"))
    }

    #[test]
    fn a_deployment_is_ready_when_all_pods_of_its_last_generation_are() {
        let ready = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(of(&ready), None);
        assert_eq!(of(&json!({})).as_deref(), Some("its controller has not seen it yet"));
        for (field, value) in [("availableReplicas", 1), ("updatedReplicas", 1), ("replicas", 3)] {
            let mut status = ready.clone();
            status[field] = value.into();
            assert!(of(&status).is_some(), "{field}");
        }
    }

    #[test]
    fn a_pod_that_cannot_start_is_quoted() {
        let pod = json!({"metadata": {"name": "istiod-1"}, "spec": {"containers": []}, "status": {"containerStatuses": [
            {"name": "discovery", "ready": false, "restartCount": 0, "image": "", "imageID": "",
             "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a Pod");
        assert_eq!(complaint(&pod).as_deref(), Some("container discovery of istiod-1: ErrImagePull (no such image)"));
    }
}
