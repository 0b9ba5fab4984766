//! Who sees which service under a host, and which DestinationRule applies.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    graph::{Cx, Query},
    index::{RulesByHost, ServicesByHost, ServicesSelecting},
    inputs::{DestinationRules, Mesh, Namespaces, ServiceKey},
    stage,
};
use crate::model::{
    DestinationRule, ExportDefaults, Host, Labels, MergedRule, MeshConfig, Namespace, ObjectRef, Service,
    VirtualService, Visibility,
    destination_rule::{Candidates, NamespaceRules, host_patterns},
    service::{Registry, TrafficDistribution},
    workload::selects,
};

const DESTINATION_RULE: &str = "DestinationRule";

/// The mesh configuration, or the defaults while there is none.
pub(super) fn mesh<Q: Query>(cx: &mut Cx<'_, Q>) -> Arc<MeshConfig> {
    cx.input(&Mesh(())).unwrap_or_default()
}

/// The mesh's defaults of `exportTo`: a change of anything else in the mesh configuration stops here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Exports;

impl Query for Exports {
    type Value = Arc<ExportDefaults>;
    const STAGE: u8 = stage::SETTING;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        Arc::new(mesh(cx).export_defaults.clone())
    }
}

/// The Kubernetes Services that select a workload with these labels, oldest first.
pub(super) fn selecting<Q: Query>(cx: &mut Cx<'_, Q>, namespace: &Namespace, labels: &Labels) -> Vec<Arc<Service>> {
    let mut keys = Vec::new();
    for (name, value) in labels {
        let set = ServicesSelecting(namespace.clone(), name.as_str().into(), value.as_str().into());
        keys.extend(cx.set(&set).iter().cloned());
    }
    keys.sort();
    let services = keys.iter().filter_map(|(_, key)| cx.input(key));
    services.filter(|s| s.selector.as_ref().is_some_and(|selector| selects(selector, labels))).collect()
}

/// Who sees a service.
pub(super) fn visibility_of<'a, Q: Query>(cx: &mut Cx<'_, Q>, service: &'a Service) -> Cow<'a, Visibility> {
    cx.get(&Exports).services.over(service.visibility.as_deref(), &service.namespace)
}

/// Who sees a VirtualService.
pub(super) fn visibility_of_rules<'a, Q: Query>(cx: &mut Cx<'_, Q>, vs: &'a VirtualService) -> Cow<'a, Visibility> {
    cx.get(&Exports).virtual_services.over(vs.visibility.as_ref(), &vs.object.namespace)
}

/// A DestinationRule that says who sees it; `None` stays where that is everybody.
fn exported<Q: Query>(cx: &mut Cx<'_, Q>, rule: Arc<DestinationRule>) -> Arc<DestinationRule> {
    let default = cx.get(&Exports).destination_rules.of(&rule.namespace);
    if rule.visibility.is_some() || default == Visibility::Public {
        return rule;
    }
    Arc::new(DestinationRule { visibility: Some(default), ..(*rule).clone() })
}

/// Whether clients of a namespace see a service, whatever else has its host.
pub(super) fn sees<Q: Query>(cx: &mut Cx<'_, Q>, client: Option<&Namespace>, key: &ServiceKey) -> bool {
    cx.get(&Claims(key.host.clone())).seen_from(client) == Some(key)
}

/// The zone or node preference of Kubernetes Services in a namespace that have none of their own (translation §1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct DefaultDistribution(Namespace);

impl Query for DefaultDistribution {
    type Value = Option<TrafficDistribution>;
    const STAGE: u8 = stage::SETTING;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        cx.input(&Namespaces(self.0.clone()))?.traffic_distribution
    }
}

/// A service with what its namespace says for it.
fn with_defaults<Q: Query>(cx: &mut Cx<'_, Q>, service: Arc<Service>) -> Arc<Service> {
    if service.registry != Registry::Kubernetes || service.traffic_distribution.is_some() {
        return service;
    }
    match cx.get(&DefaultDistribution(service.namespace.clone())) {
        None => service,
        of_namespace => Arc::new(Service { traffic_distribution: of_namespace, ..(*service).clone() }),
    }
}

/// The services of a host and who sees which (translation §1.4: own namespace, Kubernetes, oldest).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claims(pub(super) Host);

/// See [`Claims`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostClaims {
    /// What clients see whose namespace is nothing special.
    pub(super) default: Option<ServiceKey>,
    /// Namespaces that see another one.
    pub(super) others: BTreeMap<Namespace, ServiceKey>,
}

impl HostClaims {
    /// What clients of a namespace see.
    pub(super) fn seen_from(&self, client: Option<&Namespace>) -> Option<&ServiceKey> {
        client.and_then(|c| self.others.get(c)).or(self.default.as_ref())
    }
}

