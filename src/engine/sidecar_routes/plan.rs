//! Which virtual hosts there are, for whom and on which ports (translation §2, §6.2).

use std::{collections::BTreeSet, sync::Arc};

use super::HostKey;
use crate::{
    engine::{
        destinations,
        graph::{Cx, Db, Emission, Emit, Query, Set},
        index::{MeshRoutesByHost, ServicesByHost, VipOwners},
        inputs::{NamespacedName, ServiceKey, VirtualServices},
        scope::{Scope, SidecarScope},
        services::{Exceptions, Outlook, Seen, mesh, visibility_of, visibility_of_rules},
        sidecars::{Import, ImportedRules, Imports, imported_ports, imports_host, imports_rules},
        stage,
    },
    model::{
        Host, Namespace, Protocol, ProtocolClass, Service, ServicePort, VirtualService, Visibility,
        destination_rule::host_patterns, service::Resolution, virtual_service::SourceFacets,
    },
    translate::virtual_hosts::aliases,
};

/// The port on which hosts of VirtualServices are served that have no service with a port.
const RULE_PORT: u16 = 80;

/// What a host adds to a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) scope: Scope,
    pub(super) key: HostKey,
    pub(super) port: u16,
    pub(super) labels: Arc<[Arc<str>]>,
    /// Whether it makes the port's route configuration exist.
    pub(super) opens: bool,
    /// Whether it also has one of its own.
    pub(super) sniffed: bool,
}

/// Where planned hosts come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A host of services.
    Service(Host),
    /// A host that a Sidecar object imports.
    Imported(Imports, Host),
    /// A host of VirtualServices, where no service has it.
    Ruled(Host),
    /// The same in the scope of a Sidecar object that imports such a VirtualService.
    ImportedRuled(ImportedRuleHosts, Host),
}

impl Source {
    pub(super) fn imported(imports: &Imports, import: &Import) -> Self {
        Self::Imported(imports.clone(), import.host.clone())
    }

    pub(super) fn imported_ruled(scope: &ImportedRuleHosts, host: &Host) -> Self {
        Self::ImportedRuled(scope.clone(), host.clone())
    }

    pub(super) fn plan<Q: Query>(&self, cx: &mut Cx<'_, Q>) -> Arc<[Planned]> {
        match self {
            Self::Service(host) => cx.get(&HostPlan(host.clone())),
            Self::Imported(imports, host) => cx.get(&ImportedPlan(imports.clone(), host.clone())),
            Self::Ruled(host) => cx.get(&RulePlan(host.clone())),
            Self::ImportedRuled(scope, host) => cx.get(&ImportedRulePlan(scope.0.clone(), host.clone())),
        }
    }
}

/// What clients of a namespace see of a host; one that is nothing special sees what the mesh sees.
pub(super) fn seen<Q: Query>(cx: &mut Cx<'_, Q>, host: &Host, client: Option<&Namespace>) -> Option<Arc<Seen>> {
    match client {
        Some(client) => destinations::seen(cx, host, client),
        None => cx.get(&Outlook { host: host.clone(), client: None, labels: None }),
    }
}

/// A VirtualService with its key.
type Rules = (NamespacedName, Arc<VirtualService>);

/// VirtualServices about hosts that are names of a service too: where such a host is served, it has the name.
fn alias_rules<Q: Query>(cx: &mut Cx<'_, Q>, service: &Service) -> Vec<Rules> {
    let suffix = mesh(cx).domain_suffix.clone();
    aliases(service, &suffix).iter().flat_map(|alias| rules_of(cx, &alias.as_str().into())).collect()
}

/// Namespaces that see services with a name or an address of a service differently from others.
fn alias_clients<Q: Query>(cx: &mut Cx<'_, Q>, service: &Service) -> BTreeSet<Namespace> {
    let suffix = mesh(cx).domain_suffix.clone();
    let mut rivals: BTreeSet<Host> = aliases(service, &suffix).iter().map(|alias| alias.as_str().into()).collect();
    rivals.retain(|alias| !cx.set(&ServicesByHost(alias.clone())).is_empty());
    let mut clients = BTreeSet::new();
    for rival in rivals {
        clients.extend(cx.get(&Exceptions(rival)).iter().cloned());
    }
    for owners in service.vips.iter().flat_map(|ip| routed_ports(service).map(|p| VipOwners(*ip, p.number))) {
        // Few addresses are shared: the others need no query of their own.
        if cx.set(&owners).len() > 1 {
            clients.extend(cx.get(&AddressExceptions(owners)).iter().cloned());
        }
    }
    clients
}

/// Namespaces that see some service with an address and a port differently from others. Many services may share one: it is
/// known once for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AddressExceptions(VipOwners);

