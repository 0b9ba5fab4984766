//! Listeners of sidecars: what each service port contributes, and the listeners made of it (translation §3).

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{
    destinations,
    filters::note_patches,
    graph::{Cx, Db, Emission, Emit, Layer, OwnPart, Query, Set},
    index::{MeshRoutesByHost, ServicesByHost},
    inputs::{Sidecars, VirtualServices},
    members::Members,
    scope::{Scope, SidecarScope},
    services::{Exceptions, Outlook, mesh, visibility_of_rules},
    sidecar_routes::hides_rules,
    sidecars::{Import, Imports, imports_rules},
    stage,
};
use crate::{
    model::{
        Age, Host, IpFamilies, Labels, Namespace, ObjectRef, ProtocolClass, VirtualService,
        destination_rule::{effective_policy, host_patterns},
        envoy_filter::PatchContext,
        mesh::OutboundPolicy,
        proxy::InterceptionMode,
        service::EndpointAddress,
        sidecar::EgressListener,
        virtual_service::GatewayName,
    },
    snapshot::{Name, Slot},
    translate::{
        clusters::cluster_name,
        filters::envoy_filter::PatchSet,
        l4::{self, L4Cluster, L4Site},
        listeners::{
            ListenerOutput,
            http_proxy::http_proxy,
            sidecar_outbound::{
                Contribution, ListenerKey, Place, PortOfService, SidecarInput, contribute, outbound_listener,
            },
            tcp::TcpRoute,
            virtual_outbound::virtual_outbound,
        },
    },
};

/// Contributions to a listener in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Contributions {
    scope: Scope,
    key: ListenerKey,
}

/// A contribution. What HTTP ports contribute is the same for all of them and is held once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Contributor {
    /// Decides which service is older; `None` for what is the same for all.
    age: Option<Age>,
    port: ContributingPort,
}

/// Which port contributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ContributingPort {
    host: Host,
    number: u16,
    client: Option<Namespace>,
    /// The Sidecar object and the port of its egress listener, when that has one.
    egress: Option<(Imports, u16)>,
    /// The Sidecar object, if it hides rules about the host.
    narrowed: Option<SidecarScope>,
}

impl Set for Contributions {
    type Elem = Contributor;
    const STAGE: u8 = stage::LAYER;
}

/// The listeners of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListenerLayer(Scope);

impl Set for ListenerLayer {
    type Elem = ListenerKey;
    const STAGE: u8 = stage::LISTENER_LAYER;
}

/// What a port contributes, for proxies with any address family.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PortContributions(ContributingPort);

impl Query for PortContributions {
    type Value = Arc<[(ListenerKey, Arc<Contribution>)]>;
    const STAGE: u8 = stage::PLAN;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let of = &self.0;
        let outlook = Outlook { host: of.host.clone(), client: of.client.clone(), labels: None };
        let Some(seen) = cx.get(&outlook) else { return Arc::default() };
        let Some(port) = seen.service.ports.iter().find(|p| p.number == of.number) else { return Arc::default() };
        let egress = of.egress.as_ref().and_then(|(imports, port)| egress_listener(cx, imports, *port));
        let mesh = mesh(cx);
        let default = l4::to_service(L4Cluster {
            name: cluster_name(of.number, "", &of.host).into(),
            policy: effective_policy(seen.rule.as_deref(), "", of.number, &mesh),
        });
        let routes = if port.protocol.class() == ProtocolClass::Http {
            Vec::new()
        } else {
            l4_routes(cx, of, port.protocol.is_tls(), &default)
        };
        let members = if seen.service.headless { addresses(cx, &seen.key) } else { Vec::new() };
        let all = contribute(
            &PortOfService {
                service: &seen.service,
                port,
                egress: egress.as_ref(),
                default: &default,
                aliases: &[],
                routes: &routes,
                members: &members,
            },
            IpFamilies::V4V6,
            &mesh,
        );
        all.into_iter().map(|(key, c)| (key, Arc::new(c))).collect()
    }
}

