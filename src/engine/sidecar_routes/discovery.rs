//! Virtual hosts that sidecars discover one by one (VHDS): the same as in whole route configurations, as resources.
//!
//! ```text
//!  HostPlan ──► DiscoveredLayer ──► VirtualHostItem (site Discovered) ──► part ─┐
//!                                          CatchAll of each port ──► OwnPart ───┴─► View of VirtualHost
//! ```
//!
//! A changed host patches one entry of a part. Route configurations of a single sniffed service stay whole, as they have
//! one virtual host; so does that of the forward proxy, whose domains tell ports.

use std::{collections::BTreeMap, sync::Arc};

use envoy_types::pb::envoy::config::route::v3::VirtualHost;

use super::{
    HostFacets, HostKey, HostSite, OpenPorts, VirtualHostItem,
    configs::RouteFacts,
    names::Onlooker,
    plan::{ImportedRuleHosts, Source},
};
use crate::{
    engine::{
        graph::{Cx, Db, Emission, Emit, Layer, OwnPart, Query, Set},
        index::{MeshRoutesByHost, ServicesByHost},
        scope::Scope,
        sidecars::Imports,
        stage,
    },
    model::{Host, Labels, mesh::OutboundPolicy},
    snapshot::{Encoder, Name, PartState, Refs, Resource, ResourceType, Slot, host_resource_name},
    translate::virtual_hosts::{catch_all, discovering_config, host_and_port},
};

/// The host of requests for no known host.
const ANY: &str = "*";

/// The virtual hosts of a scope that depend on the same labels, on all ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DiscoveredLayer {
    scope: Scope,
    labels: Arc<[Arc<str>]>,
}

impl Set for DiscoveredLayer {
    type Elem = (HostKey, u16);
    const STAGE: u8 = stage::LAYER;
}

impl Layer for DiscoveredLayer {
    type Facets = Labels;
    type Item = VirtualHostItem;
    fn item(&self, (key, port): &(HostKey, u16), labels: &Labels) -> (Name, VirtualHostItem) {
        let HostFacets { labels, site } = HostFacets { labels: labels.clone(), site: HostSite::Discovered };
        (name(*port, &key.host), VirtualHostItem { key: key.clone(), port: *port, labels, site })
    }
}

/// Which labels the layers of a scope distinguish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct DiscoveredLabels(Scope);

impl Set for DiscoveredLabels {
    type Elem = Arc<[Arc<str>]>;
    const STAGE: u8 = stage::LAYERS;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitDiscovered(Source);

impl Emit for EmitDiscovered {
    type Into = DiscoveredLayer;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(DiscoveredLayer, (HostKey, u16))> {
        let plan = self.0.plan(cx);
        let planned = plan.iter().map(|p| {
            let layer = DiscoveredLayer { scope: p.scope.clone(), labels: p.labels.clone() };
            (layer, (p.key.clone(), p.port))
        });
        planned.collect()
    }
}

/// Says of a layer that it has something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitDiscoveredLabels(DiscoveredLayer);

impl Emit for EmitDiscoveredLabels {
    type Into = DiscoveredLabels;
    const STAGE: u8 = stage::LAYERS_EMIT;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(DiscoveredLabels, Arc<[Arc<str>]>)> {
        vec![(DiscoveredLabels(self.0.scope.clone()), self.0.labels.clone())]
    }
}

/// Registers the emitters.
pub(super) fn register(db: &mut Db) {
    db.emit_for_elements::<ServicesByHost, EmitDiscovered>(|set, _| EmitDiscovered(Source::Service(set.0.clone())));
    db.emit_for_elements::<Imports, EmitDiscovered>(|set, i| EmitDiscovered(Source::imported(set, i)));
    db.emit_for_elements::<MeshRoutesByHost, EmitDiscovered>(|set, _| EmitDiscovered(Source::Ruled(set.0.clone())));
    db.emit_for_elements::<ImportedRuleHosts, EmitDiscovered>(|set, h| EmitDiscovered(Source::imported_ruled(set, h)));
    db.emit_for_sets::<DiscoveredLayer, EmitDiscoveredLabels>(|layer| EmitDiscoveredLabels(layer.clone()));
}

/// The name of the resource of a host's virtual host in the route configuration of a port.
pub(super) fn name(port: u16, host: &Host) -> Name {
    host_resource_name(&port.to_string(), &host_and_port(host, port))
}

/// A virtual host as a resource. Envoy removes by the name within, so it is that of the resource.
pub(super) fn resource(port: u16, host: &mut VirtualHost, refs: Refs) -> Arc<Resource> {
    let name = host_resource_name(&port.to_string(), &host.name);
    name.as_ref().clone_into(&mut host.name);
    Arc::new(Encoder::message(ResourceType::VirtualHost, name, host, refs))
}

/// The route configuration of a port, for everybody who discovers its virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DiscoveringConfig(pub(super) u16);

impl Query for DiscoveringConfig {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, _: &mut Cx<'_, Self>) -> Slot {
        let name = self.0.to_string();
        let config = discovering_config(&name);
        Some(Arc::new(Encoder::message(ResourceType::Route, name.into(), &config, Refs::default())))
    }
}

/// The virtual host of requests for no known host on a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CatchAll(u16, OutboundPolicy);

impl Query for CatchAll {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, _: &mut Cx<'_, Self>) -> Slot {
        let Self(port, policy) = self;
        let hosts = [name(*port, &ANY.into())].into();
        Some(resource(*port, &mut catch_all(*policy, None), Refs { hosts, ..Refs::default() }))
    }
}

/// Whether a host `*` takes the requests for no known host on a port.
pub(super) fn has_any_host<Q: Query>(cx: &mut Cx<'_, Q>, scopes: &[Scope], labels: &Labels, port: u16) -> bool {
    Onlooker::within(scopes, labels, port).meets(cx, &ANY.into())
}

/// The virtual hosts of all others, of the route configurations of a class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CatchAlls {
    scopes: Vec<Scope>,
    facts: Arc<RouteFacts>,
}

impl Query for CatchAlls {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let mut made: BTreeMap<Name, Slot> = BTreeMap::new();
        for scope in &self.scopes {
            for port in cx.set(&OpenPorts(scope.clone())).iter() {
                if has_any_host(cx, &self.scopes, &self.facts.labels, *port) {
                    continue;
                }
                let slot = cx.get(&CatchAll(*port, self.facts.policy));
                made.extend(slot.map(|resource| (resource.name.clone(), Some(resource))));
            }
        }
        OwnPart::of(self, made.into_iter())
    }
}

/// The parts of virtual hosts of a sidecar, the deciding one first.
pub(in crate::engine) fn host_parts<Q: Query>(
    cx: &mut Cx<'_, Q>,
    scopes: &[Scope],
    facts: &Arc<RouteFacts>,
) -> Vec<PartState> {
    let mut parts = Vec::new();
    for scope in scopes {
        for keys in cx.set(&DiscoveredLabels(scope.clone())).iter() {
            let layer = DiscoveredLayer { scope: scope.clone(), labels: keys.clone() };
            parts.push(cx.part(&layer, &facts.restricted_to(keys)));
        }
    }
    parts.push(cx.get(&CatchAlls { scopes: scopes.to_vec(), facts: facts.clone() }).0);
    parts
}
