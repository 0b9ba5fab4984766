//! Objects to be installed, and the kinds that there are, in the order of their installation.

use std::fmt;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// A part of an installation, as the status of an IstioOperator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComponentName {
    /// Definitions and what all others need.
    Base,
    /// The control plane.
    Pilot,
    /// Gateways for what comes in.
    IngressGateways,
    /// Gateways for what goes out.
    EgressGateways,
}

impl ComponentName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Base, Self::Pilot, Self::IngressGateways, Self::EgressGateways];
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "Base",
            Self::Pilot => "Pilot",
            Self::IngressGateways => "IngressGateways",
            Self::EgressGateways => "EgressGateways",
        })
    }
}

/// A kind of object that an installation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// `apiVersion`.
    pub api_version: &'static str,
    /// `kind`.
    pub kind: &'static str,
    /// Its name in URLs.
    pub plural: &'static str,
    /// Whether objects are in a namespace.
    pub is_namespaced: bool,
    /// Whether an object goes when nothing asks for it any more.
    pub is_pruned: bool,
}

const fn kind(
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
    is_namespaced: bool,
    is_pruned: bool,
) -> Type {
    Type { api_version, kind, plural, is_namespaced, is_pruned }
}

/// All kinds: what others need first, and webhooks last, when there is somebody to answer. Definitions and namespaces hold
/// what is the user's.
pub(super) const TYPES: [Type; 14] = [
    kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", false, false),
    kind("v1", "Namespace", "namespaces", false, false),
    kind("v1", "ServiceAccount", "serviceaccounts", true, true),
    kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false, true),
    kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", false, true),
    kind("rbac.authorization.k8s.io/v1", "Role", "roles", true, true),
    kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", true, true),
    kind("v1", "ConfigMap", "configmaps", true, true),
    kind("v1", "Service", "services", true, true),
    kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true, true),
    kind("apps/v1", "Deployment", "deployments", true, true),
    kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true, true),
    kind(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        false,
        true,
    ),
    kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        false,
        true,
    ),
];

impl Type {
    /// What a client of the API server needs.
    #[must_use]
    pub fn resource(&self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", self.api_version));
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.kind), self.plural)
    }

    /// The API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// Labels by which installed objects are found again, as Istio's tools have them.
pub(super) mod labels {
    /// Who installed it.
    pub(in crate::install) const MANAGER: (&str, &str) = ("app.kubernetes.io/managed-by", "mizzen");
    /// The component that it belongs to.
    pub(in crate::install) const COMPONENT: &str = "operator.istio.io/component";
    /// The name of the IstioOperator that asks for it.
    pub(in crate::install) const OWNER: &str = "install.operator.istio.io/owning-resource";
    /// Its namespace.
    pub(in crate::install) const OWNER_NAMESPACE: &str = "install.operator.istio.io/owning-resource-namespace";
    /// The revision of the control plane.
    pub(in crate::install) const REVISION: &str = "istio.io/rev";
}

/// What an object is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for kinds that have none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// An object to be installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it belongs to.
    pub component: ComponentName,
    /// Its kind.
    pub r#type: &'static Type,
    /// The whole of it.
    pub value: Value,
}

impl Object {
    /// From an object of one of [`TYPES`].
    ///
    /// # Panics
    /// It is of another kind: what is installed is made here.
    #[must_use]
    pub(super) fn new(component: ComponentName, value: Value) -> Self {
        let known = TYPES.iter().find(|t| value["apiVersion"] == t.api_version && value["kind"] == t.kind);
        Self { component, r#type: known.expect("a kind that is installed"), value }
    }

    /// What it is called.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        let text = |field: &str| self.value["metadata"][field].as_str().unwrap_or_default().to_owned();
        ObjectId { kind: self.r#type.kind.to_owned(), namespace: text("namespace"), name: text("name") }
    }

    /// Where its kind is in the order of installation.
    #[must_use]
    pub fn rank(&self) -> usize {
        TYPES.iter().position(|known| known == self.r#type).unwrap_or(TYPES.len())
    }
}
