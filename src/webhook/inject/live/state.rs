//! What the injector has seen of the cluster, and the settings that follow.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{ConfigMap, Node};

use super::{NativeSidecars, Source};
use crate::{
    model::{Code, ObjectRef, Problem},
    webhook::inject::{Part, Settings, SettingsError},
};

/// The first version of Kubernetes that starts native sidecars unless told otherwise.
const NATIVE_SINCE: (u32, u32) = (1, 29);

/// Something that was seen.
pub(super) enum Change {
    Injector(Option<ConfigMap>),
    Mesh(Option<ConfigMap>),
    /// All nodes follow.
    NodesAnew,
    Node(Box<Node>),
    NodeGone(Box<Node>),
    /// Those were all.
    NodesAll,
    /// Nodes may not be listed.
    NodesForbidden,
}

/// What follows from a change.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) now: Result<Arc<Settings>, Arc<str>>,
    /// What is wrong now and was not before.
    pub(super) appeared: Vec<Problem>,
    /// What was wrong before and is not now.
    pub(super) gone: Vec<Problem>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Texts {
    config: String,
    values: String,
}

pub(super) struct State {
    source: Source,
    injector: Option<Texts>,
    mesh: Option<String>,
    nodes: BTreeMap<String, (u32, u32)>,
    /// Whether all nodes can; `None` before they are known.
    native: Option<bool>,
    last_good: Option<Arc<Settings>>,
    problems: Vec<Problem>,
}

impl State {
    pub(super) fn new(source: Source) -> Self {
        let native = match source.native_sidecars {
            NativeSidecars::Fixed(native) => Some(native),
            NativeSidecars::ByNodes => None,
        };
        let (nodes, last_good, problems) = (BTreeMap::new(), None, Vec::new());
        Self { source, injector: None, mesh: None, nodes, native, last_good, problems }
    }

    /// Takes a change in; nothing while something is not known yet, or when nothing follows from it.
    pub(super) fn take(&mut self, change: Change) -> Option<Read> {
        let is_news = match change {
            Change::Injector(map) => {
                let texts = map.map(|map| Texts { config: text(&map, "config"), values: text(&map, "values") });
                replace(&mut self.injector, texts.unwrap_or_default())
            }
            Change::Mesh(map) => {
                let told = map.map_or_else(|| self.source.mesh_text.clone(), |map| text(&map, "mesh"));
                replace(&mut self.mesh, told)
            }
            change => self.take_nodes(change),
        };
        if is_news { self.read() } else { None }
    }

    fn take_nodes(&mut self, change: Change) -> bool {
        let all = |nodes: &BTreeMap<_, _>| nodes.values().all(|version| *version >= NATIVE_SINCE);
        let known = match change {
            Change::NodesAnew => {
                self.nodes.clear();
                return false;
            }
            Change::Node(node) => {
                self.nodes.insert(name(&node), version(&node));
                // Before all are told, nothing is known.
                self.native.map(|_| all(&self.nodes))
            }
            Change::NodeGone(node) => {
                self.nodes.remove(&name(&node));
                self.native.map(|_| all(&self.nodes))
            }
            Change::NodesAll => Some(all(&self.nodes)),
            // Every cluster has the classic way.
            Change::NodesForbidden => Some(self.native.unwrap_or(false)),
            Change::Injector(_) | Change::Mesh(_) => return false,
        };
        known.is_some_and(|native| replace(&mut self.native, native))
    }

