//! The model of a case, converted from its objects and indexed, and what gateways and sidecars make of it alike.
//!
//! No case has DestinationRules: policies are those of the mesh.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use mizzen::{
    api::Object,
    model::{
        Age, Code, EffectivePolicy, Flaw, Gateway, Host, IpFamilies, MeshConfig, Problem, Proxy, Service,
        VirtualService,
        destination_rule::effective_policy,
        peer_authentication::NamespacePeers,
        virtual_service::{Destination, GatewayName},
    },
    reconcilers::{ConvertContext, gateway, service, virtual_service},
    snapshot::{Resource, TypeMap},
    translate::{
        clusters::{BuiltCluster, ClusterInput, cluster_name, facets, offers_http, outbound_cluster},
        routes::ClusterRef,
    },
};
use serde_json::Value;

use super::objects::decoded;

/// What a proxy is sent, by type.
pub(super) type Made = TypeMap<Vec<Resource>>;

/// The model as the engine's indexes give it to queries.
pub(super) struct Model {
    pub(super) mesh: MeshConfig,
    pub(super) proxy: Proxy,
    pub(super) families: IpFamilies,
    /// By host.
    services: HashMap<Host, Service>,
    /// The hosts of services, the oldest first.
    hosts: Vec<Host>,
    /// The oldest service of an address and port.
    owners: HashMap<(IpAddr, u16), Host>,
    /// All Gateways, the oldest first: they select the proxy.
    pub(super) gateways: Vec<Arc<Gateway>>,
    /// By the Gateways that they name, the oldest first.
    rules: HashMap<GatewayName, BTreeMap<Age, VirtualService>>,
}

impl Model {
    /// Converts objects, about which there is nothing to complain.
    pub(super) fn of(objects: &[Value], proxy: Proxy) -> Self {
        let mut model = Self {
            mesh: MeshConfig::default(),
            families: IpFamilies::of(&proxy.ips),
            proxy,
            services: HashMap::new(),
            hosts: Vec::new(),
            owners: HashMap::new(),
            gateways: Vec::new(),
            rules: HashMap::new(),
        };
        objects.iter().for_each(|object| model.add(decoded(object)));
        model.index();
        model
    }

    fn add(&mut self, object: Object) {
        let suffix = self.mesh.domain_suffix.clone();
        let context = ConvertContext { domain_suffix: &suffix };
        match object {
            Object::Service(o) => {
                let made = good(service::convert(&o, &context));
                self.services.insert(made.host.clone(), made);
            }
            Object::Gateway(o) => self.gateways.push(Arc::new(good(gateway::convert(&o)))),
            Object::VirtualService(o) => {
                let made = good(virtual_service::convert(&o, &context));
                for gateway in &made.gateways {
                    self.rules.entry(gateway.clone()).or_default().insert(made.age.clone(), made.clone());
                }
            }
            other => unreachable!("no case has a {}", other.kind().kind()),
        }
    }

    fn index(&mut self) {
        self.gateways.sort_by(|a, b| a.age.cmp(&b.age));
        let mut services: Vec<&Service> = self.services.values().collect();
        services.sort_by(|a, b| a.age.cmp(&b.age));
        self.hosts = services.iter().map(|s| s.host.clone()).collect();
        for service in services {
            for (ip, port) in service.vips.iter().flat_map(|ip| service.ports.iter().map(|p| (*ip, p.number))) {
                self.owners.entry((ip, port)).or_insert_with(|| service.host.clone());
            }
        }
    }

    /// The service of a host.
    pub(super) fn service(&self, host: &str) -> Option<&Service> {
        self.services.get(host)
    }

    /// The services, the oldest first.
    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.hosts.iter().map(|host| &self.services[host])
    }

    /// Whether connections to an address are a service's.
    pub(super) fn owns(&self, service: &Service, ip: IpAddr, port: u16) -> bool {
        self.owners.get(&(ip, port)) == Some(&service.host)
    }

    /// The VirtualServices that name a Gateway, the oldest first.
    pub(super) fn bound_to(&self, gateway: &GatewayName) -> impl Iterator<Item = &VirtualService> {
        self.rules.get(gateway).into_iter().flat_map(BTreeMap::values)
    }

    /// The policy of a service port; `None` when there is no such subset.
    pub(super) fn policy(&self, subset: &str, port: u16) -> Option<EffectivePolicy> {
        effective_policy(None, subset, port, &self.mesh)
    }

    /// Where a destination leads, from a listener's port.
    pub(super) fn resolve(&self, destination: &Destination, listener_port: u16) -> ClusterRef {
        let service = self.service(&destination.host);
        let sole = service.and_then(|s| if let [only] = &s.ports[..] { Some(only.number) } else { None });
        let port = destination.port.or(sole).unwrap_or(listener_port);
        let has_port = service.is_some_and(|s| s.ports.iter().any(|p| p.number == port));
        let policy = self.policy(&destination.subset, port).filter(|_| has_port);
        ClusterRef {
            cluster: cluster_name(port, &destination.subset, &destination.host).into(),
            missing: policy.is_none().then(|| {
                Flaw::new(Code::DestinationPortUnknown, format!("{} has no such port or subset", destination.host))
            }),
            hash: policy.as_ref().and_then(EffectivePolicy::hash_key),
            offers_http: service
                .and_then(|s| Some((s, s.ports.iter().find(|p| p.number == port)?, policy.as_ref()?)))
                .is_some_and(|(service, port, policy)| offers_http(service, port, policy)),
        }
    }

    /// The clusters of all services, besides some that are built in.
    pub(super) fn clusters(&self, builtin: &[BuiltCluster]) -> Vec<Resource> {
        let mut made: Vec<Resource> = builtin.iter().map(BuiltCluster::resource).collect();
        made.extend(self.services().flat_map(|service| self.clusters_of(service)));
        made
    }

    fn clusters_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = Resource> + 'a {
        service.ports.iter().filter_map(move |port| {
            let policy = self.policy("", port.number)?;
            let built = outbound_cluster(&ClusterInput {
                service,
                port,
                subset: None,
                rule: None,
                policy: &policy,
                mesh: &self.mesh,
                members: &[],
                identities: &BTreeSet::new(),
                peers: &NamespacePeers::default(),
                client: &facets(service, port, &policy, &self.mesh).of(&self.proxy),
            })?;
            Some(built.resource())
        })
    }
}

/// What was converted without problems.
fn good<T>((made, problems): (Option<T>, Vec<Problem>)) -> T {
    assert!(problems.is_empty(), "{problems:?}");
    made.expect("an object that is in use")
}