fn egress_listener<Q: Query>(cx: &mut Cx<'_, Q>, imports: &Imports, port: u16) -> Option<EgressListener> {
    let sidecar = cx.input(&Sidecars(imports.0.sidecar.clone()))?;
    sidecar.egress.iter().find(|l| l.port.as_ref().is_some_and(|p| p.number == port)).cloned()
}

/// Addresses of a headless service's members.
fn addresses<Q: Query>(cx: &mut Cx<'_, Q>, key: &super::inputs::ServiceKey) -> Vec<IpAddr> {
    let members = cx.get(&Members(key.clone()));
    let ips = members.iter().filter_map(|m| match &m.address {
        EndpointAddress::Ip(ip) => Some(*ip),
        EndpointAddress::Hostname(_) | EndpointAddress::Pipe(_) => None,
    });
    ips.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The VirtualServices on the mesh gateway that a client of a namespace sees for a host: of the most specific
/// host that any names, oldest first (translation §6.1); with a Sidecar object those that it imports.
pub(super) fn mesh_routes<Q: Query>(
    cx: &mut Cx<'_, Q>,
    host: &Host,
    client: Option<&Namespace>,
    narrowed: Option<&SidecarScope>,
) -> Vec<Arc<VirtualService>> {
    for pattern in host_patterns(host) {
        let keys = cx.set(&MeshRoutesByHost(pattern.as_str().into()));
        // Clients of no special namespace are told from all others by a name that no namespace has.
        let client = client.map_or("", |c| c);
        let mut visible = Vec::new();
        for (_, key) in keys.iter() {
            let Some(vs) = cx.input(&VirtualServices(key.clone())) else { continue };
            let hidden = narrowed.is_some_and(|scope| !imports_rules(cx, scope, key));
            if !hidden && visibility_of_rules(cx, &vs).admits(client) {
                visible.push(vs);
            }
        }
        if !visible.is_empty() {
            return visible;
        }
    }
    Vec::new()
}

fn l4_routes(
    cx: &mut Cx<'_, PortContributions>,
    of: &ContributingPort,
    tls: bool,
    to_service: &TcpRoute,
) -> Vec<TcpRoute> {
    let found = mesh_routes(cx, &of.host, of.client.as_ref(), of.narrowed.as_ref());
    let (labels, gateways) = (Labels::new(), [GatewayName::Mesh]);
    let client: Namespace = of.client.clone().unwrap_or_else(|| "".into());
    let hosts = [of.host.clone()];
    let site = L4Site { gateways: &gateways, labels: &labels, namespace: &client, port: of.number, hosts: &hosts, tls };
    let rules = found.iter().find(|vs| if tls { !vs.tls.is_empty() } else { !vs.tcp.is_empty() });
    let mut routes = rules.map_or_else(Vec::new, |vs| {
        l4::routes(vs, &site, &mut |_, destination| {
            let found = destinations::resolve(cx, destination, &client, of.number);
            L4Cluster { name: found.cluster, policy: found.policy }
        })
    });
    // What no rule takes goes to the service itself.
    if !tls && !routes.is_empty() && routes.iter().all(|r| !r.prefix_ranges.is_empty()) {
        routes.push(to_service.clone());
    }
    routes
}

fn contributors<Q: Query>(
    cx: &mut Cx<'_, Q>,
    scope: &Scope,
    host: &Host,
    client: Option<&Namespace>,
    egress: Option<&(Imports, u16)>,
) -> Vec<(Contributions, Contributor)> {
    let narrowed = match scope {
        Scope::Sidecar(sidecar) => hides_rules(cx, sidecar, host).then(|| sidecar.clone()),
        Scope::Mesh | Scope::Namespace(_) => None,
    };
    let outlook = Outlook { host: host.clone(), client: client.cloned(), labels: None };
    let Some(seen) = cx.get(&outlook) else { return Vec::new() };
    let mut all = Vec::new();
    for port in seen.service.ports.iter() {
        if egress.is_some_and(|(_, number)| *number != port.number) {
            continue;
        }
        let of = ContributingPort {
            host: host.clone(),
            number: port.number,
            client: client.cloned(),
            egress: egress.cloned(),
            narrowed: narrowed.clone(),
        };
        for (key, contribution) in cx.get(&PortContributions(of.clone())).iter() {
            let shared = contribution.tcp.is_empty() && key.place == Place::Wildcard;
            let contributor = if shared {
                let port =
                    ContributingPort { host: protocol_host(contribution), client: None, narrowed: None, ..of.clone() };
                Contributor { age: None, port }
            } else {
                Contributor { age: Some(seen.service.age.clone()), port: of.clone() }
            };
            all.push((Contributions { scope: scope.clone(), key: key.clone() }, contributor));
        }
    }
    all
}

/// Stands for all hosts whose ports contribute the same: the protocol, which no host is named like.
fn protocol_host(contribution: &Contribution) -> Host {
    format!("*{:?}", contribution.protocol).into()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitContributions(Host);

impl Emit for EmitContributions {
    type Into = Contributions;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Contributions, Contributor)> {
        let mut all = contributors(cx, &Scope::Mesh, &self.0, None, None);
        for client in cx.get(&Exceptions(self.0.clone())).iter() {
            all.extend(contributors(cx, &Scope::of(Some(client)), &self.0, Some(client), None));
        }
        all
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitImportedContributions(Imports, Import);

impl Emit for EmitImportedContributions {
    type Into = Contributions;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Contributions, Contributor)> {
        let Import { host, port } = &self.1;
        let client = cx.get(&Exceptions(host.clone())).get(&self.0.0.namespace).cloned();
        let egress = port.map(|p| (self.0.clone(), p));
        contributors(cx, &Scope::Sidecar(self.0.0.clone()), host, client.as_ref(), egress.as_ref())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitListener(Contributions);

impl Emit for EmitListener {
    type Into = ListenerLayer;
    const STAGE: u8 = stage::LISTENER_EMIT;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(ListenerLayer, ListenerKey)> {
        vec![(ListenerLayer(self.0.scope.clone()), self.0.key.clone())]
    }
}

/// What of a sidecar decides its listeners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListenerFacts {
    pub(super) families: IpFamilies,
    pub(super) interception: InterceptionMode,
    pub(super) policy: OutboundPolicy,
    pub(super) unprivileged: bool,
    /// The port of the forward proxy; 0 is none.
    pub(super) http_proxy_port: u16,
    pub(super) filters: PatchSet,
}

impl ListenerFacts {
    fn input<'a>(&self, mesh: &'a crate::model::MeshConfig) -> SidecarInput<'a> {
        SidecarInput { mesh, families: self.families, policy: self.policy, unprivileged: self.unprivileged }
    }
}

/// An outbound listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OutboundListener {
    scope: Scope,
    key: ListenerKey,
    facts: Arc<ListenerFacts>,
}

