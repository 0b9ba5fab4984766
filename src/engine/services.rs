//! Who sees which service under a host, and which DestinationRule applies.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    graph::{Cx, Query},
    index::{RulesByHost, ServicesByHost},
    inputs::{DestinationRules, Mesh, ServiceKey},
    stage,
};
use crate::model::{
    Host, Labels, MergedRule, MeshConfig, Namespace, Service, Visibility,
    destination_rule::{Candidates, NamespaceRules, host_patterns},
};

/// The mesh configuration, or the defaults while there is none.
pub(super) fn mesh<Q: Query>(cx: &mut Cx<'_, Q>) -> Arc<MeshConfig> {
    cx.input(&Mesh(())).unwrap_or_default()
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
        let services: Vec<_> = ranked.iter().filter_map(|(_, _, key)| Some((key, cx.input(key)?))).collect();
        let public = |s: &Service| s.visibility == Visibility::Public;
        let default = services.iter().find(|(_, s)| public(s)).map(|(key, _)| (*key).clone());
        let special: BTreeSet<&Namespace> = services
            .iter()
            .flat_map(|(_, s)| {
                let exported = match &s.visibility {
                    Visibility::Public => None,
                    Visibility::Namespaces(set) => Some(set.iter()),
                };
                std::iter::once(&s.namespace).chain(exported.into_iter().flatten())
            })
            .collect();
        let others = special.into_iter().filter_map(|client| {
            let mut visible = services.iter().filter(|(_, s)| s.visibility.admits(client));
            let own = visible.clone().find(|(_, s)| s.namespace == *client);
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
        let mut found: BTreeMap<Namespace, Vec<Vec<Arc<crate::model::DestinationRule>>>> = BTreeMap::new();
        for (depth, pattern) in host_patterns(&self.0).enumerate() {
            for (_, key) in cx.set(&RulesByHost(pattern.as_str().into())).iter() {
                let Some(rule) = cx.input(&DestinationRules(key.clone())) else { continue };
                let levels = found.entry(key.namespace.clone()).or_default();
                levels.resize_with(levels.len().max(depth + 1), Vec::new);
                levels[depth].push(rule);
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
}
