//! What an injection notes on the Pod, and how a later one goes on from there (contract §5.2, §5.3).

use k8s_openapi::{
    DeepMerge as _,
    api::core::v1::{Container, Pod, PodSpec},
};
use serde::{Deserialize, Serialize};

use super::{AUTO, Context, INIT, InjectError, PROXY, Template, annotations, container};

/// Lists what was injected.
const STATUS: &str = "sidecar.istio.io/status";
/// Keeps what the Pod itself said of injected containers.
const OVERRIDES: &str = "proxy.istio.io/overrides";

/// What an injection has added, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    init_containers: Option<Vec<String>>,
    containers: Option<Vec<String>>,
    volumes: Option<Vec<String>>,
    image_pull_secrets: Option<Vec<String>>,
    revision: String,
}

/// What the Pod said of containers that are injected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Overrides {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Container>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Container>,
}

/// What an earlier injection left.
pub(super) struct Before {
    status: Option<Status>,
    overrides: Option<Overrides>,
}

impl Before {
    pub(super) fn of(pod: &Pod) -> Result<Self, InjectError> {
        let read = |name: &'static str| {
            let text = annotations::text(pod, name);
            (!text.is_empty()).then_some(text).map(|text| (name, text))
        };
        let failed = |name| move |source| InjectError::Former { name, source };
        Ok(Self {
            status: read(STATUS).map(|(name, text)| serde_json::from_str(text).map_err(failed(name))).transpose()?,
            overrides: read(OVERRIDES)
                .map(|(name, text)| serde_json::from_str(text).map_err(failed(name)))
                .transpose()?,
        })
    }

    /// The Pod as it was before an earlier injection.
    pub(super) fn without_injection(&self, pod: &Pod) -> Pod {
        let mut made = pod.clone();
        let (Some(status), Some(spec)) = (&self.status, &mut made.spec) else { return made };
        let is_listed = |list: &Option<Vec<String>>, name: &str| list.iter().flatten().any(|n| n == name);
        spec.containers.retain(|c| !is_listed(&status.containers, &c.name));
        if let Some(init) = &mut spec.init_containers {
            init.retain(|c| !is_listed(&status.init_containers, &c.name));
        }
        if let Some(volumes) = &mut spec.volumes {
            volumes.retain(|v| !is_listed(&status.volumes, &v.name));
        }
        if let Some(secrets) = &mut spec.image_pull_secrets {
            secrets.retain(|s| !is_listed(&status.image_pull_secrets, &s.name));
        }
        made
    }

    /// A variable that an earlier injection gave the proxy.
    pub(super) fn variable(&self, pod: &Pod, name: &str) -> Option<(String, String)> {
        self.status.as_ref()?;
        let variables = container(pod, PROXY)?.env.iter().flatten();
        let found = variables.filter(|v| v.name == name).find_map(|v| v.value.clone());
        found.map(|value| (name.to_owned(), value))
    }

    /// What the Pod says of injected containers: what was kept, else what it has now.
    pub(super) fn overrides(&self, pod: &Pod, native: bool) -> Overrides {
        let mut own = self.overrides.clone().unwrap_or_else(|| {
            let of = |name: &str| container(pod, name).cloned().into_iter().collect::<Vec<_>>();
            Overrides { containers: of(PROXY), init_containers: of(INIT) }
        });
        for container in own.containers.iter_mut().chain(&mut own.init_containers) {
            if container.image.as_deref() == Some(AUTO) {
                container.image = None;
                // The API server has filled it in before it asks: for an image without a tag it is `Always`.
                container.image_pull_policy = container.image_pull_policy.take().filter(|policy| policy != "Always");
            }
        }
        // The proxy is where the template has it.
        if native {
            own.init_containers.append(&mut own.containers);
        } else {
            let (proxy, init) = std::mem::take(&mut own.init_containers).into_iter().partition(|c| c.name == PROXY);
            own.init_containers = init;
            own.containers.extend::<Vec<_>>(proxy);
        }
        own
    }
}

