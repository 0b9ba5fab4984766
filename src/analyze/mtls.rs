//! Clients that are told to speak what servers are told to refuse.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Found, World};
use crate::model::{
    Code, DestinationRule, Labels, Namespace, PeerAuthentication, Service,
    destination_rule::{ClientTls, ClientTlsMode, TrafficPolicy},
    host::is_subset,
    peer_authentication::{MtlsMode, NamespacePeers, PeerMtls},
    service::Registry,
};

pub(super) fn check(world: &World, found: &mut Found) {
    let mut peers = Peers { world, of: BTreeMap::new() };
    for rule in &world.destination_rules {
        let exact = world.services_of(&rule.host).iter();
        let wide = world.services.iter().filter(|s| rule.host.starts_with('*') && is_subset(&s.host, &rule.host));
        let services = exact.chain(wide).filter(|s| s.registry == Registry::Kubernetes && !s.mesh_external);
        for service in services {
            check_service(&mut peers, rule, service, found);
        }
    }
}

/// What workloads accept, by namespace.
struct Peers<'a> {
    world: &'a World,
    of: BTreeMap<Namespace, Arc<NamespacePeers>>,
}

impl Peers<'_> {
    fn of(&mut self, namespace: &Namespace) -> Arc<NamespacePeers> {
        let world = self.world;
        let make = || {
            let root = &world.mesh.root_namespace;
            let here = |p: &&Arc<PeerAuthentication>| p.object.namespace == *namespace || p.object.namespace == *root;
            let own: Vec<_> = world.peers.iter().filter(here).cloned().collect();
            Arc::new(NamespacePeers::new(namespace, root, &own))
        };
        self.of.entry(namespace.clone()).or_insert_with(make).clone()
    }

    /// What the members of a service accept: those that are known, else what its own selector says of their labels.
    fn of_service(&mut self, service: &Service) -> Vec<PeerMtls> {
        let peers = self.of(&service.namespace);
        let none = Labels::new();
        let selector = service.selector.as_ref().unwrap_or(&none);
        let pods = self.world.selected(Some(&service.namespace), selector);
        let mut all: Vec<PeerMtls> = pods.filter(|_| !selector.is_empty()).map(|pod| peers.of(&pod.labels)).collect();
        if all.is_empty() {
            all.push(peers.of(selector));
        }
        all.sort();
        all.dedup();
        all
    }
}

fn check_service(peers: &mut Peers<'_>, rule: &DestinationRule, service: &Service, found: &mut Found) {
    let own = rule.policy.iter().map(|policy| (policy.clone(), "spec.trafficPolicy".to_owned()));
    let subsets = rule.subsets.iter().enumerate();
    let of_subsets = subsets.filter_map(|(n, s)| Some((s.policy.clone()?, format!("spec.subsets[{n}].trafficPolicy"))));
    let accepted = peers.of_service(service);
    // Ports that follow the same settings are told of once.
    let mut told = BTreeSet::new();
    for (policy, path) in own.chain(of_subsets) {
        for port in service.ports.iter() {
            let Some((tls, field)) = tls_of(&policy, &path, port.number) else { continue };
            let target = port.target.unwrap_or(port.number);
            let clash = accepted.iter().find_map(|accepts| clash(tls.mode, accepts.of_port(target)));
            if let Some(why) = clash.filter(|_| told.insert(field.clone())) {
                let reason = format!("port {} of {} {why}", port.number, service.object);
                found.add(Code::MtlsContradiction, &rule.object, format!("{field}.mode"), reason);
            }
        }
    }
}

/// The TLS settings of a port, and where they stand.
fn tls_of<'a>(policy: &'a TrafficPolicy, path: &str, port: u16) -> Option<(&'a ClientTls, String)> {
    let own = policy.ports.iter().enumerate().find(|(_, (number, _))| *number == port);
    match own {
        Some((n, (_, blocks))) => Some((blocks.tls.as_deref()?, format!("{path}.portLevelSettings[{n}].tls"))),
        None => Some((policy.blocks.tls.as_deref()?, format!("{path}.tls"))),
    }
}

fn clash(client: ClientTlsMode, server: MtlsMode) -> Option<&'static str> {
    match (client, server) {
        (ClientTlsMode::Disable, MtlsMode::Strict) => {
            Some("takes mutual TLS only (PeerAuthentication STRICT), and clients are told to use plaintext")
        }
        (ClientTlsMode::Simple | ClientTlsMode::Mutual, MtlsMode::Strict) => Some(
            "takes mutual TLS of the mesh only (PeerAuthentication STRICT), and clients are told to use another TLS",
        ),
        (ClientTlsMode::IstioMutual, MtlsMode::Disable) => {
            Some("takes plaintext only (PeerAuthentication DISABLE), and clients are told to use mutual TLS")
        }
        _ => None,
    }
}
