//! Merging the rules of one host in one namespace.

use std::sync::Arc;

use super::{DestinationRule, Subset, TrafficPolicy};
use crate::model::{Host, Labels, Namespace, ObjectRef, Visibility};

/// Rules of one host and namespace, merged: no inheritance, subsets together, the first policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedRule {
    /// What it was made of, the oldest first: named in metadata and status.
    pub objects: Vec<ObjectRef>,
    /// The host, possibly a wildcard.
    pub host: Host,
    /// The namespace of all of them.
    pub namespace: Namespace,
    /// The policy of the oldest that has one.
    pub policy: Option<Arc<TrafficPolicy>>,
    /// All subsets; the oldest of a name.
    pub subsets: Vec<Subset>,
    /// To whom it applies.
    pub visibility: Visibility,
    /// Clients with these labels only, in its own namespace only.
    pub workload_selector: Option<Labels>,
}

impl MergedRule {
    /// The subset of a name.
    #[must_use]
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|s| *s.name == *name)
    }

    fn of(rule: &DestinationRule) -> Self {
        let mut made = Self {
            objects: Vec::new(),
            host: rule.host.clone(),
            namespace: rule.namespace.clone(),
            policy: None,
            subsets: Vec::new(),
            visibility: rule.visibility().clone(),
            workload_selector: rule.workload_selector.clone(),
        };
        made.absorb(rule);
        made
    }

    fn absorb(&mut self, rule: &DestinationRule) {
        self.objects.push(rule.object.clone());
        self.policy = self.policy.take().or_else(|| rule.policy.clone());
        for subset in &rule.subsets {
            if self.subset(&subset.name).is_none() {
                self.subsets.push(subset.clone());
            }
        }
    }
}

/// Which rules take part: a namespace's own clients see all, others what is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those that clients of the same namespace see.
    Local,
    /// Those that others may see.
    Exported,
    /// Those that only the namespace itself sees (the root namespace's own clients look at them first).
    Private,
}

impl Scope {
    fn admits(self, rule: &DestinationRule) -> bool {
        match self {
            Self::Local => rule.visibility().admits(&rule.namespace),
            Self::Exported => !rule.is_private(),
            Self::Private => rule.is_private(),
        }
    }
}

/// Merges the rules of one host in one namespace (translation §4.2). `rules` may come in any order.
///
/// Rules with equal selectors and equal visibility become one. A younger rule that more namespaces see gives to
/// the older and stands alone for the others. A rule without a selector also gives its subsets to rules with one,
/// when both are private. In the result a later rule wins over an earlier one where both are visible.
#[must_use]
pub fn merge(rules: &[Arc<DestinationRule>], scope: Scope) -> Vec<Arc<MergedRule>> {
    let mut sorted: Vec<&DestinationRule> = rules.iter().map(AsRef::as_ref).filter(|r| scope.admits(r)).collect();
    // Rules with selectors first, so that rules without one are folded into them.
    sorted.sort_by_key(|r| (r.workload_selector.is_none(), &r.age));
    let mut merged: Vec<MergedRule> = Vec::new();
    for rule in sorted {
        let mut became_one = false;
        let mut shadowed = None;
        for (index, existing) in merged.iter_mut().enumerate() {
            let same_selector = existing.workload_selector == rule.workload_selector;
            let same_visibility = existing.visibility == *rule.visibility();
            let foldable = same_selector || rule.workload_selector.is_none();
            if !foldable || !(same_visibility || is_wider(rule.visibility(), &existing.visibility)) {
                continue;
            }
            existing.absorb(rule);
            became_one |= same_selector && same_visibility;
            if same_selector && !same_visibility {
                shadowed = shadowed.or(Some(index));
            }
        }
        if !became_one {
            merged.insert(shadowed.unwrap_or(merged.len()), MergedRule::of(rule));
        }
    }
    merged.into_iter().map(Arc::new).collect()
}

/// Whether `wide` lists all of `narrow`'s namespaces. Public is compared by word, as the reference does.
fn is_wider(wide: &Visibility, narrow: &Visibility) -> bool {
    match (wide, narrow) {
        (Visibility::Namespaces(wide), Visibility::Namespaces(narrow)) => narrow.is_subset(wide),
        _ => false,
    }
}
