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
            DestinationRules, EnvoyFilters, Gateways, Mesh, NamespacedName, Namespaces, PeerAuthentications, Policies,
            ServiceKey, Sidecars, VirtualServices, Workloads,
        },
    },
    model::{
        DestinationRule, EnvoyFilter, Gateway, Host, Labels, MeshConfig, Namespace, PeerAuthentication, Service,
        Sidecar, UnenforcedPolicy, VirtualService,
        workload::{NamespaceFacts, WorkloadFacts, selects},
    },
};

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
    pub(super) policies: Vec<Arc<UnenforcedPolicy>>,
    pub(super) filters: Vec<Arc<EnvoyFilter>>,
    pub(super) namespaces: BTreeMap<Namespace, Arc<NamespaceFacts>>,
    pub(super) workloads: Vec<Workload>,
    entries: Vec<(Namespace, Arc<WorkloadFacts>)>,
    /// Namespaces of workloads: what selects nothing there is wrong, as these are known.
    populated: BTreeSet<Namespace>,
    /// Whether all objects of a cluster are known.
    complete: bool,
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
    /// Of what an engine knows and of workloads. `complete`: all objects of a cluster are there, so that what is not there
    /// does not exist.
    #[must_use]
    pub fn of(db: &mut Db, workloads: Vec<Workload>, complete: bool) -> Self {
        let services = values::<ServiceKey>(db);
        let mut by_host: HashMap<Host, Vec<Arc<Service>>> = HashMap::new();
        for service in &services {
            by_host.entry(service.host.clone()).or_default().push(service.clone());
        }
        let entries = all::<Workloads>(db).into_iter().map(|(key, facts)| (key.0.namespace, facts));
        let entries: Vec<_> = entries.collect();
        let populated = workloads.iter().map(|w| &w.namespace).chain(entries.iter().map(|(n, _)| n));
        Self {
            mesh: db.input_value(&Mesh(())).unwrap_or_default(),
            populated: populated.cloned().collect(),
            services,
            by_host,
            virtual_services: values::<VirtualServices>(db),
            gateways: all::<Gateways>(db).into_iter().map(|(key, gateway)| (key.0, gateway)).collect(),
            destination_rules: values::<DestinationRules>(db),
            sidecars: values::<Sidecars>(db),
            peers: values::<PeerAuthentications>(db),
            policies: values::<Policies>(db),
            filters: values::<EnvoyFilters>(db),
            namespaces: all::<Namespaces>(db).into_iter().map(|(key, facts)| (key.0, facts)).collect(),
            workloads,
            entries,
            complete,
        }
    }

    /// Whether what a namespace has of workloads is known.
    pub(super) fn knows_workloads(&self, namespace: Option<&Namespace>) -> bool {
        self.complete || namespace.map_or(!self.populated.is_empty(), |n| self.populated.contains(n))
    }

    /// Whether it is known which namespaces there are.
    pub(super) fn knows_namespaces(&self) -> bool {
        self.complete
    }

    /// Whether a Pod or WorkloadEntry of a namespace, or of any, has the labels of a selector.
    pub(super) fn has_selected(&self, namespace: Option<&Namespace>, selector: &Labels) -> bool {
        let here = |own: &Namespace| namespace.is_none_or(|n| n == own);
        self.workloads.iter().any(|w| here(&w.namespace) && selects(selector, &w.labels))
            || self.entries.iter().any(|(n, facts)| here(n) && facts.is_selected_by(selector))
    }

    /// Pods that a selector chooses.
    pub(super) fn selected<'a>(
        &'a self,
        namespace: Option<&'a Namespace>,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a Workload> {
        let here = move |own: &Namespace| namespace.is_none_or(|n| n == own);
        self.workloads.iter().filter(move |w| here(&w.namespace) && selects(selector, &w.labels))
    }

    /// The services of a host.
    pub(super) fn services_of(&self, host: &str) -> &[Arc<Service>] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }
}