impl Query for AddressExceptions {
    type Value = Arc<BTreeSet<Namespace>>;
    const STAGE: u8 = stage::OUTLOOK;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let mut clients = BTreeSet::new();
        for (_, key) in cx.set(&self.0).iter() {
            clients.extend(cx.get(&Exceptions(key.host.clone())).iter().cloned());
        }
        Arc::new(clients)
    }
}

/// The VirtualServices about a host, whoever sees them.
fn rules_about<Q: Query>(cx: &mut Cx<'_, Q>, host: &Host) -> Vec<(NamespacedName, Arc<VirtualService>)> {
    let mut all = Vec::new();
    for pattern in host_patterns(host) {
        all.extend(rules_of(cx, &pattern.as_str().into()));
    }
    all
}

/// The VirtualServices that name a host.
fn rules_of<Q: Query>(cx: &mut Cx<'_, Q>, host: &Host) -> Vec<(NamespacedName, Arc<VirtualService>)> {
    let keys = cx.set(&MeshRoutesByHost(host.clone()));
    keys.iter().filter_map(|(_, key)| Some((key.clone(), cx.input(&VirtualServices(key.clone()))?))).collect()
}

/// The labels of proxies that rules look at.
fn labels_of<'a>(rules: impl IntoIterator<Item = &'a Rules>) -> Arc<[Arc<str>]> {
    let matches = rules.into_iter().flat_map(|(_, vs)| vs.http.iter().flat_map(|r| &r.matches));
    let labels: BTreeSet<Arc<str>> = matches.flat_map(|m| m.source.labels.keys().map(|k| k.as_str().into())).collect();
    labels.into_iter().collect()
}

/// Namespaces whose clients see a VirtualService differently from others.
fn special_clients<Q: Query>(cx: &mut Cx<'_, Q>, vs: &VirtualService) -> BTreeSet<Namespace> {
    let mut clients = match &*visibility_of_rules(cx, vs) {
        Visibility::Public => BTreeSet::new(),
        Visibility::Namespaces(set) => set.clone(),
    };
    if SourceFacets::of_http(vs).uses_namespace {
        let sources = vs.http.iter().flat_map(|r| r.matches.iter().map(|m| &m.source));
        clients.extend(sources.filter_map(|s| s.namespace.clone()));
    }
    clients
}

/// The virtual hosts of a service's host, for the mesh and for every namespace that differs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HostPlan(Host);

impl Query for HostPlan {
    type Value = Arc<[Planned]>;
    const STAGE: u8 = stage::PLAN;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let mut clients: BTreeSet<Namespace> = (*cx.get(&Exceptions(self.0.clone()))).clone();
        let rules = rules_about(cx, &self.0);
        for (_, vs) in &rules {
            clients.extend(special_clients(cx, vs));
        }
        let mut of_aliases = Vec::new();
        for (_, _, key) in cx.set(&ServicesByHost(self.0.clone())).iter() {
            // Clients of the service's own namespace know it by its bare name too.
            clients.insert(key.object.namespace.clone());
            let Some(service) = cx.input(key) else { continue };
            of_aliases.extend(alias_rules(cx, &service));
            clients.extend(alias_clients(cx, &service));
        }
        for (_, vs) in &of_aliases {
            clients.extend(special_clients(cx, vs));
        }
        let labels = labels_of(rules.iter().chain(&of_aliases));
        let everyone = std::iter::once(None).chain(clients.into_iter().map(Some));
        everyone.flat_map(|client| planned(cx, &self.0, client.as_ref(), &labels)).collect()
    }
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
    let routed = routed_ports(service).map(|p| {
        let sniffed = p.protocol.class() == ProtocolClass::Auto && (addressed || service.headless);
        let key = HostKey { host: host.clone(), client: client.cloned(), narrowed: None, ruled_only: false };
        Planned { scope: Scope::of(client), key, port: p.number, labels: labels.clone(), opens: !sniffed, sniffed }
    });
    routed.collect()
}

/// The ports whose requests are routed.
pub(super) fn routed_ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.ports.iter().filter(|p| p.protocol != Protocol::Udp && p.protocol.class() != ProtocolClass::Tcp)
}

/// The plan of a host that a Sidecar object imports, in its scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ImportedPlan(Imports, Host);

