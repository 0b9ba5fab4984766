//! Route configurations of sidecars: a virtual host per service port and per host of VirtualServices, assembled
//! per port and scope (translation §6.2).

mod configs;

use std::{collections::BTreeSet, sync::Arc};

use super::{
    destinations,
    gateway_routes::{HostPiece, Site, hash_key, http_routes},
    graph::{Cx, Db, Emission, Emit, Layer, Query, Set},
    index::{MeshRoutesByHost, ServicesByHost, VipOwners},
    inputs::VirtualServices,
    scope::Scope,
    services::{Exceptions, Outlook, Seen, mesh},
    sidecar_listeners::mesh_routes,
    sidecars::{Imports, imported_ports},
    stage,
};
use crate::{
    model::{
        Host, Labels, Namespace, Problem, Protocol, ProtocolClass, VirtualService, Visibility,
        destination_rule::{effective_policy, host_patterns},
        service::Resolution,
        virtual_service::{GatewayName, SourceFacets},
    },
    snapshot::{Encoder, Name, Refs, Slot},
    translate::{
        clusters::cluster_name,
        routes::{RouteOutput, default_route},
        virtual_hosts::{
            DomainInput, host_and_port, rule_domains, service_domains, sidecar_host, sniffed_host, virtual_host_piece,
        },
    },
};

pub(super) use self::configs::{RouteFacts, parts};

/// The port on which hosts of VirtualServices that are no services are served.
const RULE_PORT: u16 = 80;

/// The virtual hosts of a port in a scope that depend on the same labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HostLayer {
    scope: Scope,
    port: u16,
    labels: Arc<[Arc<str>]>,
}

/// A virtual host as clients of a namespace see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct HostKey {
    host: Host,
    client: Option<Namespace>,
}

impl Set for HostLayer {
    type Elem = HostKey;
    const STAGE: u8 = stage::LAYER;
}

/// Which labels the layers of a scope and port distinguish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HostLabels(Scope, u16);

impl Set for HostLabels {
    type Elem = Arc<[Arc<str>]>;
    const STAGE: u8 = stage::LAYER;
}

/// The route configurations of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Configs(Scope);

/// A route configuration: of a port, or of one sniffed service port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum ConfigKey {
    Port(u16),
    Sniffed(HostKey, u16),
}

impl Set for Configs {
    type Elem = ConfigKey;
    const STAGE: u8 = stage::LAYER;
}

/// What a host adds to a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    scope: Scope,
    key: HostKey,
    port: u16,
    labels: Arc<[Arc<str>]>,
    /// Whether it makes the port's route configuration exist.
    opens: bool,
    /// Whether it also has one of its own.
    sniffed: bool,
}

/// The virtual hosts of a service's host, for the mesh and for every namespace that differs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HostPlan(Host);

impl Query for HostPlan {
    type Value = Arc<Vec<Planned>>;
    const STAGE: u8 = stage::PLAN;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let mut clients: BTreeSet<Namespace> = (*cx.get(&Exceptions(self.0.clone()))).clone();
        let mut labels = BTreeSet::new();
        for pattern in host_patterns(&self.0) {
            for (_, key) in cx.set(&MeshRoutesByHost(pattern.as_str().into())).iter() {
                let Some(vs) = cx.input(&VirtualServices(key.clone())) else { continue };
                clients.extend(special_clients(&vs));
                labels.extend(source_labels(&vs));
            }
        }
        // Clients of the service's own namespace know it by its bare name too.
        for (_, _, key) in cx.set(&ServicesByHost(self.0.clone())).iter() {
            clients.insert(key.object.namespace.clone());
        }
        let labels: Arc<[Arc<str>]> = labels.into_iter().collect();
        let everyone = std::iter::once(None).chain(clients.into_iter().map(Some));
        let all = everyone.flat_map(|client| planned(cx, &self.0, client.as_ref(), &labels)).collect();
        Arc::new(all)
    }
}