impl Layer for ListenerLayer {
    type Facets = Arc<ListenerFacts>;
    type Item = OutboundListener;
    fn item(&self, key: &ListenerKey, facts: &Arc<ListenerFacts>) -> (Name, OutboundListener) {
        let item = OutboundListener { scope: self.0.clone(), key: key.clone(), facts: facts.clone() };
        (key.name(facts.families).into(), item)
    }
}

impl Query for OutboundListener {
    type Value = Slot;
    const STAGE: u8 = stage::LISTENER;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        if let Place::Captured(ip) = &self.key.place
            && !self.facts.families.supports(*ip)
        {
            return None;
        }
        let contributions: Vec<_> =
            self.contributors(cx).into_iter().filter_map(|c| self.contribution(cx, &c)).collect();
        let mesh = mesh(cx);
        let mut output = outbound_listener(&self.key, &contributions, &self.facts.input(&mesh));
        output.patch(&self.facts.filters, PatchContext::SidecarOutbound, Some(self.key.port));
        note_patches(cx, &output.patched_by);
        output.problems.iter().for_each(|p| cx.problem(p.clone()));
        output.resource().map(Arc::new)
    }
}

impl OutboundListener {
    /// Those of the scope, and in a namespace those of the mesh that it sees like everybody else; oldest first.
    fn contributors(&self, cx: &mut Cx<'_, Self>) -> Vec<Contributor> {
        let mut all = cx.set(&Contributions { scope: self.scope.clone(), key: self.key.clone() }).to_vec();
        if let Scope::Namespace(client) = &self.scope {
            let of_mesh = cx.set(&Contributions { scope: Scope::Mesh, key: self.key.clone() });
            all.extend(
                of_mesh
                    .iter()
                    .filter(|c| c.age.is_none() || !cx.get(&Exceptions(c.port.host.clone())).contains(client))
                    .cloned(),
            );
            all.sort();
            all.dedup();
        }
        all
    }

