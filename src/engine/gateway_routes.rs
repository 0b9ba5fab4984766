//! Route configurations of gateways: the virtual hosts of the VirtualServices bound to their servers
//! (translation §7.3, §7.4).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    destinations,
    gateways::{MergedGateways, RouterClass},
    graph::{Cx, Query},
    index::RoutesByGateway,
    inputs::{NamespacedName, VirtualServices},
    services::{mesh, visibility_of_rules},
    stage,
};
use crate::{
    model::{
        Age, EffectivePolicy, Host, Labels, Namespace, Problem, VirtualService,
        gateway::ServerHost,
        host::intersection,
        virtual_service::{Destination, GatewayName, HttpRoute, UNCONNECTED, resolve_delegates},
    },
    snapshot::{Encoder, Name, Refs, ResourceType, Slot, Version},
    translate::{
        l4::{self, L4Cluster, L4Site},
        listeners::{gateway::MergedServer, tcp::TcpRoute},
        routes::{ClusterRef, RouteInput, RouteOutput, routes},
        virtual_hosts::{blackhole, config_piece, gateway_host, virtual_host_piece},
    },
};

/// A route configuration of a class. When a VirtualService changes, only its own virtual hosts are made anew; here they are put
/// together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GatewayRoute {
    pub(super) class: Arc<RouterClass>,
    pub(super) name: Name,
}

impl Query for GatewayRoute {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        let hosts = cx.get(&GatewayHosts { class: self.class.clone(), name: self.name.clone() })?;
        let mut pieces = vec![config_piece(&self.name)];
        let mut clusters = BTreeSet::new();
        for host in &hosts.all {
            if let Some(made) = cx.get(host) {
                pieces.push(made.piece.clone());
                clusters.extend(made.clusters.iter().cloned());
            }
        }
        if pieces.len() == 1 {
            pieces.push(virtual_host_piece(&blackhole(hosts.port)));
        }
        let refs = Refs { clusters: clusters.into_iter().collect(), ..Refs::default() };
        Some(Arc::new(Encoder::pieces(ResourceType::Route, self.name.clone(), pieces, refs)))
    }
}

/// Which virtual hosts a route configuration has. Costs what is bound to its Gateways, when that or where it is bound to
/// changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct GatewayHosts {
    class: Arc<RouterClass>,
    name: Name,
}

/// The virtual hosts of a route configuration, by host.
#[derive(Debug, PartialEq)]
struct RouteHosts {
    port: u16,
    all: Vec<GatewayHost>,
}

impl Query for GatewayHosts {
    type Value = Option<Arc<RouteHosts>>;
    const STAGE: u8 = stage::PLAN;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let merged = cx.get(&MergedGateways(self.class.clone()));
        let servers: Vec<&MergedServer> = merged
            .listeners
            .iter()
            .flat_map(|l| &l.servers)
            .filter(|s| s.route.as_deref() == Some(&*self.name))
            .collect();
        let first = servers.first()?.server();
        let (port, tls) = (first.port, first.is_tls());
        let gateways: Arc<[GatewayName]> =
            servers.iter().map(|s| gateway_name(s)).collect::<BTreeSet<_>>().into_iter().collect();
        let made = self.hosts(cx, &servers).into_iter().map(|(host, bound)| GatewayHost {
            namespace: self.class.namespace.clone(),
            gateways: gateways.clone(),
            host,
            port,
            tls,
            require_tls: bound.require_tls,
            routes: bound.routes.into_iter().map(|(_, key)| key).collect(),
        });
        Some(Arc::new(RouteHosts { port, all: made.collect() }))
    }
}

/// What is bound to a host: VirtualServices, the oldest first.
#[derive(Default)]
struct Bound {
    routes: BTreeSet<(Age, NamespacedName)>,
    require_tls: bool,
}