/// Namespaces whose clients see a VirtualService differently from others.
fn special_clients(vs: &VirtualService) -> BTreeSet<Namespace> {
    let mut clients = match &vs.visibility {
        Visibility::Public => BTreeSet::new(),
        Visibility::Namespaces(set) => set.clone(),
    };
    if SourceFacets::of_http(vs).uses_namespace {
        let sources = vs.http.iter().flat_map(|r| r.matches.iter().map(|m| &m.source));
        clients.extend(sources.filter_map(|s| s.namespace.clone()));
    }
    clients
}

fn source_labels(vs: &VirtualService) -> impl Iterator<Item = Arc<str>> + '_ {
    let sources = vs.http.iter().flat_map(|r| r.matches.iter().map(|m| &m.source));
    sources.flat_map(|s| s.labels.keys().map(|k| k.as_str().into()))
}

fn planned<Q: Query>(
    cx: &mut Cx<'_, Q>,
    host: &Host,
    client: Option<&Namespace>,
    labels: &Arc<[Arc<str>]>,
) -> Vec<Planned> {
    let Some(seen) = seen(cx, host, client) else { return Vec::new() };
    let service = &seen.service;
    if service.resolution == Resolution::Alias {
        return Vec::new();
    }
    let addressed = service.vips.iter().any(|ip| !ip.is_unspecified());
    let routed = service.ports.iter().filter(|p| p.protocol != Protocol::Udp);
    let routed = routed.filter(|p| p.protocol.class() != ProtocolClass::Tcp).map(|p| {
        let sniffed = p.protocol.class() == ProtocolClass::Auto && (addressed || service.headless);
        Planned {
            scope: Scope::of(client),
            key: HostKey { host: host.clone(), client: client.cloned() },
            port: p.number,
            labels: labels.clone(),
            opens: !sniffed,
            sniffed,
        }
    });
    routed.collect()
}

/// What clients of a namespace see of a host; one that is nothing special sees what the mesh sees.
fn seen<Q: Query>(cx: &mut Cx<'_, Q>, host: &Host, client: Option<&Namespace>) -> Option<Arc<Seen>> {
    match client {
        Some(client) => destinations::seen(cx, host, client),
        None => cx.get(&Outlook { host: host.clone(), client: None, labels: None }),
    }
}

/// The plan of a host that a Sidecar object imports, in its scope.
fn imported<Q: Query>(cx: &mut Cx<'_, Q>, imports: &Imports, host: &Host) -> Vec<Planned> {
    let all = cx.get(&HostPlan(host.clone()));
    let own = Some(&imports.0.namespace);
    let client = all.iter().find(|p| p.key.client.as_ref() == own).and_then(|p| p.key.client.clone());
    let ports = imported_ports(cx, imports, host);
    let mine = all.iter().filter(|p| p.key.client == client);
    let mine = mine.filter(|p| ports.as_ref().is_none_or(|ports| ports.contains(&p.port)));
    mine.map(|p| Planned { scope: Scope::Sidecar(imports.0.clone()), ..p.clone() }).collect()
}

/// The hosts of a VirtualService that are no services.
fn rule_hosts<Q: Query>(cx: &mut Cx<'_, Q>, key: &VirtualServices) -> Vec<Planned> {
    let Some(vs) = cx.input(key) else { return Vec::new() };
    if !vs.gateways.contains(&GatewayName::Mesh) || vs.http.is_empty() {
        return Vec::new();
    }
    let labels: Arc<[Arc<str>]> = source_labels(&vs).collect::<BTreeSet<_>>().into_iter().collect();
    let mut clients: Vec<Option<Namespace>> = special_clients(&vs).into_iter().map(Some).collect();
    if vs.visibility == Visibility::Public {
        clients.push(None);
    }
    let mut all = Vec::new();
    for host in &vs.hosts {
        if !cx.set(&ServicesByHost(host.clone())).is_empty() {
            continue;
        }
        all.extend(clients.iter().map(|client| Planned {
            scope: Scope::of(client.as_ref()),
            key: HostKey { host: host.clone(), client: client.clone() },
            port: RULE_PORT,
            labels: labels.clone(),
            opens: true,
            sniffed: false,
        }));
    }
    all
}

