//! Everything that a sidecar is sent, by the functions that the engine's queries call, in their order. No case has
//! VirtualServices of the mesh, Sidecars or a forward proxy.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::Route;
use mizzen::{
    model::{
        EffectivePolicy, IpFamilies, Protocol, ProtocolClass, Service, ServicePort, peer_authentication::PeerMtls,
    },
    snapshot::{Encoder, Name, Refs, Resource, ResourceType, Version},
    translate::{
        clusters::{black_hole, cluster_name, inbound_passthrough, offers_http, passthrough},
        l4::{self, L4Cluster},
        listeners::{
            sidecar_outbound::{
                Contribution, ListenerKey, Place, PortOfService, SidecarInput, contribute, outbound_listener,
            },
            virtual_inbound::{InboundInput, virtual_inbound},
            virtual_outbound::virtual_outbound,
        },
        routes::{ClusterRef, default_route},
        virtual_hosts::{
            DomainInput, alias_host, catch_all, config_piece, host_and_port, service_domains, sidecar_host,
            sniffed_host, virtual_host_piece,
        },
    },
};

use super::model::{Made, Model};

/// Makes clusters, listeners and route configurations.
pub(super) fn everything(model: &Model) -> Made {
    let mesh = &model.mesh;
    let mut made = Made::default();
    made[ResourceType::Cluster] =
        model.clusters(&[black_hole(mesh), passthrough(mesh), inbound_passthrough(mesh, model.families)]);
    made[ResourceType::Listener] = listeners(model);
    made[ResourceType::Route] = configurations(model);
    made
}

/// The virtual listeners, and those that service ports add up to.
fn listeners(model: &Model) -> Vec<Resource> {
    let (mesh, families, interception) = (&model.mesh, model.families, model.proxy.interception);
    let input = SidecarInput { mesh, families, policy: mesh.outbound_policy, unprivileged: model.proxy.unprivileged };
    let outbound = virtual_outbound(&input, interception);
    let peer = PeerMtls::default();
    let inbound = InboundInput { mesh, families, interception, deny_all: false, ports: &[], peer: &peer };
    let inbound = virtual_inbound(&inbound);
    let usable = |place: &Place| !matches!(place, Place::Captured(ip) if !families.supports(*ip));
    let contributed = contributions(model).into_iter().filter(|(key, _)| usable(&key.place));
    let contributed = contributed.map(|(key, contributions)| outbound_listener(&key, &contributions, &input));
    outbound.into_iter().chain(inbound).chain(contributed).filter_map(|listener| listener.resource()).collect()
}

/// What each service port brings to which listener. What all HTTP ports of a protocol bring is there once.
fn contributions(model: &Model) -> BTreeMap<ListenerKey, Vec<Arc<Contribution>>> {
    let mut all: BTreeMap<ListenerKey, Vec<Arc<Contribution>>> = BTreeMap::new();
    let ports = model.services().flat_map(|service| service.ports.iter().map(move |port| (service, port)));
    for (service, port) in ports {
        let default = l4::to_service(L4Cluster {
            name: cluster_name(port.number, "", &service.host).into(),
            policy: model.policy("", port.number),
        });
        let of =
            PortOfService { service, port, egress: None, default: &default, aliases: &[], routes: &[], members: &[] };
        for (key, made) in contribute(&of, IpFamilies::V4V6, &model.mesh) {
            let shared = made.tcp.is_empty() && key.place == Place::Wildcard;
            let there = all.entry(key).or_default();
            if !(shared && there.iter().any(|c| c.tcp.is_empty() && c.protocol == made.protocol)) {
                there.push(Arc::new(made));
            }
        }
    }
    all
}

/// An encoded virtual host with its cluster.
type HostPiece = ((Version, Bytes), Name);

/// A route configuration for each sniffed service port that has an address, and one for each port of the others.
fn configurations(model: &Model) -> Vec<Resource> {
    let mut by_port: BTreeMap<u16, BTreeMap<String, HostPiece>> = BTreeMap::new();
    let mut made = Vec::new();
    for service in model.services() {
        let addressed = service.vips.iter().any(|ip| !ip.is_unspecified());
        for port in service.ports.iter().filter(|p| is_routed(p)) {
            let (name, (route, cluster)) = (host_and_port(&service.host, port.number), route(model, service, port));
            if port.protocol.class() == ProtocolClass::Auto && (addressed || service.headless) {
                let host = sniffed_host(&service.host, port.number, vec![route]);
                let pieces = vec![config_piece(&name), virtual_host_piece(&host)];
                made.push(configuration(&name, pieces, [cluster].into()));
            } else {
                let domains = domains(model, service, port.number);
                let host = sidecar_host(&service.host, port.number, domains, vec![route]);
                by_port.entry(port.number).or_default().insert(name, (virtual_host_piece(&host), cluster));
            }
        }
    }
    made.extend(by_port.into_iter().map(|(port, hosts)| of_port(model, port, hosts)));
    made
}

fn is_routed(port: &ServicePort) -> bool {
    port.protocol != Protocol::Udp && port.protocol.class() != ProtocolClass::Tcp
}

/// The route of all requests to a service, and its cluster.
fn route(model: &Model, service: &Service, port: &ServicePort) -> (Route, Name) {
    let policy = model.policy("", port.number);
    let to = ClusterRef {
        cluster: cluster_name(port.number, "", &service.host).into(),
        missing: None,
        hash: policy.as_ref().and_then(EffectivePolicy::hash_key),
        offers_http: policy.is_some_and(|policy| offers_http(service, port, &policy)),
    };
    (default_route(&to, model.mesh.default_retries.as_ref()), to.cluster)
}

/// The names and addresses of a service that are no other's.
fn domains(model: &Model, service: &Service, port: u16) -> Vec<String> {
    let vips: Vec<_> = service.vips.iter().copied().filter(|ip| model.owns(service, *ip, port)).collect();
    let input = DomainInput {
        service,
        aliases: &[],
        proxy_domain: &format!("{}.svc.{}", model.proxy.namespace, model.mesh.domain_suffix),
        vips: &vips,
        with_port: None,
    };
    let mut domains = service_domains(&input, &mut |name| model.service(name).is_some());
    domains.retain(|domain| match alias_host(domain).filter(|other| *other != &*service.host) {
        Some(other) => model.service(other).is_none(),
        None => true,
    });
    domains
}

fn of_port(model: &Model, port: u16, hosts: BTreeMap<String, HostPiece>) -> Resource {
    let name = port.to_string();
    let mut pieces = vec![config_piece(&name)];
    let mut clusters = BTreeSet::new();
    for (piece, cluster) in hosts.into_values() {
        pieces.push(piece);
        clusters.insert(cluster);
    }
    pieces.push(virtual_host_piece(&catch_all(model.mesh.outbound_policy, None)));
    configuration(&name, pieces, clusters)
}

fn configuration(name: &str, pieces: Vec<(Version, Bytes)>, clusters: BTreeSet<Name>) -> Resource {
    let refs = Refs { clusters: clusters.into_iter().collect(), ..Refs::default() };
    Encoder::pieces(ResourceType::Route, name.into(), pieces, refs)
}
