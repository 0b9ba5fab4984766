//! Sets of keys by what they are looked up by. Each entry is small and ordered by age where conflicts are decided.

use std::{net::IpAddr, sync::Arc};

use super::{
    graph::{Cx, Db, Emission, Emit, Set},
    inputs::{
        DestinationRules, EnvoyFilters, Findings, Gateways, NamespacedName, PeerAuthentications, Pods, Policies,
        ServiceKey, Sidecars, Slices, Usable, VirtualServices, Workloads,
    },
    stage,
};
use crate::{
    model::{
        Age, DestinationRule, Host, Labels, Namespace, ObjectRef,
        destination_rule::PolicyBlocks,
        secret::{CONFIG_MAP, SecretUse},
        service::Registry,
        virtual_service::GatewayName,
    },
    translate::clusters,
};

/// Where Sidecar objects look for what they import.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    /// One namespace.
    Namespace(Namespace),
    /// All of them.
    Anywhere,
}

macro_rules! index {
    ($($(#[$doc:meta])* $name:ident($($key:ty),+) of $elem:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub(super) struct $name($(pub(super) $key),+);

        impl Set for $name {
            type Elem = $elem;
            const STAGE: u8 = stage::INDEX;
        }
    )*};
}

/// Which of the secrets that DestinationRules name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Named {
    /// All.
    ByAny,
    /// By rules of a namespace that select workloads.
    BySelective(Namespace),
    /// ConfigMaps, which everybody may read.
    Public,
}

