//! What gateways (`router` proxies) have: listeners, route configurations and secrets of the Gateways that select
//! them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    credentials::{secret_state, secrets},
    filters::{note_patches, patches_for},
    gateway_routes::{GatewayRoute, tcp_routes},
    graph::{Cx, OwnPart, Query},
    index::{GatewaySelectors, GatewaysBySelector, Named, PoliciesIn, RuleSecrets},
    inputs::{Gateways, NamespacedName, Policies},
    services::{self, mesh},
    stage,
};
use crate::{
    model::{Gateway, IpFamilies, Labels, Namespace, Proxy, envoy_filter::PatchContext, workload::selects},
    snapshot::{Name, ResourceType, Slot},
    translate::{
        filters::envoy_filter::PatchSet,
        listeners::{
            gateway::{GatewayInput, Merged, PortTranslation, gateway_listener, merge_servers},
            tls_context,
        },
    },
};

/// What decides a gateway's listeners and routes; gateways with equal facts share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RouterClass {
    /// The namespace: credentials are read from it, services are seen from it.
    pub(super) namespace: Namespace,
    /// The Gateways that select it, oldest first.
    pub(super) gateways: Vec<NamespacedName>,
    /// From service ports to its own.
    pub(super) ports: PortTranslation,
    /// It may not bind ports below 1024.
    pub(super) unprivileged: bool,
    /// Its address families.
    pub(super) families: IpFamilies,
    /// A policy that cannot be enforced yet selects it.
    pub(super) deny_all: bool,
    /// The EnvoyFilters that apply to it.
    pub(super) filters: PatchSet,
}

impl RouterClass {
    /// The class of a gateway with these labels.
    pub(super) fn of<Q: Query>(cx: &mut Cx<'_, Q>, proxy: &Proxy, labels: &Labels) -> Self {
        Self {
            namespace: proxy.namespace.clone(),
            gateways: selecting(cx, labels),
            ports: port_translation(cx, &proxy.namespace, labels),
            unprivileged: proxy.unprivileged,
            families: IpFamilies::of(&proxy.ips),
            deny_all: is_denied(cx, &proxy.namespace, labels),
            filters: patches_for(cx, proxy, labels),
        }
    }
}

/// The Gateways whose selector matches, oldest first (translation §7.1).
fn selecting<Q: Query>(cx: &mut Cx<'_, Q>, labels: &Labels) -> Vec<NamespacedName> {
    let mut found = BTreeSet::new();
    for selector in cx.set(&GatewaySelectors(())).iter() {
        if selector.as_ref().is_none_or(|s| selects(s, labels)) {
            found.extend(cx.set(&GatewaysBySelector(selector.clone())).iter().cloned());
        }
    }
    found.into_iter().map(|(_, key)| key).collect()
}

/// From the ports of the services that select a gateway's pod to its own (translation §7.2).
fn port_translation<Q: Query>(cx: &mut Cx<'_, Q>, namespace: &Namespace, labels: &Labels) -> PortTranslation {
    /// A service with this label does not translate.
    const OFF: &str = "experimental.istio.io/disable-gateway-port-translation";
    let services = services::selecting(cx, namespace, labels);
    let ports = services.iter().filter(|s| !s.labels.contains_key(OFF)).flat_map(|s| s.ports.iter());
    PortTranslation::new(ports.filter_map(|p| Some((p.number, p.target?))))
}

/// Whether a policy selects the workload that is not enforced yet (design §2 truth 5).
pub(super) fn is_denied<Q: Query>(cx: &mut Cx<'_, Q>, namespace: &Namespace, labels: &Labels) -> bool {
    let mesh = mesh(cx);
    if !mesh.deny_unenforced {
        return false;
    }
    let root = mesh.root_namespace.clone();
    let keys = [cx.set(&PoliciesIn(namespace.clone())), cx.set(&PoliciesIn(root.clone()))].concat();
    keys.into_iter().any(|key| cx.input(&Policies(key)).is_some_and(|p| p.selects(namespace, labels, &root)))
}

