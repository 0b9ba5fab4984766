//! Pods, and what makes Pods: all that analyses look at of them.

use k8s_openapi::{
    api::core::v1::{Pod, PodSpec, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use crate::model::{Labels, Namespace, ObjectRef};

/// The container of the proxy.
const PROXY: &str = "istio-proxy";

/// A kind of objects that have Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadKind {
    group: &'static str,
    kind: &'static str,
    /// Where its template of Pods is.
    template: &'static str,
}

const KINDS: [WorkloadKind; 7] = [
    WorkloadKind { group: "apps", kind: "Deployment", template: "spec.template" },
    WorkloadKind { group: "apps", kind: "ReplicaSet", template: "spec.template" },
    WorkloadKind { group: "apps", kind: "StatefulSet", template: "spec.template" },
    WorkloadKind { group: "apps", kind: "DaemonSet", template: "spec.template" },
    WorkloadKind { group: "batch", kind: "Job", template: "spec.template" },
    WorkloadKind { group: "", kind: "ReplicationController", template: "spec.template" },
    WorkloadKind { group: "batch", kind: "CronJob", template: "spec.jobTemplate.spec.template" },
];

impl WorkloadKind {
    /// The kind of a group and name; `None` for kinds without templates of Pods.
    #[must_use]
    pub fn find(group: &str, kind: &str) -> Option<Self> {
        KINDS.into_iter().find(|known| known.group == group && known.kind == kind)
    }

    /// The name.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        self.kind
    }
}

/// A Pod, or what an object makes Pods of.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The object.
    pub object: ObjectRef,
    /// Its namespace.
    pub namespace: Namespace,
    /// Labels of the Pods.
    pub labels: Labels,
    /// Annotations of the Pods.
    pub annotations: Labels,
    /// Whether it is a Pod: all that should be injected is.
    pub is_pod: bool,
    /// Whether the proxy is among its containers.
    pub has_proxy: bool,
    /// Whether its proxy is one that is not beside anything: a gateway, by the placeholder `auto` of its image.
    pub is_gateway: bool,
    /// Whether the node's network is used.
    pub host_network: bool,
    /// Named ports of containers.
    pub ports: Vec<(String, i32)>,
    /// Users other than the proxy's containers run as, with where that is said.
    pub users: Vec<(String, i64)>,
    template: &'static str,
}

impl Workload {
    /// Of a Pod; `None` when it has ended.
    #[must_use]
    pub fn of_pod(pod: &Pod) -> Option<Self> {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let ended = matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some();
        let object = reference("Pod", &pod.metadata);
        (!ended).then(|| Self::new(object, "", &pod.metadata, pod.spec.as_ref()))
    }

    /// Of an object with a template; `None` when there is none that can be read.
    #[must_use]
    pub fn of_object(kind: WorkloadKind, object: &Value) -> Option<Self> {
        let meta: ObjectMeta = serde_json::from_value(object.get("metadata")?.clone()).ok()?;
        let path = format!("/{}", kind.template.replace('.', "/"));
        let template: PodTemplateSpec = serde_json::from_value(object.pointer(&path)?.clone()).ok()?;
        let pods = template.metadata.unwrap_or_default();
        Some(Self::new(reference(kind.kind, &meta), kind.template, &pods, template.spec.as_ref()))
    }

    fn new(object: ObjectRef, template: &'static str, pods: &ObjectMeta, spec: Option<&PodSpec>) -> Self {
        let of = |map: &Option<std::collections::BTreeMap<String, String>>| map.clone().unwrap_or_default();
        let spec = spec.cloned().unwrap_or_default();
        let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let proxies = all.filter(|c| c.name == PROXY);
        let images: Vec<&str> = proxies.map(|c| c.image.as_deref().unwrap_or_default()).collect();
        let within = if template.is_empty() { "spec".to_owned() } else { format!("{template}.spec") };
        let mut workload = Self {
            namespace: object.namespace.clone(),
            object,
            labels: of(&pods.labels),
            annotations: of(&pods.annotations),
            is_pod: template.is_empty(),
            has_proxy: images.iter().any(|image| *image != "auto"),
            is_gateway: images.contains(&"auto"),
            host_network: spec.host_network == Some(true),
            ports: Vec::new(),
            users: Vec::new(),
            template,
        };
        if let Some(user) = spec.security_context.as_ref().and_then(|s| s.run_as_user) {
            workload.users.push((format!("{within}.securityContext.runAsUser"), user));
        }
        for (n, container) in spec.containers.iter().enumerate().filter(|(_, c)| c.name != PROXY) {
            if let Some(user) = container.security_context.as_ref().and_then(|s| s.run_as_user) {
                workload.users.push((format!("{within}.containers[{n}].securityContext.runAsUser"), user));
            }
            let ports = container.ports.iter().flatten();
            workload.ports.extend(ports.map(|p| (p.name.clone().unwrap_or_default(), p.container_port)));
        }
        workload
    }

    /// The path of a field of the Pods, such as `metadata.labels`.
    pub(super) fn field(&self, field: &str) -> String {
        if self.template.is_empty() { field.to_owned() } else { format!("{}.{field}", self.template) }
    }
}

fn reference(kind: &'static str, meta: &ObjectMeta) -> ObjectRef {
    let namespace = meta.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or("default");
    ObjectRef::new(kind, namespace, meta.name.as_deref().unwrap_or_default())
}