    fn read(&mut self) -> Option<Read> {
        let (injector, mesh, native_sidecars) = (self.injector.as_ref()?, self.mesh.as_ref()?, self.native?);
        let (now, problems) = match Settings::read(&injector.config, &injector.values, mesh) {
            Ok(settings) => {
                let problems = settings.ignored_templates.iter().map(|name| self.unused(name)).collect();
                let (revision, compliance_policy) =
                    (self.source.revision.clone(), self.source.compliance_policy.clone());
                let settings = Arc::new(Settings { revision, native_sidecars, compliance_policy, ..settings });
                self.last_good = Some(settings.clone());
                (Ok(settings), problems)
            }
            Err(error) => {
                let problem = self.problem_of(&error);
                (self.last_good.clone().ok_or_else(|| problem.to_string().into()), vec![problem])
            }
        };
        let before = std::mem::replace(&mut self.problems, problems);
        let not_in = |some: &[Problem], others: &[Problem]| {
            some.iter().filter(|problem| !others.contains(problem)).cloned().collect::<Vec<_>>()
        };
        let (appeared, gone) = (not_in(&self.problems, &before), not_in(&before, &self.problems));
        Some(Read { now, appeared, gone })
    }

    /// A template of the ConfigMap is called as one of ours is.
    fn unused(&self, name: &str) -> Problem {
        Problem {
            object: ObjectRef::new("ConfigMap", &self.source.namespace, &self.source.injector_map),
            field: "data.config".to_owned(),
            reason: format!("templates.{name} is not used: mizzen has its own template of that name"),
            code: Code::InjectorTemplateUnused,
        }
    }

    fn problem_of(&self, error: &SettingsError) -> Problem {
        let (map, field) = match error.part() {
            Part::Config => (&self.source.injector_map, "data.config"),
            Part::Values => (&self.source.injector_map, "data.values"),
            Part::Mesh => (&self.source.mesh_map, "data.mesh"),
        };
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
        let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let object = ObjectRef::new("ConfigMap", &self.source.namespace, map);
        Problem {
            object,
            field: field.to_owned(),
            reason: format!("{reason}; Pods are injected as before"),
            code: Code::InjectorConfigInvalid,
        }
    }
}

fn replace<T: PartialEq>(known: &mut Option<T>, now: T) -> bool {
    let is_news = known.as_ref() != Some(&now);
    *known = Some(now);
    is_news
}

fn text(map: &ConfigMap, key: &str) -> String {
    map.data.as_ref().and_then(|data| data.get(key)).cloned().unwrap_or_default()
}

fn name(node: &Node) -> String {
    node.metadata.name.clone().unwrap_or_default()
}

