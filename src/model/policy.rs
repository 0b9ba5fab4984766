//! Security policies that are known but not enforced yet. A workload that one selects denies all inbound (design
//! §2, truth 5).

use super::{Age, Labels, Namespace, ObjectRef};

/// An AuthorizationPolicy or RequestAuthentication, as far as it is understood: whom it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnenforcedPolicy {
    /// The object.
    pub object: ObjectRef,
    /// When it was made.
    pub age: Age,
    /// Its namespace; in the root namespace it is for all namespaces (translation §8.1).
    pub namespace: Namespace,
    /// The labels of the workloads; empty is all of the namespace.
    pub selector: Labels,
    /// Gateways and Services that it is attached to by `targetRefs`. Such a policy selects no workload by label.
    pub targets: Vec<PolicyTarget>,
}

/// A target of a policy in its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyTarget {
    /// The kind, e.g. `Gateway`.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl UnenforcedPolicy {
    /// Whether it is for a workload with these labels in this namespace. A gateway pod is the target of a policy
    /// attached to a Gateway when its label `gateway.networking.k8s.io/gateway-name` says so.
    #[must_use]
    pub fn selects(&self, namespace: &str, labels: &Labels, root_namespace: &str) -> bool {
        let here = *self.namespace == *namespace;
        if !self.targets.is_empty() {
            let gateway = labels.get("gateway.networking.k8s.io/gateway-name");
            return here && self.targets.iter().any(|t| t.kind == "Gateway" && Some(&t.name) == gateway);
        }
        (here || *self.namespace == *root_namespace) && self.selector.iter().all(|(k, v)| labels.get(k) == Some(v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(namespace: &str, selector: &[(&str, &str)]) -> UnenforcedPolicy {
        UnenforcedPolicy {
            object: ObjectRef::new("AuthorizationPolicy", namespace, "p"),
            age: Age { created: 0, name: "p".into(), namespace: namespace.into() },
            namespace: namespace.into(),
            selector: selector.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn the_root_namespace_is_for_all_and_targets_are_not_labels() {
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        assert!(policy("a", &[]).selects("a", &labels, "root"));
        assert!(!policy("a", &[]).selects("b", &labels, "root"));
        assert!(policy("root", &[("app", "web")]).selects("b", &labels, "root"));
        assert!(!policy("root", &[("app", "api")]).selects("b", &labels, "root"));
        let mut attached = policy("a", &[]);
        attached.targets.push(PolicyTarget { kind: "Gateway".into(), name: "gw".into() });
        assert!(!attached.selects("a", &labels, "root"));
        let gateway = Labels::from([("gateway.networking.k8s.io/gateway-name".to_owned(), "gw".to_owned())]);
        assert!(attached.selects("a", &gateway, "root"));
    }
}
