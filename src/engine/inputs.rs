//! The relations that reconcilers fill.

use std::{ops::Deref, sync::Arc};

use super::graph::Input;
use crate::model::{
    DestinationRule, Gateway, MeshConfig, Namespace, ObjectRef, PeerAuthentication, Problem, Service, Sidecar,
    TlsSecret, UnenforcedPolicy,
    envoy_filter::EnvoyFilter,
    secret::SecretUse,
    service::Host,
    virtual_service::VirtualService,
    workload::{ExternalMembers, NamespaceFacts, NodeFacts, PodFacts, SliceEndpoints, WorkloadFacts},
};

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespacedName {
    /// The namespace.
    pub namespace: Namespace,
    /// The name.
    pub name: Arc<str>,
}

impl NamespacedName {
    /// Of two names.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Of an object.
    #[must_use]
    pub fn of(object: &ObjectRef) -> Self {
        Self { namespace: object.namespace.clone(), name: object.name.clone() }
    }
}

/// A service: an object and one of its hosts. It is shared: twenty keys and elements have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey(Arc<ServiceId>);

/// See [`ServiceKey`].
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId {
    /// The host.
    pub host: Host,
    /// The Service or ServiceEntry.
    pub object: ObjectRef,
}

impl ServiceKey {
    /// Of a host and an object that has it.
    #[must_use]
    pub fn new(host: Host, object: ObjectRef) -> Self {
        Self(Arc::new(ServiceId { host, object }))
    }
}

impl Deref for ServiceKey {
    type Target = ServiceId;
    fn deref(&self) -> &ServiceId {
        &self.0
    }
}

impl Input for ServiceKey {
    type Value = Service;
    fn object(&self) -> Option<ObjectRef> {
        Some(self.object.clone())
    }
}

macro_rules! relations {
    ($($(#[$doc:meta])* $name:ident($key:ty) => $value:ty $(, of $kind:literal)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $key);

        impl Input for $name {
            type Value = $value;
            $(fn object(&self) -> Option<ObjectRef> {
                Some(ObjectRef { kind: $kind, namespace: self.0.namespace.clone(), name: self.0.name.clone() })
            })?
        }
    )*};
}

relations! {
    /// The mesh configuration.
    Mesh(()) => MeshConfig;
    /// EndpointSlices.
    Slices(NamespacedName) => SliceEndpoints, of "EndpointSlice";
    /// Pods.
    Pods(NamespacedName) => PodFacts;
    /// Nodes, by name.
    Nodes(Arc<str>) => NodeFacts;
    /// Namespaces, by name.
    Namespaces(Namespace) => NamespaceFacts;
    /// Endpoints and selectors of ServiceEntries.
    External(NamespacedName) => ExternalMembers, of "ServiceEntry";
    /// WorkloadEntries.
    Workloads(NamespacedName) => WorkloadFacts, of "WorkloadEntry";
    /// VirtualServices.
    VirtualServices(NamespacedName) => VirtualService, of "VirtualService";
    /// DestinationRules.
    DestinationRules(NamespacedName) => DestinationRule, of "DestinationRule";
    /// Gateways.
    Gateways(NamespacedName) => Gateway, of "Gateway";
    /// Sidecars.
    Sidecars(NamespacedName) => Sidecar, of "Sidecar";
    /// Secrets with certificates.
    Secrets(NamespacedName) => TlsSecret, of "Secret";
    /// ConfigMaps with authorities.
    AuthorityMaps(NamespacedName) => TlsSecret, of "ConfigMap";
    /// What can be served of Secrets and ConfigMaps: as long as they are there, or serve what they last held.
    Usable(ObjectRef) => SecretUse;
    /// EnvoyFilters.
    EnvoyFilters(NamespacedName) => EnvoyFilter, of "EnvoyFilter";
    /// PeerAuthentications.
    PeerAuthentications(NamespacedName) => PeerAuthentication, of "PeerAuthentication";
    /// AuthorizationPolicies and RequestAuthentications, which are not enforced yet.
    Policies(ObjectRef) => UnenforcedPolicy;
    /// Namespaces with connected proxies.
    Clients(Namespace) => ();
    /// Pods, Secrets and ConfigMaps that are gone, but whose last state stays while it is still referred to.
    Departed(ObjectRef) => ();
    /// What was wrong with objects when they were converted.
    Findings(ObjectRef) => Vec<Problem>;
}
