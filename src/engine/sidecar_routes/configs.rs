//! Route configurations of sidecars, put together from virtual hosts.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    ConfigKey, Configs, HostFacets, HostKey, HostLabels, HostLayer, HostPorts, HostSite, VirtualHostItem,
    discovery::{DiscoveringConfig, has_any_host},
    seen,
};
use crate::{
    engine::{
        graph::{Cx, Layer, OwnPart, Query},
        index::LabelKeys,
        scope::Scope,
        sidecar_listeners::mesh_routes,
        stage,
    },
    model::{Code, Host, Labels, Namespace, ObjectRef, Problem, Proxy, mesh::OutboundPolicy},
    snapshot::{Encoder, Name, PartState, Refs, Resource, ResourceType, Slot, View},
    translate::{
        listeners::http_proxy::HTTP_PROXY_ROUTE,
        virtual_hosts::{
            HostEntry, LostDomain, catch_all, config_piece, host_and_port, proxy_config_piece, unique_domains,
            virtual_host_piece,
        },
    },
};

/// What of a sidecar decides its routes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct RouteFacts {
    pub(super) policy: OutboundPolicy,
    /// Those of its labels that configuration looks at.
    pub(super) labels: Labels,
    /// Whether it has a forward proxy.
    http_proxy: bool,
    /// Whether it discovers virtual hosts one by one.
    pub(in crate::engine) discovers_hosts: bool,
}

impl RouteFacts {
    pub(in crate::engine) fn of<Q: Query>(
        cx: &mut Cx<'_, Q>,
        proxy: &Proxy,
        policy: OutboundPolicy,
        http_proxy: bool,
    ) -> Self {
        let keys = cx.set(&LabelKeys(()));
        let discovers_hosts = proxy.discovers_hosts;
        Self { policy, labels: restricted(&proxy.labels, &keys), http_proxy, discovers_hosts }
    }

    /// The labels of some keys.
    pub(super) fn restricted_to(&self, keys: &[Arc<str>]) -> Labels {
        restricted(&self.labels, keys)
    }
}

fn restricted(labels: &Labels, keys: &[Arc<str>]) -> Labels {
    keys.iter().filter_map(|k| Some((k.to_string(), labels.get(&**k)?.clone()))).collect()
}

/// A route configuration of a sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Config {
    scopes: Vec<Scope>,
    facts: Arc<RouteFacts>,
    key: ConfigKey,
}

impl Query for Config {
    type Value = Slot;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        match &self.key {
            ConfigKey::Port(port) if self.facts.discovers_hosts => cx.get(&DiscoveringConfig(*port)),
            ConfigKey::Port(port) => Some(Arc::new(self.of_port(cx, *port))),
            ConfigKey::Sniffed(key, port) => self.of_host(cx, key, *port),
            ConfigKey::Proxy => Some(Arc::new(self.of_proxy(cx))),
        }
    }
}

impl ConfigKey {
    fn name(&self) -> Name {
        match self {
            Self::Port(port) => port.to_string().into(),
            Self::Sniffed(key, port) => host_and_port(&key.host, *port).into(),
            Self::Proxy => HTTP_PROXY_ROUTE.into(),
        }
    }
}

impl Config {
    /// What [`DiscoveringConfig`] and the virtual hosts of that port are, in one.
    fn of_port(&self, cx: &mut Cx<'_, Self>, port: u16) -> Resource {
        let mut layers = Vec::new();
        for scope in &self.scopes {
            self.add_layers(cx, scope, port, HostSite::Port, &mut layers);
        }
        let name = port.to_string();
        let mut pieces = vec![config_piece(&name)];
        let mut clusters = BTreeSet::new();
        for made in View::new(layers).resources().into_values() {
            pieces.push((made.version, made.body_bytes()));
            clusters.extend(made.refs.clusters.iter().cloned());
        }
        if !has_any_host(cx, &self.scopes, &self.facts.labels, port) {
            pieces.push(virtual_host_piece(&catch_all(self.facts.policy, None)));
        }
        let refs = Refs { clusters: clusters.into_iter().collect(), ..Refs::default() };
        Encoder::pieces(ResourceType::Route, name.into(), pieces, refs)
    }

    /// The hosts of all ports.
    fn of_proxy(&self, cx: &mut Cx<'_, Self>) -> Resource {
        let mut layers = Vec::new();
        for scope in &self.scopes {
            for port in cx.set(&HostPorts(scope.clone())).iter() {
                self.add_layers(cx, scope, *port, HostSite::Proxy, &mut layers);
            }
        }
        self.assemble_proxy(cx, layers)
    }