impl GatewayHosts {
    /// The hosts of the servers with what is bound to them.
    fn hosts(&self, cx: &mut Cx<'_, Self>, servers: &[&MergedServer]) -> BTreeMap<Host, Bound> {
        let mut hosts: BTreeMap<Host, Bound> = BTreeMap::new();
        for merged in servers {
            let server = merged.server();
            let of_server: Arc<[ServerHost]> = server.hosts.as_slice().into();
            for (age, route) in cx.set(&RoutesByGateway(gateway_key(merged))).iter() {
                let client = self.class.namespace.clone();
                let admitted = cx.get(&AdmittedHosts { client, hosts: of_server.clone(), route: route.clone() });
                for host in admitted.iter() {
                    hosts.entry(host.clone()).or_default().routes.insert((age.clone(), route.clone()));
                }
            }
            if server.https_redirect {
                // Such a host exists without any VirtualService.
                for host in &server.hosts {
                    hosts.entry(host.host.clone()).or_default();
                }
            }
        }
        for merged in servers.iter().filter(|s| s.server().https_redirect) {
            let redirected = |host: &Host| merged.server().hosts.iter().any(|h| intersection(host, &h.host).is_some());
            hosts.iter_mut().filter(|(host, _)| redirected(host)).for_each(|(_, bound)| bound.require_tls = true);
        }
        hosts
    }
}

/// The hosts under which a VirtualService is served by a server with such hosts, to gateways of a namespace; none when
/// these do not see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AdmittedHosts {
    client: Namespace,
    hosts: Arc<[ServerHost]>,
    route: NamespacedName,
}

impl Query for AdmittedHosts {
    type Value = Arc<[Host]>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Some(vs) = cx.input(&VirtualServices(self.route.clone())) else { return Arc::default() };
        match visibility_of_rules(cx, &vs).admits(&self.client) {
            true => admitted_hosts(&self.hosts, &vs).into(),
            false => Arc::default(),
        }
    }
}

fn gateway_name(server: &MergedServer) -> GatewayName {
    GatewayName::Named(format!("{}/{}", server.gateway.namespace, server.gateway.name).into())
}

fn gateway_key(server: &MergedServer) -> NamespacedName {
    NamespacedName { namespace: server.gateway.namespace.clone(), name: server.gateway.name.clone() }
}

/// The VirtualServices that name a server's Gateway and are visible to the gateway's namespace, oldest first.
fn bound_to<Q: Query>(
    cx: &mut Cx<'_, Q>,
    server: &MergedServer,
    client: &Namespace,
) -> Vec<(Age, NamespacedName, Arc<VirtualService>)> {
    let keys = cx.set(&RoutesByGateway(gateway_key(server)));
    let found = keys.iter().filter_map(|(age, key)| {
        let vs = cx.input(&VirtualServices(key.clone()))?;
        visibility_of_rules(cx, &vs).admits(client).then(|| (age.clone(), key.clone(), vs))
    });
    found.collect()
}

/// The hosts under which a server with such hosts serves a VirtualService: of each pair that overlaps the narrower.
fn admitted_hosts(hosts: &[ServerHost], vs: &VirtualService) -> Vec<Host> {
    let admitting = hosts.iter().filter(|h| h.admits(&vs.object.namespace));
    let pairs = admitting.flat_map(|h| vs.hosts.iter().filter_map(|own| intersection(own, &h.host)));
    pairs.map(Host::from).collect()
}

/// A virtual host of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct GatewayHost {
    namespace: Namespace,
    gateways: Arc<[GatewayName]>,
    host: Host,
    port: u16,
    tls: bool,
    require_tls: bool,
    routes: Arc<[NamespacedName]>,
}

/// An encoded virtual host.
#[derive(Debug, PartialEq)]
pub(super) struct HostPiece {
    pub(super) piece: (Version, Bytes),
    pub(super) clusters: BTreeSet<Name>,
}