/// Of a node's kubelet: `v1.36.3` is 1 and 36. What cannot be read is the oldest.
fn version(node: &Node) -> (u32, u32) {
    let told = node.status.as_ref().and_then(|status| status.node_info.as_ref()).map(|info| &*info.kubelet_version);
    let mut numbers = told.unwrap_or_default().trim_start_matches('v').splitn(3, '.');
    let mut number = || numbers.next().and_then(|text| text.parse().ok()).unwrap_or_default();
    (number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(native_sidecars: NativeSidecars) -> State {
        State::new(Source {
            namespace: "istio-system".to_owned(),
            injector_map: "istio-sidecar-injector".to_owned(),
            mesh_map: "istio".to_owned(),
            mesh_text: "trustDomain: of.file".to_owned(),
            revision: "canary".to_owned(),
            native_sidecars,
            compliance_policy: "fips-140-2".to_owned(),
        })
    }

    fn injector(values: &str) -> Change {
        let data = [("values".to_owned(), values.to_owned())].into();
        Change::Injector(Some(ConfigMap { data: Some(data), ..ConfigMap::default() }))
    }

    fn node(name: &str, version: &str) -> Box<Node> {
        let text = format!(
            "{{metadata: {{name: {name}}}, status: {{nodeInfo: {{architecture: '', bootID: '', containerRuntimeVersion: '', \
             kernelVersion: '', kubeProxyVersion: '', kubeletVersion: {version}, machineID: '', operatingSystem: '', \
             osImage: '', systemUUID: ''}}}}}}"
        );
        Box::new(serde_yaml_ng::from_str(&text).expect("a node"))
    }

    #[test]
    fn settings_are_known_when_all_was_seen_and_wrong_ones_leave_the_last_good_ones() {
        let mut state = state(NativeSidecars::Fixed(false));
        assert!(state.take(injector("global: {hub: a}")).is_none(), "the mesh was not seen");
        let read = state.take(Change::Mesh(None)).expect("all was seen");
        let first = read.now.expect("settings");
        assert_eq!((first.values.global.hub.as_str(), first.trust_domain.as_str()), ("a", "of.file"));
        assert_eq!((first.revision.as_str(), first.native_sidecars), ("canary", false));
        assert_eq!(first.compliance_policy, "fips-140-2");
        assert!(state.take(injector("global: {hub: a}")).is_none(), "nothing is new");
        let read = state.take(injector("global: [")).expect("news");
        assert_eq!(read.now.expect("the last good ones").values.global.hub, "a");
        let [problem] = read.appeared.as_slice() else { panic!("{:?}", read.appeared) };
        let said = problem.to_string();
        let start = "ConfigMap istio-system/istio-sidecar-injector: data.values: the values of the installation cannot";
        assert!(said.starts_with(start), "{said}");
        let read = state.take(injector("global: {hub: b}")).expect("news");
        assert_eq!((read.now.expect("settings").values.global.hub.as_str(), read.gone), ("b", vec![problem.clone()]));
    }

    #[test]
    fn templates_that_are_called_as_ours_are_told_until_they_are_not_there() {
        let mut state = state(NativeSidecars::Fixed(true));
        let config = |text: &str| {
            let data = [("config".to_owned(), text.to_owned())].into();
            Change::Injector(Some(ConfigMap { data: Some(data), ..ConfigMap::default() }))
        };
        assert!(state.take(Change::Mesh(None)).is_none());
        let own = "templates: {sidecar: 'spec: {}', gateway: 'spec: {}', mine: 'spec: {}'}";
        let told: Vec<_> = state.take(config(own)).expect("news").appeared.iter().map(ToString::to_string).collect();
        let expected = |name: &str| {
            format!(
                "ConfigMap istio-system/istio-sidecar-injector: data.config: templates.{name} is not used: mizzen has its own \
                 template of that name [MZ0919]"
            )
        };
        assert_eq!(told, ["sidecar", "gateway"].map(expected));
        let read = state.take(config("templates: {sidecar: 'spec: {}'}")).expect("news");
        assert_eq!((read.appeared.len(), read.gone.len()), (0, 1), "one is there still");
        assert!(read.now.is_ok());
    }

    #[test]
    fn wrong_ones_at_the_start_are_told() {
        let mut state = state(NativeSidecars::Fixed(true));
        assert!(state.take(injector("[")).is_none());
        let mesh = Change::Mesh(Some(ConfigMap::default()));
        let told = state.take(mesh).expect("all was seen").now.expect_err("no settings");
        assert!(told.contains("data.values"), "{told}");
    }

    #[test]
    fn sidecars_are_native_when_all_nodes_can() {
        let mut state = state(NativeSidecars::ByNodes);
        let mut take = |change| state.take(change).map(|read| read.now.expect("settings").native_sidecars);
        assert_eq!(take(Change::Injector(None)), None);
        assert_eq!(take(Change::Mesh(None)), None);
        assert_eq!(take(Change::NodesAnew), None);
        assert_eq!(take(Change::Node(node("a", "v1.29.0"))), None, "others may follow");
        assert_eq!(take(Change::NodesAll), Some(true));
        assert_eq!(take(Change::Node(node("b", "v1.28.9"))), Some(false));
        assert_eq!(take(Change::Node(node("b", "v2.0.0-rc.1"))), Some(true));
        assert_eq!(take(Change::Node(node("c", "what"))), Some(false));
        assert_eq!(take(Change::NodeGone(node("c", "what"))), Some(true));
    }

    #[test]
    fn sidecars_are_classic_when_nodes_may_not_be_seen() {
        let mut state = state(NativeSidecars::ByNodes);
        assert!(state.take(Change::Injector(None)).is_none() && state.take(Change::Mesh(None)).is_none());
        let read = state.take(Change::NodesForbidden).expect("all is known");
        assert!(!read.now.expect("settings").native_sidecars);
    }
}
