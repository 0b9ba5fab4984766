//! What Kubernetes and WorkloadEntries tell about workloads: the facts that are joined to [`super::Endpoint`]s
//! (translation §1.3, §1.4).

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{Host, Labels, Locality, Namespace, ObjectRef, service::EndpointAddress};

/// A port of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SlicePort {
    /// The name of the service port that it serves; empty for an only port without a name.
    pub name: Arc<str>,
    /// The number.
    pub number: u16,
}

/// One endpoint of an EndpointSlice; addresses of one entry are equal in all but the address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SliceEntry {
    /// Addresses of the mesh's family.
    pub addresses: Vec<IpAddr>,
    /// Ready; unknown counts as ready.
    pub ready: bool,
    /// Serving; unknown counts as serving.
    pub serving: bool,
    /// Terminating; unknown counts as terminating, which only tells what is not ready.
    pub terminating: bool,
    /// The node; empty when unknown.
    pub node: Arc<str>,
    /// The zone of the entry; empty when unknown.
    pub zone: Arc<str>,
    /// The pod; empty when the entry is none.
    pub pod: Arc<str>,
    /// The host name of a member of a headless service; empty when it has none.
    pub hostname: Arc<str>,
}

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoints {
    /// The object.
    pub object: ObjectRef,
    /// The name of its Service, in the same namespace.
    pub service: Arc<str>,
    /// The namespace.
    pub namespace: Namespace,
    /// The ports that every entry serves.
    pub ports: Vec<SlicePort>,
    /// Whether the addresses are of IPv6.
    pub ipv6: bool,
    /// The members.
    pub entries: Vec<SliceEntry>,
}

/// What matters of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its labels.
    pub labels: Labels,
    /// Its service account.
    pub service_account: Arc<str>,
    /// Its node; empty while it is not scheduled.
    pub node: Arc<str>,
    /// Its addresses, the primary first.
    pub ips: Vec<IpAddr>,
    /// Whether it is ready and runs.
    pub ready: bool,
    /// Ports that its containers name.
    pub ports: BTreeMap<Arc<str>, u16>,
    /// The name of the workload that owns it (Deployment, StatefulSet, …).
    pub workload: Arc<str>,
}

/// What matters of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Region, zone and sub-zone of its labels.
    pub locality: Locality,
}

/// What matters of a Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its labels.
    pub labels: Labels,
    /// Its network (`topology.istio.io/network`); empty when not said.
    pub network: Arc<str>,
    /// The default traffic distribution of its services.
    pub traffic_distribution: Option<super::service::TrafficDistribution>,
}

/// A WorkloadEntry, or an endpoint inside of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadFacts {
    /// The object: a WorkloadEntry or the ServiceEntry.
    pub object: ObjectRef,
    /// Where it listens; `None` takes the host of the service (DNS) or is reached through a network's gateway.
    pub address: Option<EndpointAddress>,
    /// Ports by the names of service ports.
    pub ports: BTreeMap<Arc<str>, u16>,
    /// Its labels.
    pub labels: Labels,
    /// Its network; empty when not said.
    pub network: Arc<str>,
    /// Where it runs, said by the object or by its label.
    pub locality: Locality,
    /// Load balancing weight; at least 1.
    pub weight: u32,
    /// Its service account; empty when not said.
    pub service_account: Arc<str>,
    /// Whether it takes Istio mutual TLS.
    pub tls_istio: bool,
}

impl WorkloadFacts {
    /// Whether a selector chooses it.
    #[must_use]
    pub fn is_selected_by(&self, selector: &Labels) -> bool {
        selects(selector, &self.labels)
    }
}

/// The members of a ServiceEntry: those it lists, or those that it selects in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalMembers {
    /// The ServiceEntry.
    pub object: ObjectRef,
    /// The first of its hosts: the services of all have the same members, but for those without any, which are their own.
    pub host: Host,
    /// The endpoints it lists.
    pub endpoints: Vec<WorkloadFacts>,
    /// `workloadSelector`: Pods and WorkloadEntries of its namespace.
    pub selector: Option<Labels>,
}

/// Reads `region/zone/subzone`; a text without slashes may use dots, as labels cannot hold slashes.
#[must_use]
pub fn parse_locality(text: &str) -> Locality {
    let separator = if text.contains('/') { '/' } else { '.' };
    let mut parts = text.splitn(3, separator).map(Arc::from);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), subzone: next() }
}

/// Whether labels contain all of a selector's.
#[must_use]
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// The names of the labels that Istio reads or adds to endpoints.
pub mod label {
    /// Region of a node or endpoint.
    pub const REGION: &str = "topology.kubernetes.io/region";
    /// Zone.
    pub const ZONE: &str = "topology.kubernetes.io/zone";
    /// Region, before Kubernetes 1.17.
    pub const OLD_REGION: &str = "failure-domain.beta.kubernetes.io/region";
    /// Zone, before Kubernetes 1.17.
    pub const OLD_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
    /// Sub-zone.
    pub const SUBZONE: &str = "topology.istio.io/subzone";
    /// Cluster.
    pub const CLUSTER: &str = "topology.istio.io/cluster";
    /// Network.
    pub const NETWORK: &str = "topology.istio.io/network";
    /// Node name.
    pub const HOSTNAME: &str = "kubernetes.io/hostname";
    /// `region.zone.subzone` of a workload; dots or slashes.
    pub const LOCALITY: &str = "istio-locality";
    /// `istio` on workloads that take mutual TLS.
    pub const TLS_MODE: &str = "security.istio.io/tlsMode";
    /// The canonical name of a workload's service.
    pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
    /// Its revision.
    pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
    /// A cookie that binds a client to a member.
    pub const PERSISTENT_SESSION: &str = "istio.io/persistent-session";
    /// A header that binds a client to a member.
    pub const PERSISTENT_SESSION_HEADER: &str = "istio.io/persistent-session-header";
}