impl Query for Claims {
    type Value = Arc<HostClaims>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let ranked = cx.set(&ServicesByHost(self.0.clone()));
        let services: Vec<(&ServiceKey, Visibility)> = ranked
            .iter()
            .filter_map(|(_, _, key)| {
                let service = cx.input(key)?;
                Some((key, visibility_of(cx, &service).into_owned()))
            })
            .collect();
        let default = services.iter().find(|(_, v)| *v == Visibility::Public).map(|(key, _)| (*key).clone());
        let special: BTreeSet<&Namespace> = services
            .iter()
            .flat_map(|(key, visibility)| {
                let exported = match visibility {
                    Visibility::Public => None,
                    Visibility::Namespaces(set) => Some(set.iter()),
                };
                std::iter::once(&key.object.namespace).chain(exported.into_iter().flatten())
            })
            .collect();
        let others = special.into_iter().filter_map(|client| {
            let mut visible = services.iter().filter(|(_, visibility)| visibility.admits(client));
            let own = visible.clone().find(|(key, _)| key.object.namespace == *client);
            let key = own.or_else(|| visible.next())?.0;
            (Some(key) != default.as_ref()).then(|| (client.clone(), key.clone()))
        });
        let others = others.collect();
        Arc::new(HostClaims { default, others })
    }
}

/// The DestinationRules about a host by namespace, merged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RulesOf(Host);

impl Query for RulesOf {
    type Value = Arc<BTreeMap<Namespace, Arc<NamespaceRules>>>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        // Per namespace the rules of each pattern, the most specific pattern first.
        let mut found: BTreeMap<Namespace, Vec<Vec<Arc<DestinationRule>>>> = BTreeMap::new();
        for (depth, pattern) in host_patterns(&self.0).enumerate() {
            for (_, key) in cx.set(&RulesByHost(pattern.as_str().into())).iter() {
                let Some(rule) = cx.input(&DestinationRules(key.clone())) else { continue };
                let levels = found.entry(key.namespace.clone()).or_default();
                levels.resize_with(levels.len().max(depth + 1), Vec::new);
                levels[depth].push(exported(cx, rule));
            }
        }
        let merged = found.into_iter().map(|(ns, levels)| {
            let rules = NamespaceRules::of(levels.iter().map(Vec::as_slice));
            (ns, Arc::new(rules))
        });
        Arc::new(merged.collect())
    }
}

/// What clients see of a host: the namespaces that differ from the rest, by service or by rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Exceptions(pub(super) Host);

impl Query for Exceptions {
    type Value = Arc<BTreeSet<Namespace>>;
    const STAGE: u8 = stage::FACT2;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let claims = cx.get(&Claims(self.0.clone()));
        let rules = cx.get(&RulesOf(self.0.clone()));
        let mut all: BTreeSet<Namespace> = claims.others.keys().cloned().collect();
        if let (false, Some(default)) = (rules.is_empty(), &claims.default) {
            let root = mesh(cx).root_namespace.clone();
            let candidates =
                Candidates { service_namespace: &default.object.namespace, root_namespace: &root, rules: &rules };
            all.extend(candidates.exceptions());
            // Workload selectors matter to clients of the rule's own namespace only.
            all.extend(rules.keys().filter(|ns| !candidates.selectors(ns).is_empty()).cloned());
        }
        Arc::new(all)
    }

    /// Who differs from whom, not how.
    fn has(_: &Self::Value, _: &ObjectRef) -> bool {
        false
    }
}

/// What a client sees of a host. `labels` are those of the client's that configuration looks at; `None` is a
/// client that no selector matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outlook {
    /// The host.
    pub(super) host: Host,
    /// The client's namespace, `None` where it is nothing special.
    pub(super) client: Option<Namespace>,
    /// The client's labels.
    pub(super) labels: Option<Arc<Labels>>,
}

/// See [`Outlook`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The service's key.
    pub(super) key: ServiceKey,
    /// The service.
    pub(super) service: Arc<Service>,
    /// Its DestinationRule.
    pub(super) rule: Option<Arc<MergedRule>>,
    /// Rules with a workload selector that clients of this namespace may follow instead.
    pub(super) label_rules: Vec<Arc<MergedRule>>,
}

impl Query for Outlook {
    type Value = Option<Arc<Seen>>;
    const STAGE: u8 = stage::OUTLOOK;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let claims = cx.get(&Claims(self.host.clone()));
        let key = claims.seen_from(self.client.as_ref())?.clone();
        let service = cx.input(&key)?;
        let service = with_defaults(cx, service);
        let rules = cx.get(&RulesOf(self.host.clone()));
        let (mut rule, mut label_rules) = (None, Vec::new());
        if !rules.is_empty() {
            let root = mesh(cx).root_namespace.clone();
            let candidates = Candidates { service_namespace: &service.namespace, root_namespace: &root, rules: &rules };
            let client = self.client.as_deref().unwrap_or_default();
            rule = candidates.applicable(client, self.labels.as_deref()).cloned();
            label_rules = candidates.selective(client);
        }
        Some(Arc::new(Seen { key, service, rule, label_rules }))
    }

    /// Of the rules about the host, those that the client follows.
    fn has(seen: &Self::Value, object: &ObjectRef) -> bool {
        let follows = |seen: &Arc<Seen>| seen.rule.iter().any(|rule| rule.objects.contains(object));
        object.kind != DESTINATION_RULE || seen.as_ref().is_some_and(follows)
    }
}