    fn add_layers(&self, cx: &mut Cx<'_, Self>, scope: &Scope, port: u16, site: HostSite, to: &mut Vec<PartState>) {
        for keys in cx.set(&HostLabels(scope.clone(), port)).iter() {
            let layer = HostLayer { scope: scope.clone(), port, labels: keys.clone() };
            to.push(cx.part(&layer, &HostFacets { labels: self.facts.restricted_to(keys), site }));
        }
    }

    fn assemble_proxy(&self, cx: &mut Cx<'_, Self>, layers: Vec<PartState>) -> Resource {
        let (name, config) = (HTTP_PROXY_ROUTE.into(), proxy_config_piece(HTTP_PROXY_ROUTE));
        let mut clusters = BTreeSet::new();
        let mut hosts = Vec::new();
        for made in View::new(layers).resources().into_values() {
            let host = made.name.rsplit_once(':').map_or(&*made.name, |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            hosts.push(HostEntry { host, piece: (made.version, made.body_bytes()) });
            clusters.extend(made.refs.clusters.iter().cloned());
        }
        let all_others = virtual_host_piece(&catch_all(self.facts.policy, None));
        hosts.push(HostEntry { host: String::new(), piece: all_others });
        unique_domains(&mut hosts).into_iter().for_each(|lost| self.report(cx, &lost));
        let pieces = std::iter::once(config).chain(hosts.into_iter().map(|h| h.piece)).collect();
        let refs = Refs { clusters: clusters.into_iter().collect(), ..Refs::default() };
        Encoder::pieces(ResourceType::Route, name, pieces, refs)
    }

    /// Tells whose domain another one has. That requests for no known host are those of a host `*` is no problem.
    fn report(&self, cx: &mut Cx<'_, Self>, lost: &LostDomain) {
        let client = self.scopes.iter().find_map(Scope::client).cloned();
        let loser = object_of(cx, &lost.loser, client.as_ref());
        let winner = object_of(cx, &lost.winner, client.as_ref());
        if let (Some(object), Some(winner)) = (loser, winner) {
            let field = if object.kind == "Service" { "metadata.name" } else { "spec.hosts" };
            let reason = format!("requests for {:?} are those of {winner}, which has the same domain", lost.domain);
            cx.problem(Problem { object, field: field.to_owned(), reason, code: Code::HostTaken });
        }
    }

    fn of_host(&self, cx: &mut Cx<'_, Self>, key: &HostKey, port: u16) -> Slot {
        let labels = self.facts.labels.clone();
        let host = cx.get(&VirtualHostItem { key: key.clone(), port, labels, site: HostSite::Sniffed })?;
        let name = host_and_port(&key.host, port);
        let pieces = vec![config_piece(&name), (host.version, host.body_bytes())];
        Some(Arc::new(Encoder::pieces(ResourceType::Route, name.into(), pieces, host.refs.clone())))
    }
}

/// The object that a virtual host is of, for clients of a namespace.
fn object_of<Q: Query>(cx: &mut Cx<'_, Q>, host: &str, client: Option<&Namespace>) -> Option<ObjectRef> {
    let host = Host::from(host);
    match seen(cx, &host, client) {
        Some(seen) => Some(seen.service.object.clone()),
        None => mesh_routes(cx, &host, client, None).first().map(|vs| vs.object.clone()),
    }
}

/// What decides the route configurations of a class of sidecars.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ConfigFacets {
    scopes: Vec<Scope>,
    facts: Arc<RouteFacts>,
}

impl Layer for Configs {
    type Facets = ConfigFacets;
    type Item = Config;
    fn item(&self, key: &ConfigKey, facets: &ConfigFacets) -> (Name, Config) {
        let ConfigFacets { scopes, facts } = facets.clone();
        (key.name(), Config { scopes, facts, key: key.clone() })
    }
}

/// The route configuration of the forward proxy, of sidecars of a class that have one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ProxyConfig(ConfigFacets);

impl Query for ProxyConfig {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY + 1;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let ConfigFacets { scopes, facts } = self.0.clone();
        let config = Config { scopes, facts, key: ConfigKey::Proxy };
        OwnPart::of(self, std::iter::once((config.key.name(), cx.get(&config))))
    }
}

/// The route parts of a sidecar, the deciding one first: of a sniffed service the narrowest scope decides.
pub(in crate::engine) fn parts<Q: Query>(
    cx: &mut Cx<'_, Q>,
    scopes: &[Scope],
    facts: &Arc<RouteFacts>,
) -> Vec<PartState> {
    let facets = ConfigFacets { scopes: scopes.to_vec(), facts: facts.clone() };
    let of_proxy = facts.http_proxy.then(|| cx.get(&ProxyConfig(facets.clone())).0);
    let of_scopes: Vec<_> = scopes.iter().map(|scope| cx.part(&Configs(scope.clone()), &facets)).collect();
    of_proxy.into_iter().chain(of_scopes).collect()
}