/// Where planned hosts come from; each fills the three families of sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Service(Host),
    Imported(Imports, Host),
    Rules(VirtualServices),
}

impl Source {
    fn plan<Q: Query>(&self, cx: &mut Cx<'_, Q>) -> Vec<Planned> {
        match self {
            Self::Service(host) => (*cx.get(&HostPlan(host.clone()))).clone(),
            Self::Imported(imports, host) => imported(cx, imports, host),
            Self::Rules(key) => rule_hosts(cx, key),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitHosts(Source);

impl Emit for EmitHosts {
    type Into = HostLayer;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(HostLayer, HostKey)> {
        let plan = self.0.plan(cx);
        plan.into_iter().map(|p| (HostLayer { scope: p.scope, port: p.port, labels: p.labels }, p.key)).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitLabels(Source);

impl Emit for EmitLabels {
    type Into = HostLabels;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(HostLabels, Arc<[Arc<str>]>)> {
        self.0.plan(cx).into_iter().map(|p| (HostLabels(p.scope, p.port), p.labels)).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitConfigs(Source);

impl Emit for EmitConfigs {
    type Into = Configs;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Configs, ConfigKey)> {
        let plan = self.0.plan(cx).into_iter();
        let keys = plan.flat_map(|p| {
            let of_port = p.opens.then_some(ConfigKey::Port(p.port));
            let of_host = p.sniffed.then(|| ConfigKey::Sniffed(p.key.clone(), p.port));
            of_port.into_iter().chain(of_host).map(move |key| (Configs(p.scope.clone()), key))
        });
        keys.collect()
    }
}

/// Registers the emitters of virtual hosts.
pub(super) fn register(db: &mut Db) {
    db.emit_for_elements::<ServicesByHost, EmitHosts>(|set, _| EmitHosts(Source::Service(set.0.clone())));
    db.emit_for_elements::<ServicesByHost, EmitLabels>(|set, _| EmitLabels(Source::Service(set.0.clone())));
    db.emit_for_elements::<ServicesByHost, EmitConfigs>(|set, _| EmitConfigs(Source::Service(set.0.clone())));
    db.emit_for_elements::<Imports, EmitHosts>(|set, i| EmitHosts(Source::Imported(set.clone(), i.host.clone())));
    db.emit_for_elements::<Imports, EmitLabels>(|set, i| EmitLabels(Source::Imported(set.clone(), i.host.clone())));
    db.emit_for_elements::<Imports, EmitConfigs>(|set, i| EmitConfigs(Source::Imported(set.clone(), i.host.clone())));
    db.emit_for_input::<VirtualServices, EmitHosts>(|key| EmitHosts(Source::Rules(key.clone())));
    db.emit_for_input::<VirtualServices, EmitLabels>(|key| EmitLabels(Source::Rules(key.clone())));
    db.emit_for_input::<VirtualServices, EmitConfigs>(|key| EmitConfigs(Source::Rules(key.clone())));
}

/// The virtual host of a key at a port, for proxies with these labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct VirtualHostItem {
    key: HostKey,
    port: u16,
    labels: Labels,
    /// In the route configuration of its own, whatever the client calls it.
    sniffed: bool,
}

impl Layer for HostLayer {
    type Facets = Labels;
    type Item = VirtualHostItem;
    fn item(&self, key: &HostKey, labels: &Labels) -> (Name, VirtualHostItem) {
        let name = host_and_port(&key.host, self.port).into();
        (name, VirtualHostItem { key: key.clone(), port: self.port, labels: labels.clone(), sniffed: false })
    }
}

impl Query for VirtualHostItem {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        let made = self.build(cx)?;
        let refs = Refs { clusters: made.clusters.into_iter().collect(), ..Refs::default() };
        let name = host_and_port(&self.key.host, self.port).into();
        Some(Arc::new(Encoder::piece(name, made.piece, refs)))
    }
}

impl VirtualHostItem {
    fn build(&self, cx: &mut Cx<'_, Self>) -> Option<HostPiece> {
        let (host, client) = (&self.key.host, self.key.client.as_ref());
        let seen = seen(cx, host, client);
        let mut made = self.ruled(cx);
        if made.routes.is_empty() {
            made.clusters.clear();
            self.add_default(cx, seen.as_deref()?, &mut made);
        }
        made.problems.into_iter().for_each(|p| cx.problem(p));
        let virtual_host = if self.sniffed {
            sniffed_host(host, self.port, made.routes)
        } else {
            let domains = match &seen {
                Some(seen) => self.domains(cx, seen),
                None => rule_domains(host, None),
            };
            sidecar_host(host, self.port, domains, made.routes)
        };
        Some(HostPiece { piece: virtual_host_piece(&virtual_host), clusters: made.clusters })
    }

    /// The routes of the first VirtualService that has any for this proxy and port.
    fn ruled(&self, cx: &mut Cx<'_, Self>) -> RouteOutput {
        let client: Namespace = self.key.client.clone().unwrap_or_else(|| "".into());
        let found = mesh_routes(cx, &self.key.host, self.key.client.as_ref());
        for (place, vs) in found.iter().enumerate() {
            let site = Site {
                gateways: &[GatewayName::Mesh],
                labels: &self.labels,
                namespace: &client,
                port: self.port,
                tls: false,
            };
            let made = http_routes(cx, vs, &site);
            if !made.routes.is_empty() {
                self.report_unused(cx, vs, &found[place + 1..]);
                return made;
            }
        }
        RouteOutput::default()
    }

    /// In the mesh one VirtualService decides about a host (translation §6.1); it would be left out silently.
    fn report_unused(&self, cx: &mut Cx<'_, Self>, used: &VirtualService, others: &[Arc<VirtualService>]) {
        for vs in others.iter().filter(|vs| !vs.http.is_empty()) {
            let reason =
                format!("in the mesh, requests for {:?} follow the older {} instead", self.key.host, used.object);
            cx.problem(Problem { object: vs.object.clone(), field: "spec.hosts".to_owned(), reason });
        }
    }

    fn add_default(&self, cx: &mut Cx<'_, Self>, seen: &Seen, made: &mut RouteOutput) {
        let mesh = mesh(cx);
        let cluster = cluster_name(self.port, "", &self.key.host);
        let policy = effective_policy(seen.rule.as_deref(), "", self.port, &mesh);
        let hash = policy.as_ref().and_then(hash_key);
        made.routes.push(default_route(&cluster, hash.as_ref(), None));
        made.clusters.insert(cluster.into());
    }

    fn domains(&self, cx: &mut Cx<'_, Self>, seen: &Seen) -> Vec<String> {
        // Of services that share an address the oldest has it: Envoy refuses a domain that stands twice.
        let owned = |cx: &mut Cx<'_, Self>, ip| {
            let owners = cx.set(&VipOwners(ip, self.port));
            let Some((_, owner)) = owners.first().filter(|(_, key)| *key != seen.key) else { return true };
            let object = seen.service.object.clone();
            let field = if object.kind == "Service" { "spec.clusterIP" } else { "spec.addresses" };
            let reason = format!(
                "requests for {ip} on port {} are those of the older {}, which has the same address",
                self.port, owner.object
            );
            cx.problem(Problem { object, field: field.to_owned(), reason });
            false
        };
        let vips: Vec<_> = seen.service.vips.iter().copied().filter(|ip| owned(cx, *ip)).collect();
        let suffix = mesh(cx).domain_suffix.clone();
        let client = self.key.client.as_deref().unwrap_or("-");
        let input = DomainInput {
            service: &seen.service,
            aliases: &[],
            proxy_domain: &format!("{client}.svc.{suffix}"),
            vips: &vips,
            with_port: None,
        };
        service_domains(&input, &mut |name| !cx.set(&ServicesByHost(name.into())).is_empty())
    }
}