    fn contribution(&self, cx: &mut Cx<'_, Self>, of: &Contributor) -> Option<Arc<Contribution>> {
        if of.age.is_none() {
            return shared_contribution(&of.port, &self.key);
        }
        let all = cx.get(&PortContributions(of.port.clone()));
        all.iter().find(|(key, _)| *key == self.key).map(|(_, c)| c.clone())
    }
}

/// What every HTTP port of a number contributes.
fn shared_contribution(of: &ContributingPort, key: &ListenerKey) -> Option<Arc<Contribution>> {
    use crate::model::Protocol;
    const HTTP: [Protocol; 5] =
        [Protocol::Http, Protocol::Http2, Protocol::HttpProxy, Protocol::Grpc, Protocol::GrpcWeb];
    let protocol = HTTP.into_iter().find(|p| *of.host == format!("*{p:?}"))?;
    let object = ObjectRef::new("Service", "", "");
    let route = Some(key.port.to_string().into());
    Some(Arc::new(Contribution { object, protocol, route, tcp: Vec::new() }))
}

/// The listeners of redirected and of proxied connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct VirtualListeners(Arc<ListenerFacts>);

impl Query for VirtualListeners {
    type Value = OwnPart;
    const STAGE: u8 = stage::LISTENER;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let (mesh, facts) = (mesh(cx), &self.0);
        let input = facts.input(&mesh);
        let outbound = http_proxy(facts.http_proxy_port, &input).into_iter();
        let outbound = outbound.chain(virtual_outbound(&input, facts.interception));
        let items: Vec<_> = outbound.map(|l| finished(cx, l, &facts.filters, PatchContext::SidecarOutbound)).collect();
        OwnPart::of(self, items.into_iter())
    }
}

/// A listener with the patches that are meant for it, encoded; what was found on the way is told.
pub(super) fn finished<Q: Query>(
    cx: &mut Cx<'_, Q>,
    mut listener: ListenerOutput,
    filters: &PatchSet,
    context: PatchContext,
) -> (Name, Slot) {
    listener.patch(filters, context, None);
    note_patches(cx, &listener.patched_by);
    listener.problems.iter().for_each(|p| cx.problem(p.clone()));
    (Name::from(listener.name.as_str()), listener.resource().map(Arc::new))
}

/// The listener parts of a sidecar, the deciding one first.
pub(super) fn parts<Q: Query>(
    cx: &mut Cx<'_, Q>,
    scopes: &[Scope],
    facts: &Arc<ListenerFacts>,
) -> Vec<crate::snapshot::PartState> {
    let own = cx.get(&VirtualListeners(facts.clone())).0;
    std::iter::once(own).chain(scopes.iter().map(|s| cx.part(&ListenerLayer(s.clone()), facts))).collect()
}

/// Registers the emitters of listeners.
pub(super) fn register(db: &mut Db) {
    db.emit_for_elements::<ServicesByHost, EmitContributions>(|set, _| EmitContributions(set.0.clone()));
    db.emit_for_elements::<Imports, EmitImportedContributions>(|set, i| {
        EmitImportedContributions(set.clone(), i.clone())
    });
    db.emit_for_elements::<Contributions, EmitListener>(|set, _| EmitListener(set.clone()));
}