impl Overrides {
    /// The template's containers stand alone first.
    pub(super) fn take_out(&self, pod: &mut Pod) {
        let Some(spec) = &mut pod.spec else { return };
        let is_injected = |c: &Container| c.name == PROXY || c.name == INIT;
        spec.containers.retain(|c| !is_injected(c));
        if let Some(init) = &mut spec.init_containers {
            init.retain(|c| !is_injected(c));
        }
    }

    /// What the Pod itself says wins.
    pub(super) fn put_over(&self, pod: &mut Pod) {
        let Some(spec) = &mut pod.spec else { return };
        let init = spec.init_containers.get_or_insert_default();
        for (own, list) in [(&self.containers, &mut spec.containers), (&self.init_containers, init)] {
            for container in own {
                match list.iter_mut().find(|c| c.name == container.name) {
                    Some(injected) => injected.merge_from(container.clone()),
                    // Nothing is redirected: it is one of the Pod's own.
                    None => list.push(container.clone()),
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.init_containers.is_empty()
    }
}

/// Notes what was injected, and what others look for.
pub(super) fn note(context: &Context<'_>, base: Option<Template>, before: &Pod, own: &Overrides, pod: &mut Pod) {
    let settings = context.settings;
    let revision = if settings.revision.is_empty() { "default" } else { &settings.revision };
    let status = added(before, pod, revision);
    let labels = pod.metadata.labels.get_or_insert_default();
    let mut label = |name: &str, value: &str| _ = labels.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    if base.is_some() {
        label("security.istio.io/tlsMode", "istio");
    }
    label("service.istio.io/canonical-name", &context.workload.canonical_name);
    label("service.istio.io/canonical-revision", &context.workload.canonical_revision);
    let network = &settings.values.global.network;
    if !network.is_empty() {
        label("topology.istio.io/network", network);
    }
    let first = before.spec.iter().flat_map(|spec| &spec.containers).find(|c| c.name != PROXY).map(|c| &c.name);
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let mut annotate = |name: &str, value: String| _ = annotations.entry(name.to_owned()).or_insert(value);
    if let (Some(Template::Sidecar), Some(first)) = (base, first) {
        annotate("kubectl.kubernetes.io/default-container", first.clone());
        annotate("kubectl.kubernetes.io/default-logs-container", first.clone());
    }
    settings.injected_annotations.iter().for_each(|(name, value)| annotate(name, value.clone()));
    annotations.insert("istio.io/rev".to_owned(), revision.to_owned());
    annotations.insert(STATUS.to_owned(), json(&status));
    if !own.is_empty() {
        annotations.insert(OVERRIDES.to_owned(), json(own));
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What the Pod has now and had not before.
fn added(before: &Pod, after: &Pod, revision: &str) -> Status {
    let (Some(before), Some(after)) = (&before.spec, &after.spec) else { return Status::default() };
    let new = |names: fn(&PodSpec) -> Vec<&str>| {
        let had = names(before);
        // Those that it brought itself, to be filled in, count as injected.
        let is_new = |name: &&str| [PROXY, INIT].contains(name) || !had.contains(name);
        let new: Vec<String> = names(after).into_iter().filter(is_new).map(str::to_owned).collect();
        (!new.is_empty()).then_some(new)
    };
    Status {
        init_containers: new(|spec| spec.init_containers.iter().flatten().map(|c| c.name.as_str()).collect()),
        containers: new(|spec| spec.containers.iter().map(|c| c.name.as_str()).collect()),
        volumes: new(|spec| spec.volumes.iter().flatten().map(|v| v.name.as_str()).collect()),
        image_pull_secrets: new(|spec| spec.image_pull_secrets.iter().flatten().map(|s| s.name.as_str()).collect()),
        revision: revision.to_owned(),
    }
}