impl Query for ImportedPlan {
    type Value = Arc<[Planned]>;
    const STAGE: u8 = stage::RULE;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Self(imports, host) = self;
        let all = cx.get(&HostPlan(host.clone()));
        let own = &imports.0.namespace;
        let client = all.iter().find(|p| p.key.client.as_ref() == Some(own)).and_then(|p| p.key.client.clone());
        if client.is_none() && cx.get(&Exceptions(host.clone())).contains(own) {
            // Another service than everybody's, and without requests that are routed.
            return Arc::default();
        }
        let ports = imported_ports(cx, imports, host);
        let narrowed = is_narrowed(cx, &imports.0, host).then(|| imports.0.clone());
        let mine = all.iter().filter(|p| p.key.client == client);
        let mine = mine.filter(|p| ports.as_ref().is_none_or(|ports| ports.contains(&p.port)));
        let scoped = |p: &Planned| Planned {
            scope: Scope::Sidecar(imports.0.clone()),
            key: HostKey { narrowed: narrowed.clone(), ..p.key.clone() },
            ..p.clone()
        };
        mine.map(scoped).collect()
    }
}

/// Whether a Sidecar object may hide a VirtualService about a host or one of its names, or a service that shares an
/// address with it.
fn is_narrowed<Q: Query>(cx: &mut Cx<'_, Q>, scope: &SidecarScope, host: &Host) -> bool {
    if hides_rules(cx, scope, host) {
        return true;
    }
    let Some(seen) = seen(cx, host, Some(&scope.namespace)) else { return false };
    // Which ports a VirtualService's hosts have depends on what is imported.
    if !alias_rules(cx, &seen.service).is_empty() {
        return true;
    }
    let shares = |cx: &mut Cx<'_, Q>, owner: VipOwners| cx.set(&owner).len() > 1;
    let mut addresses =
        seen.service.vips.iter().flat_map(|ip| routed_ports(&seen.service).map(|p| VipOwners(*ip, p.number)));
    addresses.any(|owner| shares(cx, owner))
}

/// Whether a Sidecar object does not import a VirtualService about a host that its namespace sees.
pub(in crate::engine) fn hides_rules<Q: Query>(cx: &mut Cx<'_, Q>, scope: &SidecarScope, host: &Host) -> bool {
    rules_about(cx, host)
        .into_iter()
        .any(|(key, vs)| visibility_of_rules(cx, &vs).admits(&scope.namespace) && !imports_rules(cx, scope, &key))
}

/// Ports of services that everybody sees, by the wildcards that contain their hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PortsUnder(Host);

impl Set for PortsUnder {
    type Elem = u16;
    const STAGE: u8 = stage::FACT2;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitPortsUnder(ServiceKey);

impl Emit for EmitPortsUnder {
    type Into = PortsUnder;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(PortsUnder, u16)> {
        let Some(service) = cx.input(&self.0) else { return Vec::new() };
        if *visibility_of(cx, &service) != Visibility::Public || service.resolution == Resolution::Alias {
            return Vec::new();
        }
        let wildcards = || host_patterns(&self.0.host).filter(|p| p.starts_with("*.") && *p != *self.0.host);
        let ports = routed_ports(&service);
        ports.flat_map(|p| wildcards().map(|w| (PortsUnder(w.into()), p.number))).collect()
    }
}

/// Who looks at VirtualServices: clients that see all that is exported to them (`None`: of no special namespace), or those
/// of a Sidecar object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Viewer {
    Client(Option<Namespace>),
    Sidecar(SidecarScope),
}

impl Viewer {
    fn sees_rules<Q: Query>(&self, cx: &mut Cx<'_, Q>, key: &NamespacedName, vs: &VirtualService) -> bool {
        let visibility = visibility_of_rules(cx, vs);
        match self {
            // Clients of no special namespace are told from all others by a name that no namespace has.
            Self::Client(client) => visibility.admits(client.as_deref().unwrap_or_default()),
            Self::Sidecar(scope) => visibility.admits(&scope.namespace) && imports_rules(cx, scope, key),
        }
    }

    pub(super) fn service<Q: Query>(&self, cx: &mut Cx<'_, Q>, host: &Host) -> Option<Arc<Seen>> {
        // Most hosts that are asked for are none of a service: that costs one look.
        if cx.set(&ServicesByHost(host.clone())).is_empty() {
            return None;
        }
        match self {
            Self::Client(client) => seen(cx, host, client.as_ref()),
            Self::Sidecar(scope) if imports_host(cx, scope, host) => seen(cx, host, Some(&scope.namespace)),
            Self::Sidecar(_) => None,
        }
    }

    /// The ports of the services under a host; `routed`: only those whose requests are routed.
    fn ports<Q: Query>(&self, cx: &mut Cx<'_, Q>, host: &Host, routed: bool) -> BTreeSet<u16> {
        if host.starts_with('*') {
            return match self {
                Self::Client(_) => cx.set(&PortsUnder(host.clone())).iter().copied().collect(),
                Self::Sidecar(_) => BTreeSet::new(),
            };
        }
        let Some(seen) = self.service(cx, host) else { return BTreeSet::new() };
        let service = &seen.service;
        match (routed, service.resolution) {
            (true, Resolution::Alias) => BTreeSet::new(),
            (true, _) => routed_ports(service).map(|p| p.number).collect(),
            (false, _) => service.ports.iter().map(|p| p.number).collect(),
        }
    }