/// The servers of a class, merged; servers that lost are reported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MergedGateways(pub(super) Arc<RouterClass>);

impl Query for MergedGateways {
    type Value = Arc<Merged>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let keys = self.0.gateways.iter();
        let gateways: Vec<Arc<Gateway>> = keys.filter_map(|k| cx.input(&Gateways(k.clone()))).collect();
        let merged = merge_servers(&gateways, &self.0.ports, self.0.unprivileged, self.0.families);
        merged.problems.iter().for_each(|p| cx.problem(p.clone()));
        Arc::new(merged)
    }
}

/// One listener of a class, by its place among the merged ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct GatewayListenerItem {
    class: Arc<RouterClass>,
    name: Name,
}

impl Query for GatewayListenerItem {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        let merged = cx.get(&MergedGateways(self.class.clone()));
        let class = &self.class;
        let listener = merged.listeners.iter().find(|l| *l.name(class.families) == *self.name)?;
        let mesh = mesh(cx);
        let mut output = {
            let cx = RefCell::new(&mut *cx);
            gateway_listener(
                listener,
                &GatewayInput {
                    mesh: &mesh,
                    families: class.families,
                    deny_all: class.deny_all,
                    secret_state: &|name| secret_state(*cx.borrow_mut(), &class.namespace, name),
                    tcp_routes: &|server| tcp_routes(*cx.borrow_mut(), class, server),
                },
            )
        };
        output.patch(&class.filters, PatchContext::Gateway, Some(listener.port));
        note_patches(cx, &output.patched_by);
        output.problems.iter().for_each(|p| cx.problem(p.clone()));
        output.resource().map(Arc::new)
    }
}

/// All listeners of a class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GatewayListeners(pub(super) Arc<RouterClass>);

impl Query for GatewayListeners {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let merged = cx.get(&MergedGateways(self.0.clone()));
        let names = merged.listeners.iter().map(|l| Name::from(l.name(self.0.families)));
        let items = names.map(|name| {
            let item = cx.get(&GatewayListenerItem { class: self.0.clone(), name: name.clone() });
            (name, item)
        });
        OwnPart::of(self, items)
    }
}

/// All route configurations of a class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GatewayRoutes(pub(super) Arc<RouterClass>);

impl Query for GatewayRoutes {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let merged = cx.get(&MergedGateways(self.0.clone()));
        let names: BTreeMap<Name, ()> =
            merged.listeners.iter().flat_map(|l| l.routes().into_keys()).map(|n| (n, ())).collect();
        let items = names.into_keys().map(|name| {
            let item = cx.get(&GatewayRoute { class: self.0.clone(), name: name.clone() });
            (name, item)
        });
        OwnPart::of(self, items)
    }
}

/// The secrets that the servers of a class name, and those of its namespace that DestinationRules name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GatewaySecrets(pub(super) Arc<RouterClass>);

impl Query for GatewaySecrets {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let merged = cx.get(&MergedGateways(self.0.clone()));
        let servers = merged.listeners.iter().flat_map(|l| &l.servers);
        let needs = servers.filter_map(|s| s.server().tls.as_ref()).flat_map(tls_context::secrets);
        let mut names: BTreeSet<Name> = needs.map(|n| n.resource).collect();
        names.extend(cx.set(&RuleSecrets(Named::ByAny)).iter().cloned());
        OwnPart::of(self, secrets(cx, &self.0.namespace, names))
    }
}

impl RouterClass {
    /// The parts of a type that only this class has.
    pub(super) fn own_part<Q: Query>(self: &Arc<Self>, cx: &mut Cx<'_, Q>, t: ResourceType) -> Option<OwnPart> {
        match t {
            ResourceType::Listener => Some(cx.get(&GatewayListeners(self.clone()))),
            ResourceType::Route => Some(cx.get(&GatewayRoutes(self.clone()))),
            ResourceType::Secret => Some(cx.get(&GatewaySecrets(self.clone()))),
            _ => None,
        }
    }
}
