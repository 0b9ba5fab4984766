//! Pods: labels, identity and place of workloads.

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

use super::{Problems, name, namespace};
use crate::model::{Code, Problem, workload::PodFacts};

/// A pod template's hash, which ReplicaSet names end with.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What matters of a Pod.
#[must_use]
pub fn convert(pod: &Pod) -> (PodFacts, Vec<Problem>) {
    let mut problems = Problems::of("Pod", &pod.metadata);
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| -> Arc<str> { value.map(String::as_str).unwrap_or_default().into() };
    let facts = PodFacts {
        name: name(&pod.metadata),
        namespace: namespace(&pod.metadata),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        service_account: text(spec.and_then(|s| s.service_account_name.as_ref())),
        node: text(spec.and_then(|s| s.node_name.as_ref())),
        ips: addresses(pod, &mut problems),
        ready: is_ready(pod),
        ports: spec
            .into_iter()
            .flat_map(|s| &s.containers)
            .flat_map(|c| c.ports.iter().flatten())
            .filter_map(|port| Some((port.name.as_deref()?.into(), u16::try_from(port.container_port).ok()?)))
            .collect(),
        workload: workload(pod),
    };
    (facts, problems.into_vec())
}

fn addresses(pod: &Pod, problems: &mut Problems) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip);
    let mut texts: Vec<&String> = all.collect();
    if texts.is_empty() {
        texts.extend(&status.pod_ip);
    }
    let mut ips = Vec::new();
    for text in texts.into_iter().filter(|t| !t.is_empty()) {
        match text.parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => problems.add(Code::AddressInvalid, "status.podIPs", format!("{text:?} is not an IP address")),
        }
    }
    ips
}

fn is_ready(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    ready && status.phase.as_deref() == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// The name of the workload: its Deployment or CronJob, else whatever controls the pod, else the pod.
fn workload(pod: &Pod) -> Arc<str> {
    let controller = pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true));
    let Some(controller) = controller else { return name(&pod.metadata) };
    let hash = pod.metadata.labels.as_ref().and_then(|l| l.get(TEMPLATE_HASH));
    let parent = match controller.kind.as_str() {
        "ReplicaSet" => hash.and_then(|h| controller.name.strip_suffix(h.as_str())?.strip_suffix('-')),
        "Job" => cron_job(&controller.name),
        _ => None,
    };
    parent.unwrap_or(&controller.name).into()
}

/// The CronJob of a Job: its name without the time, 8 to 10 digits.
fn cron_job(job: &str) -> Option<&str> {
    let (parent, time) = job.rsplit_once('-')?;
    ((8..=10).contains(&time.len()) && time.bytes().all(|b| b.is_ascii_digit())).then_some(parent)
}
