//! All objects that are known, as the engine holds them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::Workload;
use crate::{
    engine::{
        graph::{Db, Input},
        inputs::{
            DestinationRules, Gateways, Mesh, NamespacedName, Namespaces, PeerAuthentications, ServiceKey, Sidecars,
            VirtualServices, Workloads,
        },
    },
    model::{
        Attachment, DestinationRule, Gateway, Host, Labels, MeshConfig, Namespace, PeerAuthentication, Service,
        Sidecar, VirtualService,
        workload::{NamespaceFacts, WorkloadFacts, selects},
    },
};

/// The group of Kubernetes' Gateway API.
pub const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// The kinds of the Gateway API that policies attach to, each with its plural.
pub const GATEWAY_API_KINDS: [(&str, &str); 2] = [("Gateway", "gateways"), (GATEWAY_CLASS, "gatewayclasses")];

/// The one of them without namespaces.
const GATEWAY_CLASS: &str = "GatewayClass";

/// The objects of the Gateway API that are known, by kind; of a kind that is not here nobody knows which there are.
#[derive(Clone, Debug, Default)]
pub struct GatewayApi(BTreeMap<&'static str, BTreeSet<NamespacedName>>);

impl GatewayApi {
    /// The kind is known, as far as it is added.
    pub fn know(&mut self, kind: &'static str) {
        self.0.entry(kind).or_default();
    }

    /// There is an object. Classes have no namespace.
    pub fn add(&mut self, kind: &'static str, namespace: &str, name: &str) {
        self.0.entry(kind).or_default().insert(Self::key(kind, namespace, name));
    }

    /// Whether there is an object; `None` when nobody knows.
    pub(super) fn has(&self, kind: &str, namespace: &str, name: &str) -> Option<bool> {
        Some(self.0.get(kind)?.contains(&Self::key(kind, namespace, name)))
    }

    fn key(kind: &str, namespace: &str, name: &str) -> NamespacedName {
        NamespacedName::new(if kind == GATEWAY_CLASS { "" } else { namespace }, name)
    }
}

/// What is known of objects beside what an engine holds.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Pods, and what makes Pods.
    pub workloads: Vec<Workload>,
    /// Whom objects are for.
    pub attachments: Vec<Attachment>,
    /// Gateways and GatewayClasses of Kubernetes' Gateway API.
    pub gateway_api: GatewayApi,
    /// Whether all objects of a cluster are there, so that what is not there does not exist.
    pub complete: bool,
}

/// What analyses look at.
pub struct World {
    pub(super) mesh: Arc<MeshConfig>,
    pub(super) services: Vec<Arc<Service>>,
    /// Services by host, to find the one that is meant.
    by_host: HashMap<Host, Vec<Arc<Service>>>,
    pub(super) virtual_services: Vec<Arc<VirtualService>>,
    pub(super) gateways: BTreeMap<NamespacedName, Arc<Gateway>>,
    pub(super) destination_rules: Vec<Arc<DestinationRule>>,
    pub(super) sidecars: Vec<Arc<Sidecar>>,
    pub(super) peers: Vec<Arc<PeerAuthentication>>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) gateway_api: GatewayApi,
    pub(super) namespaces: BTreeMap<Namespace, Arc<NamespaceFacts>>,
    /// By namespace. What selects nothing in one that is here is wrong, as these are known.
    workloads: BTreeMap<Namespace, InNamespace>,
    /// Whether all objects of a cluster are known.
    complete: bool,
}

/// The workloads of a namespace.
#[derive(Default)]
struct InNamespace {
    pods: Vec<Workload>,
    /// WorkloadEntries.
    entries: Vec<Arc<WorkloadFacts>>,
}

impl InNamespace {
    fn has_selected(&self, selector: &Labels) -> bool {
        self.pods.iter().any(|pod| selects(selector, &pod.labels))
            || self.entries.iter().any(|entry| entry.is_selected_by(selector))
    }
}

fn all<I: Input + Ord>(db: &mut Db) -> Vec<(I, Arc<I::Value>)> {
    let mut keys = db.input_keys::<I>();
    keys.sort();
    keys.into_iter().filter_map(|key| db.input_value(&key).map(|value| (key, value))).collect()
}

fn values<I: Input + Ord>(db: &mut Db) -> Vec<Arc<I::Value>> {
    all::<I>(db).into_iter().map(|(_, value)| value).collect()
}

impl World {
    /// Of what an engine knows, and of what there is beside it.
    #[must_use]
    pub fn of(db: &mut Db, surroundings: Surroundings) -> Self {
        let Surroundings { workloads, attachments, gateway_api, complete } = surroundings;
        let services = values::<ServiceKey>(db);
        let mut by_host: HashMap<Host, Vec<Arc<Service>>> = HashMap::new();
        for service in &services {
            by_host.entry(service.host.clone()).or_default().push(service.clone());
        }
        let mut by_namespace: BTreeMap<Namespace, InNamespace> = BTreeMap::new();
        for workload in workloads {
            by_namespace.entry(workload.namespace.clone()).or_default().pods.push(workload);
        }
        for (key, entry) in all::<Workloads>(db) {
            by_namespace.entry(key.0.namespace).or_default().entries.push(entry);
        }
        Self {
            mesh: db.input_value(&Mesh(())).unwrap_or_default(),
            services,
            by_host,
            virtual_services: values::<VirtualServices>(db),
            gateways: all::<Gateways>(db).into_iter().map(|(key, gateway)| (key.0, gateway)).collect(),
            destination_rules: values::<DestinationRules>(db),
            sidecars: values::<Sidecars>(db),
            peers: values::<PeerAuthentications>(db),
            attachments,
            gateway_api,
            namespaces: all::<Namespaces>(db).into_iter().map(|(key, facts)| (key.0, facts)).collect(),
            workloads: by_namespace,
            complete,
        }
    }

    /// Whether what a namespace has of workloads is known.
    pub(super) fn knows_workloads(&self, namespace: Option<&Namespace>) -> bool {
        self.complete || namespace.map_or(!self.workloads.is_empty(), |n| self.workloads.contains_key(n))
    }

    /// Whether it is known which namespaces there are.
    pub(super) fn knows_namespaces(&self) -> bool {
        self.complete
    }

    /// Whether a Pod or WorkloadEntry of a namespace, or of any, has the labels of a selector.
    pub(super) fn has_selected(&self, namespace: Option<&Namespace>, selector: &Labels) -> bool {
        self.places(namespace).any(|place| place.has_selected(selector))
    }

    /// All Pods of a namespace, or of any.
    pub(super) fn pods(&self, namespace: Option<&Namespace>) -> impl Iterator<Item = &Workload> + use<'_> {
        self.places(namespace).flat_map(|place| &place.pods)
    }

    /// Those that a selector chooses.
    pub(super) fn selected<'a>(
        &'a self,
        namespace: Option<&Namespace>,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a Workload> + use<'a> {
        self.pods(namespace).filter(move |pod| selects(selector, &pod.labels))
    }

    fn places(&self, namespace: Option<&Namespace>) -> impl Iterator<Item = &InNamespace> + use<'_> {
        let one = namespace.map(|namespace| self.workloads.get(namespace));
        let all = namespace.is_none().then(|| self.workloads.values());
        one.flatten().into_iter().chain(all.into_iter().flatten())
    }

    /// The services of a host.
    pub(super) fn services_of(&self, host: &str) -> &[Arc<Service>] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }
}