    /// The ports on which a host of VirtualServices is served without a service of its own.
    pub(super) fn ruled_ports<Q: Query>(&self, cx: &mut Cx<'_, Q>, host: &Host) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        for (key, vs) in rules_of(cx, host) {
            if !vs.http.is_empty() && self.sees_rules(cx, &key, &vs) {
                ports.extend(cx.get(&RulePorts { rules: key, viewer: self.clone() }).iter().copied());
            }
        }
        if !ports.is_empty() {
            let served = self.ports(cx, host, false);
            ports.retain(|p| !served.contains(p));
        }
        ports
    }
}

/// The ports on which the hosts of a VirtualService are served: 80, and those of the services among them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RulePorts {
    rules: NamespacedName,
    viewer: Viewer,
}

impl Query for RulePorts {
    type Value = Arc<BTreeSet<u16>>;
    const STAGE: u8 = stage::RULE_EMIT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let vs = cx.input(&VirtualServices(self.rules.clone()));
        let hosts = vs.iter().flat_map(|vs| &vs.hosts);
        let of_services = hosts.flat_map(|host| self.viewer.ports(cx, host, true));
        Arc::new(of_services.chain(std::iter::once(RULE_PORT)).collect())
    }
}

/// The virtual hosts of a host of VirtualServices on the ports where it is no service's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RulePlan(Host);

impl Query for RulePlan {
    type Value = Arc<[Planned]>;
    const STAGE: u8 = stage::RULE;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let mut clients = BTreeSet::new();
        if !cx.set(&ServicesByHost(self.0.clone())).is_empty() {
            clients.extend(cx.get(&Exceptions(self.0.clone())).iter().cloned());
        }
        let rules = rules_about(cx, &self.0);
        for (_, vs) in &rules {
            clients.extend(special_clients(cx, vs));
        }
        let labels = labels_of(&rules);
        let mut all = Vec::new();
        for client in std::iter::once(None).chain(clients.into_iter().map(Some)) {
            let ports = Viewer::Client(client.clone()).ruled_ports(cx, &self.0);
            let key = HostKey { host: self.0.clone(), client: client.clone(), narrowed: None, ruled_only: true };
            all.extend(ruled(&Scope::of(client.as_ref()), &key, ports, &labels));
        }
        all.into()
    }
}

/// The same in the scope of a Sidecar object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ImportedRulePlan(SidecarScope, Host);

impl Query for ImportedRulePlan {
    type Value = Arc<[Planned]>;
    const STAGE: u8 = stage::RULE;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Self(scope, host) = self;
        let ports = Viewer::Sidecar(scope.clone()).ruled_ports(cx, host);
        let narrowed = hides_rules(cx, scope, host).then(|| scope.clone());
        let client = Some(scope.namespace.clone());
        let key = HostKey { host: host.clone(), client, narrowed, ruled_only: true };
        let labels = labels_of(&rules_about(cx, host));
        ruled(&Scope::Sidecar(scope.clone()), &key, ports, &labels).collect()
    }
}

fn ruled(
    scope: &Scope,
    key: &HostKey,
    ports: BTreeSet<u16>,
    labels: &Arc<[Arc<str>]>,
) -> impl Iterator<Item = Planned> {
    ports.into_iter().map(move |port| Planned {
        scope: scope.clone(),
        key: key.clone(),
        port,
        labels: labels.clone(),
        // On other ports there are services, which decide.
        opens: port == RULE_PORT,
        sniffed: false,
    })
}

/// The hosts of the VirtualServices that a Sidecar object imports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ImportedRuleHosts(SidecarScope);

impl Set for ImportedRuleHosts {
    type Elem = Host;
    const STAGE: u8 = stage::RULE;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitRuleHosts(ImportedRules, NamespacedName);

impl Emit for EmitRuleHosts {
    type Into = ImportedRuleHosts;
    const STAGE: u8 = stage::RULE_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(ImportedRuleHosts, Host)> {
        let vs = cx.input(&VirtualServices(self.1.clone()));
        let hosts = vs.iter().flat_map(|vs| &vs.hosts);
        hosts.map(|host| (ImportedRuleHosts(self.0.0.clone()), host.clone())).collect()
    }
}

/// Registers what plans are made of.
pub(super) fn register(db: &mut Db) {
    db.emit_for_input::<ServiceKey, EmitPortsUnder>(|key| EmitPortsUnder(key.clone()));
    db.emit_for_elements::<ImportedRules, EmitRuleHosts>(|set, key| EmitRuleHosts(set.clone(), key.clone()));
}
