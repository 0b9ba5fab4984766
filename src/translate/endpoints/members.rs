//! Joining what slices, pods, nodes and WorkloadEntries say to endpoints (translation §1.3, §1.4).

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::health;
use crate::model::{
    Endpoint, Labels, Locality, MeshConfig, Service,
    service::{EndpointAddress, Health, Resolution, ServicePort},
    workload::{NodeFacts, PodFacts, SliceEndpoints, SliceEntry, WorkloadFacts, label, parse_locality},
};

/// What endpoints take from their surroundings.
#[derive(Clone, Copy, Debug)]
pub struct MemberContext<'a> {
    /// The mesh: the trust domain of identities.
    pub mesh: &'a MeshConfig,
    /// The cluster that the objects are read from.
    pub cluster: &'a Arc<str>,
    /// The network of the namespace, else of the cluster; empty when unknown.
    pub network: &'a Arc<str>,
}

/// Endpoints of a slice, and the pods that it names and that are not known (yet): their endpoints wait, because
/// labels, identity and TLS mode are the pod's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceMembers {
    /// The endpoints, each address once per port.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Names of unknown pods in the slice's namespace.
    pub unknown_pods: BTreeSet<Arc<str>>,
}

/// The endpoints of a slice of a service. `pod` finds pods of the slice's namespace, `node` finds nodes, both by
/// name.
pub fn of_slice(
    slice: &SliceEndpoints,
    service: &Service,
    pod: impl Fn(&str) -> Option<Arc<PodFacts>>,
    node: impl Fn(&str) -> Option<Arc<NodeFacts>>,
    context: &MemberContext<'_>,
) -> SliceMembers {
    let mut made = SliceMembers::default();
    let mut seen = BTreeSet::new();
    for entry in &slice.entries {
        let facts = if entry.pod.is_empty() { None } else { pod(&entry.pod) };
        if facts.is_none() && !entry.pod.is_empty() {
            made.unknown_pods.insert(entry.pod.clone());
            continue;
        }
        let mut template = slice_template(slice, entry, service, facts.as_deref(), &node, context);
        if let Some(before) = made.endpoints.last() {
            share(&mut template, before);
        }
        for port in &slice.ports {
            for ip in &entry.addresses {
                if seen.insert((*ip, port.name.clone())) {
                    let (address, port_name) = (EndpointAddress::Ip(*ip), port.name.clone());
                    made.endpoints.push(Arc::new(Endpoint {
                        address,
                        port: port.number,
                        port_name,
                        ..template.clone()
                    }));
                }
            }
        }
    }
    made
}

/// Members of a service are much the same: what one has in common with the one before it is in memory once.
fn share(one: &mut Endpoint, before: &Endpoint) {
    fn once<T: PartialEq + ?Sized>(own: &mut Arc<T>, other: &Arc<T>) {
        if own == other {
            own.clone_from(other);
        }
    }
    once(&mut one.labels, &before.labels);
    once(&mut one.network, &before.network);
    once(&mut one.cluster, &before.cluster);
    once(&mut one.node, &before.node);
    once(&mut one.identity, &before.identity);
    once(&mut one.workload, &before.workload);
}

/// What all addresses and ports of an entry have in common.
fn slice_template(
    slice: &SliceEndpoints,
    entry: &SliceEntry,
    service: &Service,
    pod: Option<&PodFacts>,
    node: impl Fn(&str) -> Option<Arc<NodeFacts>>,
    context: &MemberContext<'_>,
) -> Endpoint {
    let node_name = if entry.node.is_empty() { pod.map_or("", |p| &p.node) } else { &entry.node };
    let of_node = if node_name.is_empty() { None } else { node(node_name) };
    let fallback = || Locality { zone: entry.zone.clone(), ..Locality::default() };
    let empty = Labels::new();
    let labels = pod.map_or(&empty, |p| &p.labels);
    let workload = Workload {
        name: pod.map_or("", |p| &p.workload),
        namespace: &slice.namespace,
        labels,
        service_account: pod.map_or("", |p| &p.service_account),
        locality: pod_locality(labels, || of_node.map_or_else(fallback, |n| n.locality.clone())),
        network: "",
        node: node_name,
    };
    Endpoint { health: slice_health(entry, service), ..workload.endpoint(context) }
}

/// Where a pod runs: its label goes before its node.
fn pod_locality(labels: &Labels, of_node: impl FnOnce() -> Locality) -> Locality {
    labels.get(label::LOCALITY).map_or_else(of_node, |text| parse_locality(text))
}

fn slice_health(entry: &SliceEntry, service: &Service) -> Health {
    if entry.ready {
        Health::Healthy
    } else if entry.terminating && entry.serving && health::keeps_sessions(service) {
        Health::Draining
    } else if entry.terminating {
        Health::Terminating
    } else {
        Health::Unhealthy
    }
}

