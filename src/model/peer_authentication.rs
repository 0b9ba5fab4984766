//! PeerAuthentication: what a workload accepts, mutual TLS or plaintext (translation §3.3).

use std::{collections::BTreeMap, sync::Arc};

use super::{Age, Labels, Namespace, ObjectRef, workload::selects};

/// What a port accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MtlsMode {
    /// Plaintext only: TLS is the workload's own.
    Disable,
    /// Mutual TLS of the mesh, and all else.
    #[default]
    Permissive,
    /// Mutual TLS of the mesh only.
    Strict,
}

/// A PeerAuthentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// The object.
    pub object: ObjectRef,
    /// Of several for the same workloads the oldest counts.
    pub age: Age,
    /// The labels of the workloads; `None` is all of the namespace, and in the root namespace all of the mesh.
    pub selector: Option<Labels>,
    /// What is accepted; `None` is what the namespace or the mesh says.
    pub mode: Option<MtlsMode>,
    /// What single ports of the workload accept; `None` is what the workload does. Only with a selector.
    pub ports: BTreeMap<u16, Option<MtlsMode>>,
}

/// What a workload accepts, all levels taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerMtls {
    /// On ports that are not named.
    pub mode: MtlsMode,
    /// On these ports of the workload.
    pub ports: BTreeMap<u16, MtlsMode>,
}

impl PeerMtls {
    /// What a port of the workload accepts.
    #[must_use]
    pub fn of_port(&self, port: u16) -> MtlsMode {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }
}

/// The PeerAuthentications that count in a namespace, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespacePeers {
    /// What the namespace says, else the mesh.
    default: MtlsMode,
    /// Those with a selector.
    selective: Vec<Arc<PeerAuthentication>>,
}

impl NamespacePeers {
    /// Of the objects of a namespace and of the root namespace, in any order. One of the root namespace with a selector
    /// counts nowhere.
    #[must_use]
    pub fn new(namespace: &Namespace, root: &Namespace, objects: &[Arc<PeerAuthentication>]) -> Self {
        let mut sorted: Vec<&Arc<PeerAuthentication>> = objects.iter().collect();
        sorted.sort_by(|a, b| a.age.cmp(&b.age));
        let level = |of: &Namespace| {
            let oldest = sorted.iter().find(|p| p.selector.is_none() && p.object.namespace == *of);
            oldest.and_then(|p| p.mode)
        };
        let selective = sorted
            .iter()
            .filter(|p| p.selector.is_some() && p.object.namespace == *namespace && p.object.namespace != *root);
        Self {
            default: level(namespace).or_else(|| level(root)).unwrap_or_default(),
            selective: selective.map(|p| Arc::clone(p)).collect(),
        }
    }

    /// What the namespace says, else the mesh: all that clients look at, who do not know which workload they will reach
    /// (translation §4.5).
    #[must_use]
    pub fn default_mode(&self) -> MtlsMode {
        self.default
    }

    /// Whether it says of some workload that it takes no mutual TLS.
    #[must_use]
    pub fn may_disable(&self) -> bool {
        let disables = |p: &Arc<PeerAuthentication>| {
            let ports = p.ports.values().any(|mode| *mode == Some(MtlsMode::Disable));
            p.mode == Some(MtlsMode::Disable) || ports
        };
        self.default == MtlsMode::Disable || self.selective.iter().any(disables)
    }

    /// What a workload with these labels accepts.
    #[must_use]
    pub fn of(&self, labels: &Labels) -> PeerMtls {
        let own = self.selective.iter().find(|p| p.selector.as_ref().is_some_and(|s| selects(s, labels)));
        let mode = own.and_then(|p| p.mode).unwrap_or(self.default);
        let ports = own.into_iter().flat_map(|p| &p.ports).map(|(port, own)| (*port, own.unwrap_or(mode)));
        PeerMtls { mode, ports: ports.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Ports<'a> = &'a [(u16, Option<MtlsMode>)];

    fn policy(
        created: i64,
        namespace: &str,
        app: Option<&str>,
        mode: Option<MtlsMode>,
        ports: Ports<'_>,
    ) -> Arc<PeerAuthentication> {
        let name: Arc<str> = format!("p{created}").into();
        Arc::new(PeerAuthentication {
            object: ObjectRef::new("PeerAuthentication", namespace, &name),
            age: Age { created, name, namespace: namespace.into() },
            selector: app.map(labels),
            mode,
            ports: ports.iter().copied().collect(),
        })
    }

    fn labels(app: &str) -> Labels {
        Labels::from([("app".to_owned(), app.to_owned())])
    }

    fn peers(objects: &[Arc<PeerAuthentication>]) -> NamespacePeers {
        NamespacePeers::new(&"a".into(), &"root".into(), objects)
    }

    #[test]
    fn the_narrowest_level_counts_and_of_one_level_the_oldest() {
        use MtlsMode::{Disable, Permissive, Strict};
        assert_eq!(peers(&[]).of(&labels("web")).mode, Permissive);
        let of_mesh = policy(3, "root", None, Some(Strict), &[]);
        assert_eq!(peers(std::slice::from_ref(&of_mesh)).of(&labels("web")).mode, Strict);
        let unset = policy(1, "a", None, None, &[]);
        assert_eq!(peers(&[unset, of_mesh.clone()]).default_mode(), Strict, "unset is what the mesh says");
        let all = [
            of_mesh,
            policy(5, "a", None, Some(Disable), &[]),
            policy(4, "a", None, Some(Permissive), &[]),
            policy(6, "a", Some("web"), Some(Strict), &[]),
            policy(7, "a", Some("web"), Some(Disable), &[]),
        ];
        let peers = peers(&all);
        assert_eq!((peers.default_mode(), peers.of(&labels("web")).mode), (Permissive, Strict));
        assert_eq!(peers.of(&labels("api")).mode, Permissive);
        assert!(peers.may_disable());
    }

    #[test]
    fn ports_are_those_of_the_workload_and_inherit_from_it() {
        use MtlsMode::{Disable, Strict};
        let own = policy(1, "a", Some("web"), None, &[(80, Some(Disable)), (81, None)]);
        let made = peers(&[own, policy(2, "a", None, Some(Strict), &[])]);
        let web = made.of(&labels("web"));
        assert_eq!([80, 81, 82].map(|port| web.of_port(port)), [Disable, Strict, Strict]);
        assert!(made.may_disable());
    }

    #[test]
    fn a_selector_in_the_root_namespace_counts_nowhere() {
        let root = policy(1, "root", Some("web"), Some(MtlsMode::Strict), &[]);
        assert_eq!(peers(std::slice::from_ref(&root)).of(&labels("web")).mode, MtlsMode::Permissive);
        let there = NamespacePeers::new(&"root".into(), &"root".into(), &[root]);
        assert_eq!(there.of(&labels("web")).mode, MtlsMode::Permissive);
    }
}
