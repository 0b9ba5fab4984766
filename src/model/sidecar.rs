//! Sidecar objects: what a sidecar proxy sees of the mesh (translation §2).

use std::sync::Arc;

use super::{Age, Host, Labels, Namespace, ObjectRef, Protocol, gateway::Bind, mesh::OutboundPolicy};

/// A Sidecar object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// The object.
    pub object: ObjectRef,
    /// Decides between objects of one level, oldest first.
    pub age: Age,
    /// Its namespace; in the root namespace and without a selector it is everyone's default.
    pub namespace: Namespace,
    /// The workloads it is for; `None` is the namespace's default.
    pub workload_selector: Option<Labels>,
    /// What is reachable. Empty in the object means all that is exported: the conversion writes that out.
    pub egress: Vec<EgressListener>,
    /// Unknown destinations; `None` is the mesh's setting.
    pub outbound_policy: Option<OutboundPolicy>,
}

impl Sidecar {
    /// Whether it is for a workload with these labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.workload_selector.as_ref().is_none_or(|s| s.iter().all(|(k, v)| labels.get(k) == Some(v)))
    }
}

/// A port of an egress listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressPort {
    /// The number; 0 with a Unix socket.
    pub number: u16,
    /// The name.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
}

/// How traffic gets to an egress listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum CaptureMode {
    /// As the proxy captures (`DEFAULT`, `IPTABLES`).
    #[default]
    Iptables,
    /// The listener binds a real socket.
    None,
}

/// One egress listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressListener {
    /// Its port; `None` is all ports that no other listener has, and then it is the last one.
    pub port: Option<EgressPort>,
    /// Where it binds.
    pub bind: Option<Bind>,
    /// How traffic gets to it.
    pub capture: CaptureMode,
    /// What it imports; never empty.
    pub hosts: Vec<EgressHost>,
}

impl EgressListener {
    /// The real socket that it opens: the bind that is given, or loopback with capture mode NONE (translation §2).
    #[must_use]
    pub fn socket(&self) -> Option<Bind> {
        match (&self.bind, self.capture) {
            (Some(bind), _) => Some(bind.clone()),
            (None, CaptureMode::None) => Some(Bind::Ip(std::net::Ipv4Addr::LOCALHOST.into())),
            (None, CaptureMode::Iptables) => None,
        }
    }
}

/// The namespaces of an egress host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamespaceMatch {
    /// `*`.
    Any,
    /// `.`: the namespace of the proxy (also for an object of the root namespace).
    Own,
    /// One namespace.
    Named(Namespace),
    /// `~ns`: a host of that namespace is not imported, whatever the other entries say.
    Except(Namespace),
    /// `~.`: the same of the namespace of the proxy.
    ExceptOwn,
    /// `~`, `~*`: such hosts are not imported at all.
    Nothing,
}

impl NamespaceMatch {
    /// Whether an object of `namespace` is meant, as seen by a proxy of `own`. Exclusions name what they exclude.
    #[must_use]
    pub fn names(&self, namespace: &str, own: &str) -> bool {
        match self {
            Self::Any | Self::Nothing => true,
            Self::Own | Self::ExceptOwn => namespace == own,
            Self::Named(n) | Self::Except(n) => **n == *namespace,
        }
    }

    /// Whether the entry takes hosts away.
    #[must_use]
    pub const fn excludes(&self) -> bool {
        matches!(self, Self::Except(_) | Self::ExceptOwn | Self::Nothing)
    }
}

/// An entry `namespace/dnsName` of an egress listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EgressHost {
    /// The namespaces.
    pub namespace: NamespaceMatch,
    /// Lower case: `*`, `*.suffix` or a full name. A service's host must be a subset of it.
    pub host: Host,
}

impl EgressHost {
    /// `*/*`: everything that is exported to the proxy.
    #[must_use]
    pub fn everything() -> Self {
        Self { namespace: NamespaceMatch::Any, host: "*".into() }
    }
}