index! {
    /// Services of a host: Kubernetes' before ServiceEntries, then oldest first.
    ServicesByHost(Host) of (Registry, Age, ServiceKey);
    /// Services with an address and a port, oldest first.
    VipOwners(IpAddr, u16) of (Age, ServiceKey);
    /// Services of a place.
    ServicesAt(Place) of ServiceKey;
    /// Slices of a Kubernetes Service.
    SlicesOf(NamespacedName) of NamespacedName;
    /// Slices that name a Pod.
    PodMentions(NamespacedName) of NamespacedName;
    /// Pods of a namespace.
    PodsIn(Namespace) of NamespacedName;
    /// WorkloadEntries of a namespace with a label of this name and value; with two empty texts, all of them.
    WorkloadsLabelled(Namespace, Arc<str>, Arc<str>) of NamespacedName;
    /// DestinationRules by their host as written.
    RulesByHost(Host) of (Age, NamespacedName);
    /// VirtualServices on the mesh gateway by host.
    MeshRoutesByHost(Host) of (Age, NamespacedName);
    /// VirtualServices on the mesh gateway of a place.
    MeshRoutesAt(Place) of NamespacedName;
    /// VirtualServices bound to a Gateway.
    RoutesByGateway(NamespacedName) of (Age, NamespacedName);
    /// Distinct selectors of Gateways; `None` selects every gateway workload.
    GatewaySelectors(()) of Option<Labels>;
    /// Gateways by selector.
    GatewaysBySelector(Option<Labels>) of (Age, NamespacedName);
    /// Sidecars of a namespace.
    SidecarsIn(Namespace) of (Age, NamespacedName);
    /// EnvoyFilters of a namespace.
    FiltersIn(Namespace) of NamespacedName;
    /// PeerAuthentications of a namespace.
    PeerAuthenticationsIn(Namespace) of NamespacedName;
    /// Kubernetes Services of a namespace that select workloads by a label, with this value among others.
    ServicesSelecting(Namespace, Arc<str>, Arc<str>) of (Age, ServiceKey);
    /// Policies of a namespace.
    PoliciesIn(Namespace) of ObjectRef;
    /// Secrets or ConfigMaps of a name, of all namespaces.
    SecretsNamed(&'static str, Arc<str>) of (Namespace, SecretUse);
    /// Secrets that DestinationRules name, by resource name.
    RuleSecrets(Named) of Arc<str>;
    /// Keys of proxy labels that any configuration looks at.
    LabelKeys(()) of Arc<str>;
}

macro_rules! emitters {
    ($($input:ident => $name:ident: $into:ident |$key:ident, $value:ident, $cx:ident| $body:expr;)*) => {
        $(
            #[derive(Clone, Debug, PartialEq, Eq, Hash)]
            struct $name($input);

            impl Emit for $name {
                type Into = $into;
                const STAGE: u8 = stage::INDEX_EMIT;
                fn run(&self, $cx: &mut Cx<'_, Emission<Self>>) -> Vec<($into, <$into as Set>::Elem)> {
                    let $key = &self.0;
                    let Some($value) = $cx.input($key) else { return Vec::new() };
                    $body
                }
            }
        )*

        /// Registers all indexes.
        pub(super) fn register(db: &mut Db) {
            $(db.emit_for_input::<$input, $name>(|key| $name(key.clone()));)*
            db.emit_for_input::<Findings, ReportFindings>(|key| ReportFindings(key.clone()));
        }
    };
}

emitters! {
    ServiceKey => IndexServiceByHost: ServicesByHost |key, service, cx| {
        vec![(ServicesByHost(key.host.clone()), (service.registry, service.age.clone(), key.clone()))]
    };
    ServiceKey => IndexVips: VipOwners |key, service, cx| {
        let ports = || service.ports.iter().map(|p| p.number);
        let pairs = service.vips.iter().flat_map(|ip| ports().map(|port| VipOwners(*ip, port)));
        pairs.map(|owner| (owner, (service.age.clone(), key.clone()))).collect()
    };
    ServiceKey => IndexServiceAt: ServicesAt |key, service, cx| {
        places(&service.namespace).map(|place| (ServicesAt(place), key.clone())).into()
    };
    Slices => IndexSlice: SlicesOf |key, slice, cx| {
        let service = NamespacedName { namespace: slice.namespace.clone(), name: slice.service.clone() };
        vec![(SlicesOf(service), key.0.clone())]
    };
    Slices => IndexMentions: PodMentions |key, slice, cx| {
        let pods = slice.entries.iter().filter(|e| !e.pod.is_empty());
        let pods = pods.map(|e| NamespacedName { namespace: slice.namespace.clone(), name: e.pod.clone() });
        pods.map(|pod| (PodMentions(pod), key.0.clone())).collect()
    };
    Pods => IndexPod: PodsIn |key, pod, cx| vec![(PodsIn(pod.namespace.clone()), key.0.clone())];
    Workloads => IndexWorkload: WorkloadsLabelled |key, workload, cx| {
        let labels = workload.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let set = |(name, value): (&str, &str)| {
            WorkloadsLabelled(workload.object.namespace.clone(), name.into(), value.into())
        };
        labels.chain([("", "")]).map(|label| (set(label), key.0.clone())).collect()
    };
    DestinationRules => IndexRule: RulesByHost |key, rule, cx| {
        vec![(RulesByHost(rule.host.clone()), (rule.age.clone(), key.0.clone()))]
    };
    DestinationRules => IndexRuleLabels: LabelKeys |key, rule, cx| {
        let selector = rule.workload_selector.iter().flat_map(|s| s.keys().map(String::as_str));
        selector.chain(failover_label_keys(&rule)).map(|k| (LabelKeys(()), k.into())).collect()
    };
    DestinationRules => IndexRuleSecrets: RuleSecrets |key, rule, cx| {
        let policies = blocks(&rule).filter_map(|b| b.tls.as_deref());
        let selective = rule.workload_selector.is_some().then(|| Named::BySelective(rule.namespace.clone()));
        let sets = |name: &str| {
            let public = name.starts_with(CONFIG_MAP).then_some(Named::Public);
            [Some(Named::ByAny), selective.clone(), public].into_iter().flatten()
        };
        let names = policies.flat_map(clusters::secrets);
        names.flat_map(|name| sets(&name).map(move |set| (RuleSecrets(set), name.clone()))).collect()
    };
    Usable => IndexSecret: SecretsNamed |key, usable, cx| {
        let ObjectRef { kind, namespace, name } = &key.0;
        vec![(SecretsNamed(kind, name.clone()), (namespace.clone(), (*usable).clone()))]
    };
    VirtualServices => IndexMeshRoute: MeshRoutesByHost |key, vs, cx| {
        let mesh = vs.gateways.contains(&GatewayName::Mesh);
        let hosts = vs.hosts.iter().filter(|_| mesh);
        hosts.map(|h| (MeshRoutesByHost(h.clone()), (vs.age.clone(), key.0.clone()))).collect()
    };
    VirtualServices => IndexMeshRouteAt: MeshRoutesAt |key, vs, cx| {
        let mesh = vs.gateways.contains(&GatewayName::Mesh) && !vs.is_delegate();
        let places = places(&vs.object.namespace).into_iter().filter(|_| mesh);
        places.map(|place| (MeshRoutesAt(place), key.0.clone())).collect()
    };
    VirtualServices => IndexGatewayRoute: RoutesByGateway |key, vs, cx| {
        let named = vs.gateways.iter().filter_map(|g| match g {
            GatewayName::Mesh => None,
            GatewayName::Named(name) => name.split_once('/').map(|(ns, n)| NamespacedName::new(ns, n)),
        });
        named.map(|g| (RoutesByGateway(g), (vs.age.clone(), key.0.clone()))).collect()
    };
    VirtualServices => IndexRouteLabels: LabelKeys |key, vs, cx| {
        let http = vs.http.iter().flat_map(|r| r.matches.iter().map(|m| &m.source));
        let tls = vs.tls.iter().flat_map(|r| r.matches.iter().map(|m| &m.source));
        let tcp = vs.tcp.iter().flat_map(|r| r.matches.iter().map(|m| &m.source));
        let keys = http.chain(tls).chain(tcp).flat_map(|s| s.labels.keys());
        keys.map(|k| (LabelKeys(()), k.as_str().into())).collect()
    };
    Gateways => IndexGatewaySelector: GatewaySelectors |key, gateway, cx| {
        vec![(GatewaySelectors(()), gateway.selector.clone())]
    };
    Gateways => IndexGateway: GatewaysBySelector |key, gateway, cx| {
        vec![(GatewaysBySelector(gateway.selector.clone()), (gateway.age.clone(), key.0.clone()))]
    };
    Sidecars => IndexSidecar: SidecarsIn |key, sidecar, cx| {
        vec![(SidecarsIn(sidecar.namespace.clone()), (sidecar.age.clone(), key.0.clone()))]
    };
    EnvoyFilters => IndexFilter: FiltersIn |key, filter, cx| vec![(FiltersIn(filter.object.namespace.clone()), key.0.clone())];
    PeerAuthentications => IndexPeer: PeerAuthenticationsIn |key, policy, cx| {
        vec![(PeerAuthenticationsIn(policy.object.namespace.clone()), key.0.clone())]
    };
    ServiceKey => IndexSelector: ServicesSelecting |key, service, cx| {
        // One label is enough to find it: a workload looks under each of its own.
        let first = service.selector.as_ref().and_then(|selector| selector.iter().next());
        let set = first.map(|(name, value)| {
            ServicesSelecting(service.namespace.clone(), name.as_str().into(), value.as_str().into())
        });
        set.map(|set| (set, (service.age.clone(), key.clone()))).into_iter().collect()
    };
    Policies => IndexPolicy: PoliciesIn |key, policy, cx| vec![(PoliciesIn(policy.namespace.clone()), key.0.clone())];
}

fn places(namespace: &Namespace) -> [Place; 2] {
    [Place::Namespace(namespace.clone()), Place::Anywhere]
}

/// Reports what conversion found, through the same way as everything that queries find.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ReportFindings(Findings);

impl Emit for ReportFindings {
    type Into = LabelKeys;
    const STAGE: u8 = stage::INDEX_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(LabelKeys, Arc<str>)> {
        let findings = cx.input(&self.0);
        findings.iter().flat_map(|f| f.iter()).for_each(|p| cx.problem(p.clone()));
        Vec::new()
    }
}

/// The labels of the proxy that `failoverPriority` compares (translation §4.4).
fn failover_label_keys(rule: &DestinationRule) -> impl Iterator<Item = &str> {
    let localities = blocks(rule).filter_map(|b| b.load_balancer.as_deref()?.locality.as_ref());
    localities.flat_map(|l| l.failover_priority.iter().map(|key| key.split('=').next().unwrap_or_default()))
}

/// All policies of a rule: of the service, its subsets, and their ports.
fn blocks(rule: &DestinationRule) -> impl Iterator<Item = &PolicyBlocks> {
    let subsets = rule.subsets.iter().filter_map(|s| s.policy.as_deref());
    let policies = rule.policy.as_deref().into_iter().chain(subsets);
    policies.flat_map(|p| std::iter::once(&p.blocks).chain(p.ports.iter().map(|(_, b)| b)))
}
