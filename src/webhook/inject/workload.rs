//! The workload that a Pod belongs to: its name and owner, as proxies tell it (contract §5.3).

use k8s_openapi::api::core::v1::Pod;

use super::annotations::label;

/// Labels that name the service of a workload, the first that is there counts.
const NAMES: [&str; 3] = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
/// Labels that name its revision.
const REVISIONS: [&str; 3] = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
/// Where a template of Pods is told from others of the same Deployment.
const HASH: &str = "pod-template-hash";
/// The longest value of a label.
const LONGEST: usize = 63;

/// Who made a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    /// The name of the Deployment, StatefulSet, … or of the Pod.
    pub(super) name: String,
    /// `kubernetes://apis/<version>/namespaces/<namespace>/<kind>s/<name>`.
    pub(super) owner: String,
    /// The kind of what made it.
    pub(super) kind: String,
    /// The version of that kind.
    pub(super) api_version: String,
    /// The canonical name of its service.
    pub(super) canonical_name: String,
    /// The canonical revision.
    pub(super) canonical_revision: String,
}

impl Workload {
    pub(super) fn of(pod: &Pod, namespace: &str) -> Self {
        let meta = &pod.metadata;
        let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let generated = meta.generate_name.as_deref().map(|name| name.trim_end_matches('-'));
        let own = || meta.name.as_deref().or(generated).unwrap_or_default().to_owned();
        let (version, kind, name) = match controller {
            None => ("v1".to_owned(), "Pod".to_owned(), own()),
            Some(owner) => match deployment(pod, &owner.kind, &owner.name) {
                Some(name) => (owner.api_version.clone(), "Deployment".to_owned(), name.to_owned()),
                None => (owner.api_version.clone(), owner.kind.clone(), owner.name.clone()),
            },
        };
        let first = |labels: &[&str]| labels.iter().map(|l| label(pod, l)).find(|v| !v.is_empty()).map(str::to_owned);
        Self {
            owner: format!("kubernetes://apis/{version}/namespaces/{namespace}/{}s/{name}", kind.to_ascii_lowercase()),
            canonical_name: first(&NAMES).unwrap_or_else(|| shortened(&name)),
            canonical_revision: first(&REVISIONS).unwrap_or_else(|| "latest".to_owned()),
            name,
            kind,
            api_version: version,
        }
    }
}

/// The Deployment of a ReplicaSet, which is named after it and the template.
fn deployment<'a>(pod: &Pod, kind: &str, name: &'a str) -> Option<&'a str> {
    let hash = label(pod, HASH);
    let of_deployment = kind == "ReplicaSet" && !hash.is_empty();
    name.strip_suffix(hash).filter(|_| of_deployment)?.strip_suffix('-').filter(|name| !name.is_empty())
}

fn shortened(name: &str) -> String {
    let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST).last();
    name[..end.unwrap_or_default()].trim_end_matches(['-', '.', '_']).to_owned()
}
