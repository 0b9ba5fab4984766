//! The xDS resource types mizzen serves, in the order in which they are made before they are broken.

use std::ops::{Index, IndexMut};

const PREFIX: &str = "type.googleapis.com/";

/// A type of xDS resource. The order of the variants is the order of pushes (contract §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoint,
    /// LDS.
    Listener,
    /// RDS.
    Route,
    /// VHDS: virtual hosts of route configurations that have none inline, named `<route configuration>/<host>:<port>`.
    VirtualHost,
    /// SDS.
    Secret,
    /// ECDS.
    ExtensionConfig,
    /// NDS: Istio's table of names for the agent's DNS proxy.
    NameTable,
}

impl ResourceType {
    /// How many types there are.
    pub const COUNT: usize = 8;

    /// All types in push order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Listener,
        Self::Route,
        Self::VirtualHost,
        Self::Secret,
        Self::ExtensionConfig,
        Self::NameTable,
    ];

    /// The type URL on the wire (contract §2.2).
    #[must_use]
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::NameTable => "type.googleapis.com/istio.networking.nds.v1.NameTable",
        }
    }

    /// The type of a URL, `None` when mizzen does not serve it.
    #[must_use]
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.type_url() == url)
    }

    /// The full name of the protobuf message.
    #[must_use]
    pub fn message_name(self) -> &'static str {
        &self.type_url()[PREFIX.len()..]
    }

    /// The name in metrics and tables (`cds`, `eds`, …; contract §8).
    #[must_use]
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoint => "eds",
            Self::Listener => "lds",
            Self::Route => "rds",
            Self::VirtualHost => "vhds",
            Self::Secret => "sds",
            Self::ExtensionConfig => "ecds",
            Self::NameTable => "nds",
        }
    }

    /// Whether a subscription without names means all resources (CDS, LDS and NDS).
    #[must_use]
    pub const fn is_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::NameTable)
    }
}

/// One value per resource type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TypeMap<T>([T; ResourceType::COUNT]);

impl<T> TypeMap<T> {
    /// Makes each value from its type.
    pub fn from_fn(mut f: impl FnMut(ResourceType) -> T) -> Self {
        Self(std::array::from_fn(|i| f(ResourceType::ALL[i])))
    }

    /// The values with their types, in push order.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceType, &T)> {
        ResourceType::ALL.into_iter().zip(&self.0)
    }

    /// The values with their types, in push order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ResourceType, &mut T)> {
        ResourceType::ALL.into_iter().zip(&mut self.0)
    }
}

impl<T> Index<ResourceType> for TypeMap<T> {
    type Output = T;
    fn index(&self, t: ResourceType) -> &T {
        &self.0[t as usize]
    }
}

impl<T> IndexMut<ResourceType> for TypeMap<T> {
    fn index_mut(&mut self, t: ResourceType) -> &mut T {
        &mut self.0[t as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_url() {
        for t in ResourceType::ALL {
            assert_eq!(ResourceType::from_type_url(t.type_url()), Some(t));
        }
        assert_eq!(ResourceType::from_type_url("type.googleapis.com/envoy.config.route.v3.Nothing"), None);
    }
}
