//! The members of services: slices joined with Pods and Nodes, endpoints of ServiceEntries, selected workloads.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    checks::Checked,
    graph::{Cx, Db, Emission, Emit, Query},
    index::{PodsIn, SlicesOf, WorkloadsLabelled},
    inputs::{External, NamespacedName, Namespaces, Nodes, Pods, ServiceKey, Slices, Workloads},
    services::mesh,
    stage,
};
use crate::{
    model::{
        Code, Endpoint, Labels, Namespace, ObjectRef, Problem, Service,
        service::{Registry, Resolution},
        workload::{ExternalMembers, selects},
    },
    translate::endpoints::members::{MemberContext, SliceMembers, of_host, of_pod, of_slice, of_workload},
};

/// The cluster that objects are read from (`--clusterID`'s default; contract §8).
const CLUSTER: &str = "Kubernetes";

/// The endpoints of one slice of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OfSlice {
    slice: NamespacedName,
    service: ServiceKey,
}

impl Query for OfSlice {
    type Value = Arc<SliceMembers>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let (Some(slice), Some(service)) = (cx.input(&Slices(self.slice.clone())), cx.input(&self.service)) else {
            return Arc::default();
        };
        if slice.ipv6 != service.primary_ipv6 {
            return Arc::default();
        }
        let surroundings = Surroundings::of(cx, &slice.namespace);
        let shared = RefCell::new(&mut *cx);
        let pod = |name: &str| shared.borrow_mut().input(&Pods(NamespacedName::new(&slice.namespace, name)));
        let node = |name: &str| shared.borrow_mut().input(&Nodes(name.into()));
        let made = of_slice(&slice, &service, pod, node, &surroundings.context());
        for pod in &made.unknown_pods {
            let reason = format!("Pod {}/{pod} is not known; its endpoints wait for it", slice.namespace);
            let field = "endpoints[].targetRef".to_owned();
            cx.problem(Problem { object: slice.object.clone(), field, reason, code: Code::PodUnknown });
        }
        Arc::new(made)
    }
}

/// Tells of slices whose addresses are not of the family that members of their Service have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CheckSlice(Slices);

impl Emit for CheckSlice {
    type Into = Checked;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Checked, ())> {
        let Some(slice) = cx.input(&self.0) else { return Vec::new() };
        let (name, namespace) = (&slice.service, &slice.namespace);
        let host = format!("{name}.{namespace}.svc.{}", mesh(cx).domain_suffix).into();
        let object = ObjectRef::new("Service", namespace, name);
        let service = cx.input(&ServiceKey::new(host, object));
        if let Some(service) = service.filter(|s| s.primary_ipv6 != slice.ipv6) {
            let [first, other] = if slice.ipv6 { ["IPv4", "IPv6"] } else { ["IPv6", "IPv4"] };
            let reason =
                format!("{other} addresses are not used: the first of the ipFamilies of {} is {first}", service.object);
            cx.problem(Problem {
                object: slice.object.clone(),
                field: "addressType".to_owned(),
                reason,
                code: Code::AddressFamilyUnused,
            });
        }
        Vec::new()
    }
}

/// Registers the check.
pub(super) fn register(db: &mut Db) {
    db.emit_for_input::<Slices, CheckSlice>(|key| CheckSlice(key.clone()));
}

/// All members of a service, of every port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Members(pub(super) ServiceKey);

impl Query for Members {
    type Value = Arc<[Arc<Endpoint>]>;
    const STAGE: u8 = stage::FACT2;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Some(service) = cx.input(&self.0) else { return Arc::default() };
        let mut all = match service.registry {
            Registry::Kubernetes => of_kubernetes(cx, &self.0, &service),
            Registry::ServiceEntry => return of_service_entry(cx, &self.0, &service),
        };
        keep_healthiest(&mut all);
        all.into()
    }
}

/// The members that the hosts of a ServiceEntry have in common, there once for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OfEntry(NamespacedName);

impl Query for OfEntry {
    type Value = Arc<[Arc<Endpoint>]>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Some(external) = cx.input(&External(self.0.clone())) else { return Arc::default() };
        let one = ServiceKey::new(external.host.clone(), external.object.clone());
        let Some(service) = cx.input(&one) else { return Arc::default() };
        let mut all = of_external(cx, &external, &service);
        keep_healthiest(&mut all);
        all.into()
    }
}

/// Leaves one of the members with the same address and port: an address may stand in two slices while it moves between
/// them, or while another Pod takes it over. Of such the healthiest counts, of those the first by slice's name.
fn keep_healthiest(all: &mut Vec<Arc<Endpoint>>) {
    let key = |e: &Endpoint| (e.address.clone(), e.port, e.port_name.clone());
    let mut best: BTreeMap<_, Arc<Endpoint>> = BTreeMap::new();
    for endpoint in all.iter() {
        let found = best.entry(key(endpoint)).or_insert_with(|| endpoint.clone());
        if endpoint.health < found.health {
            *found = endpoint.clone();
        }
    }
    if best.len() < all.len() {
        all.retain_mut(|e| {
            best.remove(&key(e)).is_some_and(|chosen| {
                *e = chosen;
                true
            })
        });
    }
}

