//! The kinds of objects that are read.

use std::fmt;

/// A kind of Kubernetes object that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A service of the platform.
    Service,
    /// Endpoints of a service.
    EndpointSlice,
    /// A workload.
    Pod,
    /// A machine; gives workloads their locality.
    Node,
    /// A namespace; its labels matter.
    Namespace,
    /// Certificates and keys.
    Secret,
    /// The mesh configuration, and CA certificates.
    ConfigMap,
    /// Policies for traffic to a service.
    DestinationRule,
    /// Patches of the Envoy configuration.
    EnvoyFilter,
    /// Listeners at the edge.
    Gateway,
    /// Settings of proxies.
    ProxyConfig,
    /// Services outside the platform.
    ServiceEntry,
    /// What proxies reach.
    Sidecar,
    /// Routes.
    VirtualService,
    /// Workloads outside the platform.
    WorkloadEntry,
    /// Templates of workloads outside the platform.
    WorkloadGroup,
    /// Who may do what.
    AuthorizationPolicy,
    /// Whether mutual TLS is asked for.
    PeerAuthentication,
    /// Which tokens are valid.
    RequestAuthentication,
    /// Metrics, traces and access logs.
    Telemetry,
    /// Filters in WebAssembly.
    WasmPlugin,
    /// Filters in WebAssembly or Lua.
    TrafficExtension,
}

/// What an API server calls a kind.
struct Names {
    group: &'static str,
    /// Served versions, the preferred one first.
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
}

const CORE: &str = "";
const DISCOVERY: &str = "discovery.k8s.io";
const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const TELEMETRY: &str = "telemetry.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";

impl Kind {
    /// All kinds, those of Kubernetes first.
    pub const ALL: [Self; 22] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Node,
        Self::Namespace,
        Self::Secret,
        Self::ConfigMap,
        Self::DestinationRule,
        Self::EnvoyFilter,
        Self::Gateway,
        Self::ProxyConfig,
        Self::ServiceEntry,
        Self::Sidecar,
        Self::VirtualService,
        Self::WorkloadEntry,
        Self::WorkloadGroup,
        Self::AuthorizationPolicy,
        Self::PeerAuthentication,
        Self::RequestAuthentication,
        Self::Telemetry,
        Self::WasmPlugin,
        Self::TrafficExtension,
    ];

    fn names(self) -> Names {
        const V1: &[&str] = &["v1"];
        const V1_BETA: &[&str] = &["v1", "v1beta1"];
        const V1_BETA_ALPHA: &[&str] = &["v1", "v1beta1", "v1alpha3"];
        let (group, versions, kind, plural) = match self {
            Self::Service => (CORE, V1, "Service", "services"),
            Self::EndpointSlice => (DISCOVERY, V1, "EndpointSlice", "endpointslices"),
            Self::Pod => (CORE, V1, "Pod", "pods"),
            Self::Node => (CORE, V1, "Node", "nodes"),
            Self::Namespace => (CORE, V1, "Namespace", "namespaces"),
            Self::Secret => (CORE, V1, "Secret", "secrets"),
            Self::ConfigMap => (CORE, V1, "ConfigMap", "configmaps"),
            Self::DestinationRule => (NETWORKING, V1_BETA_ALPHA, "DestinationRule", "destinationrules"),
            Self::EnvoyFilter => (NETWORKING, &["v1alpha3"][..], "EnvoyFilter", "envoyfilters"),
            Self::Gateway => (NETWORKING, V1_BETA_ALPHA, "Gateway", "gateways"),
            Self::ProxyConfig => (NETWORKING, &["v1beta1"][..], "ProxyConfig", "proxyconfigs"),
            Self::ServiceEntry => (NETWORKING, V1_BETA_ALPHA, "ServiceEntry", "serviceentries"),
            Self::Sidecar => (NETWORKING, V1_BETA_ALPHA, "Sidecar", "sidecars"),
            Self::VirtualService => (NETWORKING, V1_BETA_ALPHA, "VirtualService", "virtualservices"),
            Self::WorkloadEntry => (NETWORKING, V1_BETA_ALPHA, "WorkloadEntry", "workloadentries"),
            Self::WorkloadGroup => (NETWORKING, V1_BETA_ALPHA, "WorkloadGroup", "workloadgroups"),
            Self::AuthorizationPolicy => (SECURITY, V1_BETA, "AuthorizationPolicy", "authorizationpolicies"),
            Self::PeerAuthentication => (SECURITY, V1_BETA, "PeerAuthentication", "peerauthentications"),
            Self::RequestAuthentication => (SECURITY, V1_BETA, "RequestAuthentication", "requestauthentications"),
            Self::Telemetry => (TELEMETRY, &["v1", "v1alpha1"][..], "Telemetry", "telemetries"),
            Self::WasmPlugin => (EXTENSIONS, &["v1alpha1"][..], "WasmPlugin", "wasmplugins"),
            Self::TrafficExtension => (EXTENSIONS, &["v1alpha1"][..], "TrafficExtension", "trafficextensions"),
        };
        Names { group, versions, kind, plural }
    }

    /// The kind of a group and kind name, as manifests write them; `None` for kinds that are not read.
    #[must_use]
    pub fn from_group_kind(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| {
            let names = known.names();
            names.group == group && names.kind == kind
        })
    }

    /// API group; empty for the core group.
    #[must_use]
    pub fn group(self) -> &'static str {
        self.names().group
    }

    /// Name of the kind, such as `VirtualService`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        self.names().kind
    }

    /// Name of the resource in URLs, such as `virtualservices`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        self.names().plural
    }

    /// Served versions, the preferred one first. All of them have the same content.
    #[must_use]
    pub fn versions(self) -> &'static [&'static str] {
        self.names().versions
    }

    /// The version that an API server stores. For Telemetry it is not the preferred one: clusters have objects stored
    /// in it since before there was another.
    #[must_use]
    pub fn stored_version(self) -> &'static str {
        match self {
            Self::Telemetry => "v1alpha1",
            _ => self.versions()[0],
        }
    }

    /// Whether objects live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Node | Self::Namespace)
    }

    /// Whether a CRD of ours defines the kind.
    #[must_use]
    pub fn is_custom(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// Whether an object must have a `spec`; the others may be without, which says the same as an empty one.
    #[must_use]
    pub fn needs_spec(self) -> bool {
        matches!(
            self,
            Self::ServiceEntry | Self::WorkloadEntry | Self::WorkloadGroup | Self::WasmPlugin | Self::TrafficExtension
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn every_kind_is_found_by_its_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_group_kind(kind.group(), kind.kind()), Some(kind));
        }
        assert_eq!(Kind::from_group_kind("gateway.networking.k8s.io", "Gateway"), None);
        assert_eq!(Kind::from_group_kind("", "VirtualService"), None);
    }
}