/// The endpoints of a workload that is listed in a ServiceEntry, or selected by the service when `selected`.
#[must_use]
pub fn of_workload(
    workload: &WorkloadFacts,
    service: &Service,
    selected: bool,
    context: &MemberContext<'_>,
) -> Vec<Arc<Endpoint>> {
    let dns = matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    let usable = match &workload.address {
        None => false,
        Some(EndpointAddress::Ip(_)) => true,
        Some(EndpointAddress::Hostname(_)) => dns,
        // Envoy resolves no socket paths; the reference takes them for selected workloads of DNS services only.
        Some(EndpointAddress::Pipe(_)) => !dns && !selected,
    };
    let Some(address) = workload.address.as_ref().filter(|_| usable) else { return Vec::new() };
    let template = Endpoint {
        address: address.clone(),
        weight: workload.weight.max(1),
        tls_istio: workload.tls_istio,
        ..Workload {
            name: &workload.object.name,
            namespace: &workload.object.namespace,
            labels: &workload.labels,
            service_account: &workload.service_account,
            locality: workload.locality.clone(),
            network: &workload.network,
            node: "",
        }
        .endpoint(context)
    };
    let pipe = matches!(address, EndpointAddress::Pipe(_));
    let number = |port: &ServicePort| if pipe { 0 } else { target_of(port, workload.ports.get(&port.name).copied()) };
    per_port(service, &template, number)
}

/// The endpoints of a pod that a ServiceEntry selects.
#[must_use]
pub fn of_pod(
    pod: &PodFacts,
    node: Option<&NodeFacts>,
    service: &Service,
    context: &MemberContext<'_>,
) -> Vec<Arc<Endpoint>> {
    let Some(ip) = pod.ips.first().filter(|_| pod.ready) else { return Vec::new() };
    let template = Endpoint {
        address: EndpointAddress::Ip(*ip),
        ..Workload {
            name: &pod.workload,
            namespace: &pod.namespace,
            labels: &pod.labels,
            service_account: &pod.service_account,
            locality: pod_locality(&pod.labels, || node.map(|n| n.locality.clone()).unwrap_or_default()),
            network: "",
            node: &pod.node,
        }
        .endpoint(context)
    };
    per_port(service, &template, |port| target_of(port, None))
}

/// The only member of a DNS service without endpoints: its own host.
#[must_use]
pub fn of_host(service: &Service, context: &MemberContext<'_>) -> Vec<Arc<Endpoint>> {
    let template = Endpoint {
        address: EndpointAddress::Hostname(service.host.clone()),
        ..Workload {
            name: &service.name,
            namespace: &service.namespace,
            labels: &Labels::new(),
            service_account: "",
            locality: Locality::default(),
            network: "",
            node: "",
        }
        .endpoint(context)
    };
    per_port(service, &template, |port| target_of(port, None))
}

fn target_of(port: &ServicePort, own: Option<u16>) -> u16 {
    own.or(port.target).unwrap_or(port.number)
}

fn per_port(service: &Service, template: &Endpoint, number: impl Fn(&ServicePort) -> u16) -> Vec<Arc<Endpoint>> {
    let one = |port: &ServicePort| Endpoint { port: number(port), port_name: port.name.clone(), ..template.clone() };
    service.ports.iter().map(one).map(Arc::new).collect()
}

/// A workload, from wherever it is known.
struct Workload<'a> {
    name: &'a str,
    namespace: &'a str,
    labels: &'a Labels,
    service_account: &'a str,
    locality: Locality,
    network: &'a str,
    node: &'a str,
}

impl Workload<'_> {
    /// An endpoint of this workload, without address and port.
    fn endpoint(self, context: &MemberContext<'_>) -> Endpoint {
        let network = [self.labels.get(label::NETWORK).map_or("", String::as_str), self.network]
            .into_iter()
            .find(|n| !n.is_empty())
            .map_or_else(|| context.network.clone(), Arc::from);
        let labels = Arc::new(self.labels_with_topology(&network, context.cluster));
        Endpoint {
            address: EndpointAddress::Ip(IpAddr::from([0, 0, 0, 0])),
            port: 0,
            port_name: "".into(),
            health: Health::Healthy,
            identity: self.identity(&context.mesh.trust_domain),
            workload: self.description(context.cluster),
            tls_istio: self.labels.get(label::TLS_MODE).is_some_and(|mode| mode == "istio"),
            locality: self.locality,
            labels,
            network,
            cluster: context.cluster.clone(),
            node: self.node.into(),
            weight: 1,
        }
    }

    fn labels_with_topology(&self, network: &str, cluster: &str) -> Labels {
        let mut labels = self.labels.clone();
        let topology = [
            (label::REGION, &*self.locality.region),
            (label::ZONE, &*self.locality.zone),
            (label::SUBZONE, &*self.locality.subzone),
            (label::CLUSTER, cluster),
            (label::NETWORK, network),
            (label::HOSTNAME, self.node),
        ];
        let known = topology.into_iter().filter(|(_, value)| !value.is_empty());
        labels.extend(known.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels
    }

    fn identity(&self, trust_domain: &str) -> Arc<str> {
        match self.service_account {
            "" => "".into(),
            account => format!("spiffe://{trust_domain}/ns/{}/sa/{account}", self.namespace).into(),
        }
    }

    /// `name;namespace;canonical name;revision;cluster`; the revision `latest` is left out.
    fn description(&self, cluster: &str) -> Arc<str> {
        let first =
            |keys: &[&str], default| keys.iter().find_map(|k| self.labels.get(*k)).map_or(default, String::as_str);
        let canonical = first(&[label::CANONICAL_NAME, "app.kubernetes.io/name", "app"], self.name);
        let revision = first(&[label::CANONICAL_REVISION, "app.kubernetes.io/version", "version"], "");
        let revision = if revision == "latest" { "" } else { revision };
        format!("{};{};{canonical};{revision};{cluster}", self.name, self.namespace).into()
    }
}
