//! Route configurations of sidecars: a virtual host per service port and per host of VirtualServices, assembled
//! per port and scope (translation §6.2).

mod configs;
mod plan;

use std::{net::IpAddr, sync::Arc};

use self::plan::{ImportedRuleHosts, Planned, Source, seen};
use super::{
    checks::followed_instead,
    gateway_routes::{HostPiece, Site, hash_key, http_routes},
    graph::{Cx, Db, Emission, Emit, Layer, Query, Set},
    index::{MeshRoutesByHost, ServicesByHost, VipOwners},
    inputs::ServiceKey,
    scope::{Scope, SidecarScope},
    services::{Seen, mesh, sees},
    sidecar_listeners::mesh_routes,
    sidecars::{Imports, imports_host},
    stage,
};
use crate::{
    model::{
        Host, Labels, Namespace, Problem, VirtualService, destination_rule::effective_policy,
        virtual_service::GatewayName,
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

pub(super) use self::{
    configs::{RouteFacts, parts},
    plan::hides_rules,
};

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
    /// The Sidecar object, if what it imports makes a difference for this host.
    narrowed: Option<SidecarScope>,
    /// Whether VirtualServices have the host, and no service on this port.
    ruled_only: bool,
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

/// The ports of a scope that have virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HostPorts(Scope);

impl Set for HostPorts {
    type Elem = u16;
    const STAGE: u8 = stage::LISTENER_LAYER;
}

/// The route configurations of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Configs(Scope);

/// A route configuration: of a port, of one sniffed service port, or of the forward proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum ConfigKey {
    Port(u16),
    Sniffed(HostKey, u16),
    Proxy,
}

impl Set for Configs {
    type Elem = ConfigKey;
    const STAGE: u8 = stage::LAYER;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitHosts(Source);

impl Emit for EmitHosts {
    type Into = HostLayer;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(HostLayer, HostKey)> {
        let layer = |p: &Planned| HostLayer { scope: p.scope.clone(), port: p.port, labels: p.labels.clone() };
        self.0.plan(cx).iter().map(|p| (layer(p), p.key.clone())).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitLabels(Source);

impl Emit for EmitLabels {
    type Into = HostLabels;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(HostLabels, Arc<[Arc<str>]>)> {
        self.0.plan(cx).iter().map(|p| (HostLabels(p.scope.clone(), p.port), p.labels.clone())).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitConfigs(Source);

impl Emit for EmitConfigs {
    type Into = Configs;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Configs, ConfigKey)> {
        let plan = self.0.plan(cx);
        let keys = plan.iter().flat_map(|p| {
            let of_port = p.opens.then_some(ConfigKey::Port(p.port));
            let of_host = p.sniffed.then(|| ConfigKey::Sniffed(p.key.clone(), p.port));
            of_port.into_iter().chain(of_host).map(move |key| (Configs(p.scope.clone()), key))
        });
        keys.collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitPort(HostLabels);

impl Emit for EmitPort {
    type Into = HostPorts;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(HostPorts, u16)> {
        vec![(HostPorts(self.0.0.clone()), self.0.1)]
    }
}

/// Registers the emitters of virtual hosts.
pub(super) fn register(db: &mut Db) {
    plan::register(db);
    db.emit_for_elements::<ServicesByHost, EmitHosts>(|set, _| EmitHosts(Source::Service(set.0.clone())));
    db.emit_for_elements::<ServicesByHost, EmitLabels>(|set, _| EmitLabels(Source::Service(set.0.clone())));
    db.emit_for_elements::<ServicesByHost, EmitConfigs>(|set, _| EmitConfigs(Source::Service(set.0.clone())));
    db.emit_for_elements::<Imports, EmitHosts>(|set, i| EmitHosts(Source::imported(set, i)));
    db.emit_for_elements::<Imports, EmitLabels>(|set, i| EmitLabels(Source::imported(set, i)));
    db.emit_for_elements::<Imports, EmitConfigs>(|set, i| EmitConfigs(Source::imported(set, i)));
    db.emit_for_elements::<MeshRoutesByHost, EmitHosts>(|set, _| EmitHosts(Source::Ruled(set.0.clone())));
    db.emit_for_elements::<MeshRoutesByHost, EmitLabels>(|set, _| EmitLabels(Source::Ruled(set.0.clone())));
    db.emit_for_elements::<MeshRoutesByHost, EmitConfigs>(|set, _| EmitConfigs(Source::Ruled(set.0.clone())));
    db.emit_for_elements::<ImportedRuleHosts, EmitHosts>(|set, h| EmitHosts(Source::imported_ruled(set, h)));
    db.emit_for_elements::<ImportedRuleHosts, EmitLabels>(|set, h| EmitLabels(Source::imported_ruled(set, h)));
    db.emit_for_elements::<ImportedRuleHosts, EmitConfigs>(|set, h| EmitConfigs(Source::imported_ruled(set, h)));
    db.emit_for_elements::<HostLabels, EmitPort>(|set, _| EmitPort(set.clone()));
}

/// The virtual host of a key at a port, for proxies with these labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct VirtualHostItem {
    key: HostKey,
    port: u16,
    labels: Labels,
    site: HostSite,
}

/// The kind of route configuration that a virtual host is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum HostSite {
    /// That of its port.
    Port,
    /// One of its own, whatever the client calls it.
    Sniffed,
    /// That of the forward proxy, where requests tell the port.
    Proxy,
}

/// What of a sidecar and of a route configuration decides virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HostFacets {
    labels: Labels,
    site: HostSite,
}

impl Layer for HostLayer {
    type Facets = HostFacets;
    type Item = VirtualHostItem;
    fn item(&self, key: &HostKey, facets: &HostFacets) -> (Name, VirtualHostItem) {
        let name = host_and_port(&key.host, self.port).into();
        let labels = facets.labels.clone();
        (name, VirtualHostItem { key: key.clone(), port: self.port, labels, site: facets.site })
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
        let seen = if self.key.ruled_only { None } else { seen(cx, host, client) };
        let mut made = self.ruled(cx);
        if made.routes.is_empty() {
            made.clusters.clear();
            self.add_default(cx, seen.as_deref()?, &mut made);
        }
        made.problems.into_iter().for_each(|p| cx.problem(p));
        let virtual_host = if self.site == HostSite::Sniffed {
            sniffed_host(host, self.port, made.routes)
        } else {
            let with_port = (self.site == HostSite::Proxy).then_some(self.port);
            let domains = match &seen {
                Some(seen) => self.domains(cx, seen, with_port),
                None => rule_domains(host, with_port),
            };
            sidecar_host(host, self.port, domains, made.routes)
        };
        Some(HostPiece { piece: virtual_host_piece(&virtual_host), clusters: made.clusters })
    }

    /// The routes of the first VirtualService that has any for this proxy and port.
    fn ruled(&self, cx: &mut Cx<'_, Self>) -> RouteOutput {
        let client: Namespace = self.key.client.clone().unwrap_or_else(|| "".into());
        let found = mesh_routes(cx, &self.key.host, self.key.client.as_ref(), self.key.narrowed.as_ref());
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
            cx.problem(followed_instead(vs, &self.key.host, used));
        }
    }

    fn add_default(&self, cx: &mut Cx<'_, Self>, seen: &Seen, made: &mut RouteOutput) {
        let mesh = mesh(cx);
        let cluster = cluster_name(self.port, "", &self.key.host);
        let policy = effective_policy(seen.rule.as_deref(), "", self.port, &mesh);
        let hash = policy.as_ref().and_then(hash_key);
        made.routes.push(default_route(&cluster, hash.as_ref(), mesh.default_retries.as_ref()));
        made.clusters.insert(cluster.into());
    }

    fn domains(&self, cx: &mut Cx<'_, Self>, seen: &Seen, with_port: Option<u16>) -> Vec<String> {
        let vips: Vec<_> = seen.service.vips.iter().copied().filter(|ip| self.owns(cx, seen, *ip)).collect();
        let suffix = mesh(cx).domain_suffix.clone();
        let client = self.key.client.as_deref().unwrap_or("-");
        let input = DomainInput {
            service: &seen.service,
            aliases: &[],
            proxy_domain: &format!("{client}.svc.{suffix}"),
            vips: &vips,
            with_port,
        };
        service_domains(&input, &mut |name| !cx.set(&ServicesByHost(name.into())).is_empty())
    }

    /// Whether requests for an address are this service's: of the services with it that the proxy sees, the oldest has
    /// it. Envoy refuses a domain that stands twice.
    fn owns(&self, cx: &mut Cx<'_, Self>, seen: &Seen, ip: IpAddr) -> bool {
        let owners = cx.set(&VipOwners(ip, self.port));
        let Some(owner) = owners.iter().map(|(_, key)| key).find(|key| self.sees(cx, key)) else { return true };
        if *owner == seen.key {
            return true;
        }
        let object = seen.service.object.clone();
        let field = if object.kind == "Service" { "spec.clusterIP" } else { "spec.addresses" };
        let reason = format!(
            "requests for {ip} on port {} are those of the older {}, which has the same address",
            self.port, owner.object
        );
        cx.problem(Problem { object, field: field.to_owned(), reason });
        false
    }

    fn sees(&self, cx: &mut Cx<'_, Self>, key: &ServiceKey) -> bool {
        let visible = sees(cx, self.key.client.as_ref(), key);
        visible && self.key.narrowed.as_ref().is_none_or(|scope| imports_host(cx, scope, &key.host))
    }
}
