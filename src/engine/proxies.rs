//! What each proxy has: which parts, and their content.

use std::sync::Arc;

use super::{
    builtin::BuiltinClusters,
    credentials::SidecarSecrets,
    filters::patches_for,
    gateways::RouterClass,
    graph::{Cx, Query},
    inbound::{InboundClusters, InboundFacts, InboundListener},
    inputs::{NamespacedName, Pods},
    names,
    scope::{ClusterLayer, FacetsIn, Family, Scope},
    services::mesh,
    sidecar_listeners::{self, ListenerFacts},
    sidecar_routes::{self, RouteFacts},
    sidecars, stage,
};
use crate::{
    model::{IpFamilies, Proxy, ProxyKind, workload::PodFacts},
    snapshot::{PartState, ResourceType, TypeMap, View},
    translate::{client::ClientFacts, names::Usable},
};

/// A part that a proxy has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// Clusters or assignments that it shares by scope and facets.
    Clusters(ClusterLayer, Arc<ClientFacts>),
    /// The clusters that every proxy of its kind has.
    Builtin(BuiltinClusters),
    /// What gateways of its class have.
    Router(Arc<RouterClass>),
    /// Secrets of sidecars.
    SidecarSecrets(SidecarSecrets),
    /// The inbound listener of sidecars beside a workload.
    InboundListener(InboundListener),
    /// Its clusters.
    InboundClusters(InboundClusters),
    /// Listeners of sidecars.
    SidecarListeners(Vec<Scope>, Arc<ListenerFacts>),
    /// Routes of sidecars.
    SidecarRoutes(Vec<Scope>, Arc<RouteFacts>),
    /// Virtual hosts of these, for sidecars that discover them.
    SidecarHosts(Vec<Scope>, Arc<RouteFacts>),
    /// The table of names, for agents that ask for it.
    Names(names::Table),
}

/// The parts of a type, the deciding one first.
type Parts = Arc<TypeMap<Vec<Part>>>;

/// Which class a proxy is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Enrol(pub(super) Arc<Proxy>);

impl Query for Enrol {
    type Value = Class;
    const STAGE: u8 = stage::ENROL;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Class {
        let pod = pod(cx, &self.0);
        // What the cluster knows counts, not what the proxy says (contract §2.1).
        let labels = pod.as_ref().map_or_else(|| self.0.labels.clone(), |pod| pod.labels.clone());
        // Facets are taken of the proxy with the labels that the cluster knows.
        let proxy = Proxy { labels: labels.clone(), ..(*self.0).clone() };
        let mut parts = TypeMap::<Vec<Part>>::default();
        let sidecar = match proxy.kind {
            ProxyKind::Sidecar => sidecars::selected(cx, &proxy.namespace, &labels),
            ProxyKind::Router => None,
        };
        let scopes = match &sidecar {
            Some((scope, _)) => vec![Scope::Sidecar(scope.clone())],
            None => vec![Scope::Namespace(proxy.namespace.clone()), Scope::Mesh],
        };
        let builtin = BuiltinClusters(match proxy.kind {
            ProxyKind::Router => None,
            ProxyKind::Sidecar => Some(IpFamilies::of(&proxy.ips)),
        });
        parts[ResourceType::Cluster].push(Part::Builtin(builtin));
        for scope in &scopes {
            let shared = [(Family::Clusters, ResourceType::Cluster), (Family::Assignments, ResourceType::Endpoint)];
            for (family, t) in shared {
                for facets in cx.set(&FacetsIn { family, scope: scope.clone() }).iter() {
                    let layer = ClusterLayer { family, scope: scope.clone(), facets: facets.clone() };
                    parts[t].push(Part::Clusters(layer, Arc::new(facets.of(&proxy))));
                }
            }
        }
        if proxy.dns_capture {
            let usable = Usable::of(IpFamilies::of(&proxy.ips));
            parts[ResourceType::NameTable].push(Part::Names(names::Table { scopes: scopes.clone(), usable }));
        }
        match proxy.kind {
            ProxyKind::Router => {
                let own = Part::Router(Arc::new(RouterClass::of(cx, &proxy, &labels)));
                for t in [ResourceType::Listener, ResourceType::Route, ResourceType::Secret] {
                    parts[t].push(own.clone());
                }
            }
            ProxyKind::Sidecar => {
                parts[ResourceType::Secret].push(Part::SidecarSecrets(SidecarSecrets(proxy.namespace.clone())));
                let mesh = mesh(cx);
                let policy = sidecar.and_then(|(_, s)| s.outbound_policy).unwrap_or(mesh.outbound_policy);
                let http_proxy_port = proxy.http_proxy_port.unwrap_or(mesh.proxy_http_port);
                let filters = patches_for(cx, &proxy, &labels);
                let inbound = InboundFacts::of(cx, &proxy, &labels, pod.as_deref(), filters.clone());
                parts[ResourceType::Cluster].extend(InboundClusters::of(&inbound).map(Part::InboundClusters));
                let inbound = InboundListener(Arc::new(inbound));
                parts[ResourceType::Listener].push(Part::InboundListener(inbound));
                let facts = ListenerFacts {
                    families: IpFamilies::of(&proxy.ips),
                    interception: proxy.interception,
                    policy,
                    unprivileged: proxy.unprivileged,
                    http_proxy_port,
                    filters,
                };
                parts[ResourceType::Listener].push(Part::SidecarListeners(scopes.clone(), Arc::new(facts)));
                let facts = RouteFacts::of(cx, &proxy, policy, http_proxy_port != 0);
                let facts = Arc::new(facts);
                if facts.discovers_hosts {
                    parts[ResourceType::VirtualHost].push(Part::SidecarHosts(scopes.clone(), facts.clone()));
                }
                parts[ResourceType::Route].push(Part::SidecarRoutes(scopes, facts));
            }
        }
        Class(Arc::new(parts))
    }
}

