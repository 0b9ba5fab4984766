//! Which rule a client follows (translation §4.2).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{DestinationRule, MergedRule, Scope, merge};
use crate::model::{Labels, Namespace, Visibility, workload::selects};

/// The hosts under which rules for this host are found, the most specific first: itself, `*.b.c`, `*.c`, `*`.
pub fn host_patterns(host: &str) -> impl Iterator<Item = String> + '_ {
    let exact = (host != "*").then(|| host.to_owned());
    // The first dot of a wildcard would repeat it.
    let first = usize::from(host.starts_with('*'));
    let wildcards = host.match_indices('.').skip(first).map(|(dot, _)| format!("*{}", &host[dot..]));
    exact.into_iter().chain(wildcards).chain(std::iter::once("*".to_owned()))
}

/// The rules of one namespace that are about one service host: those of the most specific host, per scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceRules {
    /// For clients of the namespace itself.
    pub local: Vec<Arc<MergedRule>>,
    /// For other clients, where visible.
    pub exported: Vec<Arc<MergedRule>>,
    /// Those that no other namespace sees.
    pub private: Vec<Arc<MergedRule>>,
}

impl NamespaceRules {
    /// Merges a namespace's rules, given per host pattern in the order of [`host_patterns`].
    pub fn of<'a>(by_pattern: impl IntoIterator<Item = &'a [Arc<DestinationRule>]>) -> Self {
        let mut all = Self::default();
        for rules in by_pattern {
            for (scope, slot) in [
                (Scope::Local, &mut all.local),
                (Scope::Exported, &mut all.exported),
                (Scope::Private, &mut all.private),
            ] {
                if slot.is_empty() {
                    *slot = merge(rules, scope);
                }
            }
        }
        all
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.local.is_empty()
    }
}

/// Everything that decides which rule a client of one service host follows.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// The service's namespace.
    pub service_namespace: &'a str,
    /// The namespace of mesh-wide configuration.
    pub root_namespace: &'a str,
    /// The rules about the host, of all namespaces that have any.
    pub rules: &'a BTreeMap<Namespace, Arc<NamespaceRules>>,
}

impl<'a> Candidates<'a> {
    /// The rule that clients of a namespace follow; `labels` are the client's, `None` ignores selectors.
    #[must_use]
    pub fn applicable(&self, client_namespace: &str, labels: Option<&Labels>) -> Option<&'a Arc<MergedRule>> {
        let rules = self.visible(client_namespace);
        let selected = |r: &&&Arc<MergedRule>| {
            *r.namespace == *client_namespace
                && matches!((&r.workload_selector, labels), (Some(selector), Some(own)) if selects(selector, own))
        };
        let unselective = |r: &&&Arc<MergedRule>| r.workload_selector.is_none();
        // Of several rules without a selector the reference takes the last (SidecarScope.DestinationRule).
        rules.iter().find(selected).or_else(|| rules.iter().rfind(unselective)).copied()
    }

    /// The rule of clients whose namespace is nothing special.
    #[must_use]
    pub fn default_rule(&self) -> Option<&'a Arc<MergedRule>> {
        self.applicable("", None)
    }

    /// The client namespaces in which the rule (selectors aside) is another than [`Self::default_rule`].
    #[must_use]
    pub fn exceptions(&self) -> BTreeSet<Namespace> {
        let default = self.default_rule();
        let mut namespaces: BTreeSet<Namespace> = self.rules.keys().cloned().collect();
        for owner in [self.service_namespace, self.root_namespace] {
            let exported = self.rules.get(owner).map(|r| r.exported.iter()).into_iter().flatten();
            for rule in exported {
                if let Visibility::Namespaces(set) = &rule.visibility {
                    namespaces.extend(set.iter().cloned());
                }
            }
        }
        namespaces.retain(|n| self.applicable(n, None) != default);
        namespaces
    }

    /// The selectors that matter to clients of a namespace: those clients differ by which of them they match.
    #[must_use]
    pub fn selectors(&self, client_namespace: &str) -> Vec<&'a Labels> {
        self.visible(client_namespace).into_iter().filter_map(|r| r.workload_selector.as_ref()).collect()
    }

    /// The rules with a selector that clients of a namespace follow if it matches them.
    #[must_use]
    pub fn selective(&self, client_namespace: &str) -> Vec<Arc<MergedRule>> {
        let own = |r: &&&Arc<MergedRule>| r.workload_selector.is_some() && *r.namespace == *client_namespace;
        self.visible(client_namespace).iter().filter(own).map(|r| Arc::clone(r)).collect()
    }

    /// The first non-empty step: own namespace, service's namespace, root namespace.
    fn visible(&self, client: &str) -> Vec<&'a Arc<MergedRule>> {
        let own = self.rules.get(client).map(|r| if client == self.root_namespace { &r.private } else { &r.local });
        if let Some(own) = own.filter(|rules| !rules.is_empty()) {
            return own.iter().collect();
        }
        // The namespace of the service decides as soon as it exports anything about the host, also to others only.
        let exported = |owner: &str| self.rules.get(owner).map(|r| &r.exported).filter(|rules| !rules.is_empty());
        let deciding = exported(self.service_namespace).or_else(|| exported(self.root_namespace));
        deciding.into_iter().flatten().filter(|r| r.visibility.admits(client)).collect()
    }
}