impl Query for GatewayHost {
    type Value = Option<Arc<HostPiece>>;
    const STAGE: u8 = stage::PLAN;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let labels = Labels::new();
        let mut all = RouteOutput::default();
        for key in self.routes.iter() {
            let Some(vs) = cx.input(&VirtualServices(key.clone())) else { continue };
            let made = http_routes(
                cx,
                &vs,
                &Site {
                    gateways: &self.gateways,
                    labels: &labels,
                    namespace: &self.namespace,
                    port: self.port,
                    tls: self.tls,
                },
            );
            all.routes.extend(made.routes);
            all.clusters.extend(made.clusters);
            made.problems.into_iter().for_each(|p| cx.problem(p));
        }
        if all.routes.is_empty() && !self.require_tls {
            return None;
        }
        let host = gateway_host(&self.host, self.port, all.routes, self.require_tls);
        Some(Arc::new(HostPiece { piece: virtual_host_piece(&host), clusters: all.clusters }))
    }
}

/// For whom HTTP rules are evaluated.
pub(super) struct Site<'a> {
    pub(super) gateways: &'a [GatewayName],
    pub(super) labels: &'a Labels,
    pub(super) namespace: &'a Namespace,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// The HTTP rules of a VirtualService, delegates included, as routes.
pub(super) fn http_routes<Q: Query>(cx: &mut Cx<'_, Q>, vs: &VirtualService, site: &Site<'_>) -> RouteOutput {
    let (rules, mut problems) = with_delegates(cx, vs);
    let mesh = mesh(cx);
    let input = RouteInput {
        object: &vs.object,
        semantics: vs.semantics,
        gateways: site.gateways,
        labels: site.labels,
        namespace: site.namespace,
        listener_port: site.port,
        tls: site.tls,
        http3: false,
        default_retries: mesh.default_retries.as_ref(),
        append_x_forwarded_host: false,
    };
    let mut out = routes(&input, &rules, &mut |destination| cluster_ref(cx, destination, site.namespace, site.port));
    problems.append(&mut out.problems);
    RouteOutput { problems, ..out }
}

/// The HTTP rules of a VirtualService with those of its delegates in their place, and what is wrong with them.
pub(super) fn with_delegates<Q: Query>(cx: &mut Cx<'_, Q>, vs: &VirtualService) -> (Vec<HttpRoute>, Vec<Problem>) {
    if !vs.has_delegates() {
        return (vs.http.clone(), Vec::new());
    }
    resolve_delegates(vs, &mut |namespace, name| {
        let key = NamespacedName { namespace: namespace.clone(), name: name.clone() };
        let delegate = cx.input(&VirtualServices(key))?;
        let seen = visibility_of_rules(cx, &delegate).admits(&vs.object.namespace);
        Some((delegate, seen))
    })
}

fn cluster_ref<Q: Query>(cx: &mut Cx<'_, Q>, destination: &Destination, client: &Namespace, port: u16) -> ClusterRef {
    let found = destinations::resolve(cx, destination, client, port);
    let hash = found.policy.as_ref().and_then(EffectivePolicy::hash_key);
    ClusterRef { hash, cluster: found.cluster, missing: found.missing, offers_http: found.offers_http }
}

/// The routes of connections of a server that is not HTTP: of the oldest VirtualService with any
/// (translation §7.5).
pub(super) fn tcp_routes<Q: Query>(cx: &mut Cx<'_, Q>, class: &RouterClass, server: &MergedServer) -> Vec<TcpRoute> {
    let gateways = [gateway_name(server)];
    let labels = Labels::new();
    let tls = server.server().tls.as_ref().is_some_and(|t| t.mode.is_passthrough());
    let port = server.server().port;
    let mut all = Vec::new();
    for (_, _, vs) in bound_to(cx, server, &class.namespace) {
        let hosts = admitted_hosts(&server.server().hosts, &vs);
        if hosts.is_empty() {
            continue;
        }
        let site =
            L4Site { gateways: &gateways, labels: &labels, namespace: &class.namespace, port, hosts: &hosts, tls };
        let made = l4::routes(&vs, &site, &mut |field, destination| {
            let found = destinations::resolve(cx, destination, &class.namespace, port);
            if let Some(missing) = found.missing {
                cx.problem(missing.then(UNCONNECTED).at(vs.object.clone(), field.to_owned()));
            }
            L4Cluster { name: found.cluster, policy: found.policy }
        });
        all.extend(made);
        if !tls && !all.is_empty() {
            break;
        }
    }
    all
}