/// The Pod of a proxy, when it is known.
fn pod<Q: Query>(cx: &mut Cx<'_, Q>, proxy: &Proxy) -> Option<Arc<PodFacts>> {
    let (pod, namespace) = proxy.id.rsplit_once('.')?;
    cx.input(&Pods(NamespacedName::new(namespace, pod)))
}

/// The content of a list of parts: shared by the proxies that have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Class(Parts);

/// The resources of a class of proxies.
#[derive(Clone, Debug)]
pub(super) struct Views(Arc<TypeMap<View>>);

impl Views {
    pub(super) fn to_views(&self) -> TypeMap<View> {
        (*self.0).clone()
    }
}

impl PartialEq for Views {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.iter().zip(other.0.iter()).all(|((_, a), (_, b))| a.same_as(b))
    }
}

impl Query for Class {
    type Value = Views;
    const STAGE: u8 = stage::CLASS;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Views {
        let mut views = TypeMap::<View>::default();
        for (t, parts) in self.0.iter() {
            let mut states: Vec<PartState> = Vec::new();
            for part in parts {
                match part {
                    Part::Clusters(layer, client) => states.push(cx.part(layer, client)),
                    Part::Builtin(clusters) => states.push(cx.get(clusters).0),
                    Part::Router(class) => states.extend(class.own_part(cx, t).map(|p| p.0)),
                    Part::SidecarSecrets(secrets) => states.push(cx.get(secrets).0),
                    Part::InboundListener(listener) => states.push(cx.get(listener).0),
                    Part::InboundClusters(clusters) => states.push(cx.get(clusters).0),
                    Part::SidecarListeners(scopes, facts) => states.extend(sidecar_listeners::parts(cx, scopes, facts)),
                    Part::SidecarRoutes(scopes, facts) => states.extend(sidecar_routes::parts(cx, scopes, facts)),
                    Part::SidecarHosts(scopes, facts) => states.extend(sidecar_routes::host_parts(cx, scopes, facts)),
                    Part::Names(table) => states.push(cx.get(table).0),
                }
            }
            states.retain(|state| !state.map.is_empty());
            views[t] = View::new(states);
        }
        Views(Arc::new(views))
    }
}
