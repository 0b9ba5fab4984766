//! Route configurations of sidecars: a virtual host per service port and per host of VirtualServices, assembled
//! per port and scope (translation §6.2).

mod configs;
mod discovery;
mod names;
mod plan;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use envoy_types::pb::envoy::config::route::v3::VirtualHost;

use self::{
    names::{Onlooker, first_routes},
    plan::{ImportedRuleHosts, Planned, Source, seen},
};
use super::{
    checks::followed_instead,
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
        Code, EffectivePolicy, Host, Labels, Namespace, Problem, VirtualService, destination_rule::effective_policy,
    },
    snapshot::{Encoder, Name, Refs, Slot},
    translate::{
        clusters::{cluster_name, offers_http},
        routes::{ClusterRef, RouteOutput, default_route},
        virtual_hosts::{
            DomainInput, alias_host, host_and_port, rule_domains, service_domains, sidecar_host, sniffed_host,
            virtual_host_piece,
        },
    },
};

pub(super) use self::{
    configs::{RouteFacts, parts},
    discovery::host_parts,
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
    const STAGE: u8 = stage::LAYERS;
}

/// The ports of a scope that have virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HostPorts(Scope);

impl Set for HostPorts {
    type Elem = u16;
    const STAGE: u8 = stage::LAYERS;
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

/// The ports of a scope that have a route configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OpenPorts(Scope);

impl Set for OpenPorts {
    type Elem = u16;
    const STAGE: u8 = stage::LAYERS;
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

/// Says of a layer that it has something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitLabels(HostLayer);

impl Emit for EmitLabels {
    type Into = HostLabels;
    const STAGE: u8 = stage::LAYERS_EMIT;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(HostLabels, Arc<[Arc<str>]>)> {
        let HostLayer { scope, port, labels } = &self.0;
        vec![(HostLabels(scope.clone(), *port), labels.clone())]
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
struct EmitPort(HostLayer);

impl Emit for EmitPort {
    type Into = HostPorts;
    const STAGE: u8 = stage::LAYERS_EMIT;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(HostPorts, u16)> {
        vec![(HostPorts(self.0.scope.clone()), self.0.port)]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitOpenPort(Configs, ConfigKey);

impl Emit for EmitOpenPort {
    type Into = OpenPorts;
    const STAGE: u8 = stage::LAYERS_EMIT;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(OpenPorts, u16)> {
        match self.1 {
            ConfigKey::Port(port) => vec![(OpenPorts(self.0.0.clone()), port)],
            ConfigKey::Sniffed(..) | ConfigKey::Proxy => Vec::new(),
        }
    }
}

/// Registers the emitters of virtual hosts.
pub(super) fn register(db: &mut Db) {
    plan::register(db);
    discovery::register(db);
    db.emit_for_elements::<ServicesByHost, EmitHosts>(|set, _| EmitHosts(Source::Service(set.0.clone())));
    db.emit_for_elements::<ServicesByHost, EmitConfigs>(|set, _| EmitConfigs(Source::Service(set.0.clone())));
    db.emit_for_elements::<Imports, EmitHosts>(|set, i| EmitHosts(Source::imported(set, i)));
    db.emit_for_elements::<Imports, EmitConfigs>(|set, i| EmitConfigs(Source::imported(set, i)));
    db.emit_for_elements::<MeshRoutesByHost, EmitHosts>(|set, _| EmitHosts(Source::Ruled(set.0.clone())));
    db.emit_for_elements::<MeshRoutesByHost, EmitConfigs>(|set, _| EmitConfigs(Source::Ruled(set.0.clone())));
    db.emit_for_elements::<ImportedRuleHosts, EmitHosts>(|set, h| EmitHosts(Source::imported_ruled(set, h)));
    db.emit_for_elements::<ImportedRuleHosts, EmitConfigs>(|set, h| EmitConfigs(Source::imported_ruled(set, h)));
    db.emit_for_sets::<HostLayer, EmitLabels>(|layer| EmitLabels(layer.clone()));
    db.emit_for_sets::<HostLayer, EmitPort>(|layer| EmitPort(layer.clone()));
    db.emit_for_elements::<Configs, EmitOpenPort>(|set, key| EmitOpenPort(set.clone(), key.clone()));
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
    /// That of its port, for proxies that discover virtual hosts one by one.
    Discovered,
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
        let Built { mut host, clusters, rivals } = self.build(cx)?;
        let clusters = clusters.into_iter().collect();
        if self.site == HostSite::Discovered {
            let hosts = rivals.iter().map(|rival| discovery::name(self.port, rival)).collect();
            return Some(discovery::resource(self.port, &mut host, Refs { clusters, hosts, ..Refs::default() }));
        }
        let (name, refs) = (host.name.as_str().into(), Refs { clusters, ..Refs::default() });
        Some(Arc::new(Encoder::piece(name, virtual_host_piece(&host), refs)))
    }
}

/// A virtual host with what is to be known of it.
struct Built {
    host: VirtualHost,
    clusters: BTreeSet<Name>,
    /// Hosts that have, or may have had, a domain of it.
    rivals: BTreeSet<Host>,
}

impl VirtualHostItem {
    fn build(&self, cx: &mut Cx<'_, Self>) -> Option<Built> {
        let (host, client) = (&self.key.host, self.key.client.as_ref());
        let seen = if self.key.ruled_only { None } else { seen(cx, host, client) };
        let mut made = self.ruled(cx);
        if made.routes.is_empty() {
            made.clusters.clear();
            self.add_default(cx, seen.as_deref()?, &mut made);
        }
        made.problems.into_iter().for_each(|p| cx.problem(p));
        let mut rivals = BTreeSet::new();
        let virtual_host = if self.site == HostSite::Sniffed {
            sniffed_host(host, self.port, made.routes)
        } else {
            let with_port = (self.site == HostSite::Proxy).then_some(self.port);
            let domains = match &seen {
                Some(seen) => self.domains(cx, seen, with_port, &mut rivals),
                None => rule_domains(host, with_port),
            };
            sidecar_host(host, self.port, domains, made.routes)
        };
        Some(Built { host: virtual_host, clusters: made.clusters, rivals })
    }

    /// The routes of the first VirtualService that has any for this proxy and port.
    fn ruled(&self, cx: &mut Cx<'_, Self>) -> RouteOutput {
        let found = mesh_routes(cx, &self.key.host, self.key.client.as_ref(), self.key.narrowed.as_ref());
        let Some((place, made)) = first_routes(cx, &found, self.key.client.as_ref(), &self.labels, self.port) else {
            return RouteOutput::default();
        };
        self.report_unused(cx, &found[place], &found[place + 1..]);
        made
    }

    /// In the mesh one VirtualService decides about a host (translation §6.1); it would be left out silently.
    fn report_unused(&self, cx: &mut Cx<'_, Self>, used: &VirtualService, others: &[Arc<VirtualService>]) {
        for vs in others.iter().filter(|vs| !vs.http.is_empty()) {
            cx.problem(followed_instead(vs, &self.key.host, used));
        }
    }

    fn add_default(&self, cx: &mut Cx<'_, Self>, seen: &Seen, made: &mut RouteOutput) {
        let mesh = mesh(cx);
        let port = seen.service.ports.iter().find(|p| p.number == self.port);
        let policy = effective_policy(seen.rule.as_deref(), "", self.port, &mesh);
        let to = ClusterRef {
            cluster: cluster_name(self.port, "", &self.key.host).into(),
            missing: None,
            hash: policy.as_ref().and_then(EffectivePolicy::hash_key),
            offers_http: port.zip(policy.as_ref()).is_some_and(|(port, p)| offers_http(&seen.service, port, p)),
        };
        made.routes.push(default_route(&to, mesh.default_retries.as_ref()));
        made.clusters.insert(to.cluster);
    }

    fn domains(
        &self,
        cx: &mut Cx<'_, Self>,
        seen: &Seen,
        with_port: Option<u16>,
        rivals: &mut BTreeSet<Host>,
    ) -> Vec<String> {
        let vips: Vec<_> = seen.service.vips.iter().copied().filter(|ip| self.owns(cx, seen, *ip, rivals)).collect();
        let suffix = mesh(cx).domain_suffix.clone();
        let client = self.key.client.as_deref().unwrap_or("-");
        let input = DomainInput {
            service: &seen.service,
            aliases: &[],
            proxy_domain: &format!("{client}.svc.{suffix}"),
            vips: &vips,
            with_port,
        };
        let mut domains = service_domains(&input, &mut |name| !cx.set(&ServicesByHost(name.into())).is_empty());
        if with_port.is_none() {
            self.keep_own(cx, seen, &mut domains, rivals);
        }
        domains
    }

    /// Leaves to other hosts their own names.
    fn keep_own(&self, cx: &mut Cx<'_, Self>, seen: &Seen, domains: &mut Vec<String>, rivals: &mut BTreeSet<Host>) {
        let onlooker = Onlooker::of(&self.key, &self.labels, self.port);
        domains.retain(|domain| {
            let Some(other) = alias_host(domain).filter(|other| *other != &*self.key.host) else { return true };
            let other = Host::from(other);
            if !onlooker.meets(cx, &other) {
                return true;
            }
            if let Some(winner) = onlooker.object_of(cx, &other) {
                let object = seen.service.object.clone();
                let field = if object.kind == "Service" { "metadata.name" } else { "spec.hosts" };
                let reason = format!("requests for {domain:?} are those of {winner}, which has the same domain");
                cx.problem(Problem { object, field: field.to_owned(), reason, code: Code::HostTaken });
            }
            rivals.insert(other);
            false
        });
    }

    /// Whether requests for an address are this service's: of the services with it that the proxy sees, the oldest has
    /// it. Envoy refuses a domain that stands twice. Who has it knows all others: it may have it from them, or they from it.
    fn owns(&self, cx: &mut Cx<'_, Self>, seen: &Seen, ip: IpAddr, rivals: &mut BTreeSet<Host>) -> bool {
        let owners = cx.set(&VipOwners(ip, self.port));
        let owner = owners.iter().map(|(_, key)| key).find(|key| self.sees(cx, key));
        let Some(owner) = owner.filter(|owner| **owner != seen.key) else {
            rivals.extend(owners.iter().map(|(_, key)| key.host.clone()).filter(|host| *host != self.key.host));
            return true;
        };
        let object = seen.service.object.clone();
        let field = if object.kind == "Service" { "spec.clusterIP" } else { "spec.addresses" };
        let reason = format!(
            "requests for {ip} on port {} are those of the older {}, which has the same address",
            self.port, owner.object
        );
        cx.problem(Problem { object, field: field.to_owned(), reason, code: Code::AddressTaken });
        false
    }

    fn sees(&self, cx: &mut Cx<'_, Self>, key: &ServiceKey) -> bool {
        let visible = sees(cx, self.key.client.as_ref(), key);
        visible && self.key.narrowed.as_ref().is_none_or(|scope| imports_host(cx, scope, &key.host))
    }
}