/// The identities that a service's members may have, for verification.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identities(pub(super) ServiceKey);

impl Query for Identities {
    type Value = Arc<BTreeSet<Arc<str>>>;
    const STAGE: u8 = stage::OUTLOOK;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Some(service) = cx.input(&self.0) else { return Arc::default() };
        let members = cx.get(&Members(self.0.clone()));
        let mut all: BTreeSet<_> = members.iter().map(|m| m.identity.clone()).filter(|i| !i.is_empty()).collect();
        all.extend(service.subject_alt_names.iter().cloned());
        if !service.service_accounts.is_empty() {
            let (trust_domain, namespace) = (mesh(cx).trust_domain.clone(), &service.namespace);
            let given = service.service_accounts.iter();
            all.extend(given.map(|a| format!("spiffe://{trust_domain}/ns/{namespace}/sa/{a}").into()));
        }
        Arc::new(all)
    }
}

fn of_kubernetes(cx: &mut Cx<'_, Members>, key: &ServiceKey, service: &Service) -> Vec<Arc<Endpoint>> {
    let slices = cx.set(&SlicesOf(NamespacedName { namespace: service.namespace.clone(), name: service.name.clone() }));
    let mut all = Vec::new();
    for slice in slices.iter() {
        let members = cx.get(&OfSlice { slice: slice.clone(), service: key.clone() });
        all.extend(members.endpoints.iter().cloned());
    }
    // A Service with a selector also selects WorkloadEntries of its namespace (translation §1.3).
    if let (Some(selector), Resolution::ClientSideLb) = (&service.selector, service.resolution) {
        all.extend(of_workloads(cx, service, selector));
    }
    all
}

/// The WorkloadEntries that a service selects. One label of the selector is enough to find them: a change of an entry costs
/// nothing at services that it has no label of.
fn of_workloads<Q: Query>(cx: &mut Cx<'_, Q>, service: &Service, selector: &Labels) -> Vec<Arc<Endpoint>> {
    let surroundings = Surroundings::of(cx, &service.namespace);
    let (name, value) = selector.iter().next().map_or(("", ""), |(name, value)| (name.as_str(), value.as_str()));
    let mut all = Vec::new();
    for workload in cx.set(&WorkloadsLabelled(service.namespace.clone(), name.into(), value.into())).iter() {
        let Some(facts) = cx.input(&Workloads(workload.clone())) else { continue };
        if facts.is_selected_by(selector) {
            all.extend(of_workload(&facts, service, true, &surroundings.context()));
        }
    }
    all
}

fn of_service_entry(cx: &mut Cx<'_, Members>, key: &ServiceKey, service: &Service) -> Arc<[Arc<Endpoint>]> {
    let entry = NamespacedName::of(&key.object);
    let Some(external) = cx.input(&External(entry.clone())) else { return Arc::default() };
    let shared = cx.get(&OfEntry(entry));
    let by_name = matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    if shared.is_empty() && by_name && external.selector.is_none() && external.endpoints.is_empty() {
        return of_host(service, &Surroundings::of(cx, &service.namespace).context()).into();
    }
    shared
}

fn of_external(cx: &mut Cx<'_, OfEntry>, external: &ExternalMembers, service: &Service) -> Vec<Arc<Endpoint>> {
    let surroundings = Surroundings::of(cx, &service.namespace);
    let mut all = Vec::new();
    for endpoint in &external.endpoints {
        all.extend(of_workload(endpoint, service, false, &surroundings.context()));
    }
    if let Some(selector) = &external.selector {
        all.extend(of_workloads(cx, service, selector));
        for pod in cx.set(&PodsIn(service.namespace.clone())).iter() {
            let Some(facts) = cx.input(&Pods(pod.clone())).filter(|p| selects(selector, &p.labels)) else { continue };
            let node = cx.input(&Nodes(facts.node.clone()));
            all.extend(of_pod(&facts, node.as_deref(), service, &surroundings.context()));
        }
    }
    all
}

/// What endpoints of a namespace have in common.
struct Surroundings {
    mesh: Arc<crate::model::MeshConfig>,
    cluster: Arc<str>,
    network: Arc<str>,
}

impl Surroundings {
    fn of<Q: Query>(cx: &mut Cx<'_, Q>, namespace: &Namespace) -> Self {
        let facts = cx.input(&Namespaces(namespace.clone()));
        let network = facts.map_or_else(|| "".into(), |n| n.network.clone());
        Self { mesh: mesh(cx), cluster: CLUSTER.into(), network }
    }

    fn context(&self) -> MemberContext<'_> {
        MemberContext { mesh: &self.mesh, cluster: &self.cluster, network: &self.network }
    }
}
