//! Services and their endpoints, whatever they come from (translation §1).

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{Age, Locality, ObjectRef, Protocol, Visibility};

/// A host name: FQDN in lower case, possibly with a leading `*.` wildcard.
pub type Host = Arc<str>;

/// A namespace's name.
pub type Namespace = Arc<str>;

/// Labels of a workload or subset.
pub type Labels = BTreeMap<String, String>;

/// Which registry a service comes from; of services with one host Kubernetes' wins over a ServiceEntry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Registry {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    ServiceEntry,
}

/// How the members of a service are found (translation §1.1, §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resolution {
    /// The control plane knows them: EDS.
    ClientSideLb,
    /// Envoy resolves the names of all members: `STRICT_DNS`.
    Dns,
    /// Envoy resolves one name and uses one answer at a time: `LOGICAL_DNS`.
    DnsRoundRobin,
    /// The original destination.
    Passthrough,
    /// Envoy resolves the name of each request: dynamic forward proxy.
    DynamicDns,
    /// `ExternalName`: another name of a service.
    Alias,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Its name; endpoints refer to it. Empty for the only port of a service.
    pub name: Arc<str>,
    /// The port that clients use.
    pub number: u16,
    /// What it speaks (translation §1.2).
    pub protocol: Protocol,
    /// The port of the members where it is a number (Service `targetPort`, ServiceEntry `targetPort`).
    pub target: Option<u16>,
    /// The container port that a Service's `targetPort` names; empty where it is a number.
    pub target_name: Arc<str>,
}

/// A port of the workload that a service leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboundPort {
    /// The port of the workload.
    pub target: u16,
    /// What it speaks, by the oldest service.
    pub protocol: Protocol,
    /// The host of the service.
    pub host: Host,
    /// The port of the service.
    pub service_port: u16,
    /// The service's name.
    pub service: Arc<str>,
    /// The service's namespace.
    pub namespace: Arc<str>,
}

/// `trafficDistribution` (translation §1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrafficDistribution {
    /// Prefer the same zone.
    PreferSameZone,
    /// Prefer the same node.
    PreferSameNode,
}

/// A service: the same for Kubernetes Services and each host of a ServiceEntry. The hosts of a ServiceEntry share its lists,
/// so that an object with many hosts and many addresses takes no more memory than both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The FQDN.
    pub host: Host,
    /// The namespace of its object.
    pub namespace: Namespace,
    /// The object's name (`web` of `web.default.svc…`; the ServiceEntry's name).
    pub name: Arc<str>,
    /// The object.
    pub object: ObjectRef,
    /// Decides conflicts, oldest first.
    pub age: Age,
    /// Where it comes from.
    pub registry: Registry,
    /// How members are found.
    pub resolution: Resolution,
    /// The ports; UDP ones included.
    pub ports: Arc<[ServicePort]>,
    /// Virtual addresses, all families, the primary first; empty for headless and for services without addresses.
    /// A ServiceEntry may have networks in CIDR form: those are in `cidrs`.
    pub vips: Arc<[IpAddr]>,
    /// Address ranges of a ServiceEntry.
    pub cidrs: Arc<[ipnet::IpNet]>,
    /// Its members have IPv6 addresses: the first of a Kubernetes Service's `ipFamilies` is that one.
    pub primary_ipv6: bool,
    /// Who sees it; `None` is the mesh's default.
    pub visibility: Option<Arc<Visibility>>,
    /// Outside of the mesh: no auto mTLS.
    pub mesh_external: bool,
    /// A Kubernetes Service with `clusterIP: None`.
    pub headless: bool,
    /// `internalTrafficPolicy: Local`: only endpoints on the proxy's node.
    pub node_local: bool,
    /// Zone or node preference.
    pub traffic_distribution: Option<TrafficDistribution>,
    /// The target of an ExternalName Service.
    pub external_name: Option<Host>,
    /// SANs that members are expected to have, given by the user.
    pub subject_alt_names: Arc<[Arc<str>]>,
    /// Service accounts of its namespace that members are expected to have, given by the user.
    pub service_accounts: Vec<Arc<str>>,
    /// Labels that persistent sessions and selection look at.
    pub labels: Arc<Labels>,
    /// The pod selector of a Kubernetes Service; `None` without one.
    pub selector: Option<Labels>,
}

impl Service {
    /// Takes over what another service has equal lists of: comparing the two is quick from then on.
    pub fn share(&mut self, other: &Self) {
        share(&mut self.ports, &other.ports);
        share(&mut self.vips, &other.vips);
        share(&mut self.cidrs, &other.cidrs);
        share(&mut self.subject_alt_names, &other.subject_alt_names);
        share(&mut self.labels, &other.labels);
        if self.visibility == other.visibility {
            self.visibility.clone_from(&other.visibility);
        }
    }
}

fn share<T: PartialEq + ?Sized>(own: &mut Arc<T>, other: &Arc<T>) {
    if **own == **other {
        *own = Arc::clone(other);
    }
}

/// Health as it is published (translation §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Health {
    /// Ready.
    Healthy,
    /// Not ready.
    Unhealthy,
    /// Terminating, but serving sessions that persist.
    Draining,
    /// Terminating: never sent.
    Terminating,
}

/// Where a member listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name (ServiceEntry with DNS resolution).
    Hostname(Arc<str>),
    /// A Unix socket's path.
    Pipe(Arc<str>),
}

/// One member of a service, for one of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: EndpointAddress,
    /// Its port (0 for a Unix socket).
    pub port: u16,
    /// The name of the service port that it serves.
    pub port_name: Arc<str>,
    /// Health.
    pub health: Health,
    /// Where it runs.
    pub locality: Locality,
    /// The workload's labels, with those of topology added (translation §1.3).
    pub labels: Arc<Labels>,
    /// The network it is on; empty when unknown.
    pub network: Arc<str>,
    /// The cluster it is in.
    pub cluster: Arc<str>,
    /// Its node; empty when unknown.
    pub node: Arc<str>,
    /// Whether it takes Istio mutual TLS (`security.istio.io/tlsMode: istio`).
    pub tls_istio: bool,
    /// Its SPIFFE identity; empty when unknown.
    pub identity: Arc<str>,
    /// Load balancing weight; at least 1.
    pub weight: u32,
    /// `name;namespace;canonical name;revision;cluster` (translation §0), for metadata.
    pub workload: Arc<str>,
}
