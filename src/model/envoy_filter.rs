//! EnvoyFilter: patches that users make to what we translate (translation §9.1).

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use regex::Regex;

use super::{Age, ObjectRef, Proxy, service::Labels};

/// One EnvoyFilter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvoyFilter {
    /// The object.
    pub object: ObjectRef,
    /// Its age.
    pub age: Age,
    /// Lower ones are applied first.
    pub priority: i32,
    /// The labels of the workloads that are meant; none means all of the namespace, or of the mesh for the root
    /// namespace.
    pub workload: Labels,
    /// The patches, in the order given.
    pub patches: Vec<Patch>,
}

impl EnvoyFilter {
    /// Whether the filter is meant for a proxy. Those of the root namespace are meant for proxies of all others too.
    #[must_use]
    pub fn selects(&self, proxy: &Proxy, root_namespace: &str) -> bool {
        let namespace = &*self.object.namespace;
        (namespace == root_namespace || namespace == &*proxy.namespace)
            && self.workload.iter().all(|(name, value)| proxy.labels.get(name) == Some(value))
    }

    /// The order of application: priority, the root namespace before others, age, `name.namespace`.
    #[must_use]
    pub fn order(&self, root_namespace: &str) -> impl Ord + use<> {
        let ObjectRef { namespace, name, .. } = &self.object;
        (self.priority, &**namespace != root_namespace, self.age.created, format!("{name}.{namespace}"))
    }
}

/// One patch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Patch {
    /// Its place in `spec.configPatches`, for messages.
    pub index: usize,
    /// What is patched.
    pub apply_to: ApplyTo,
    /// For which side of which kind of proxy.
    pub context: PatchContext,
    /// For which proxies.
    pub proxy: ProxyMatch,
    /// Where in a listener.
    pub listener: ListenerMatch,
    /// In which cluster.
    pub cluster: ClusterMatch,
    /// How.
    pub operation: Operation,
    /// The value; null when none is given.
    pub value: Arc<serde_json::Value>,
}

/// What a patch applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApplyTo {
    /// A listener.
    Listener,
    /// A filter chain.
    FilterChain,
    /// A network filter.
    NetworkFilter,
    /// An HTTP filter.
    HttpFilter,
    /// A route configuration.
    RouteConfiguration,
    /// A virtual host.
    VirtualHost,
    /// A route.
    HttpRoute,
    /// A cluster.
    Cluster,
    /// An extension delivered by ECDS.
    ExtensionConfig,
    /// The bootstrap of the proxy.
    Bootstrap,
    /// A listener filter.
    ListenerFilter,
}

impl ApplyTo {
    /// As users write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "LISTENER",
            Self::FilterChain => "FILTER_CHAIN",
            Self::NetworkFilter => "NETWORK_FILTER",
            Self::HttpFilter => "HTTP_FILTER",
            Self::RouteConfiguration => "ROUTE_CONFIGURATION",
            Self::VirtualHost => "VIRTUAL_HOST",
            Self::HttpRoute => "HTTP_ROUTE",
            Self::Cluster => "CLUSTER",
            Self::ExtensionConfig => "EXTENSION_CONFIG",
            Self::Bootstrap => "BOOTSTRAP",
            Self::ListenerFilter => "LISTENER_FILTER",
        }
    }
}

/// Whose configuration is patched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PatchContext {
    /// Everyone's.
    #[default]
    Any,
    /// The inbound side of sidecars.
    SidecarInbound,
    /// The outbound side of sidecars.
    SidecarOutbound,
    /// Gateways.
    Gateway,
}

impl PatchContext {
    /// Whether a patch for this context is for something of the given one.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self == Self::Any || self == other
    }
}

/// What a patch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Merges the value into what is there; lists grow.
    Merge,
    /// Adds the value.
    Add,
    /// Removes what is there.
    Remove,
    /// Inserts the value before what is matched.
    InsertBefore,
    /// Inserts the value after what is matched.
    InsertAfter,
    /// Inserts the value at the front.
    InsertFirst,
    /// Puts the value in the place of what is matched.
    Replace,
    /// Merges the value into what is there; lists are replaced.
    MergeAndReplaceList,
}

impl Operation {
    /// As users write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "MERGE",
            Self::Add => "ADD",
            Self::Remove => "REMOVE",
            Self::InsertBefore => "INSERT_BEFORE",
            Self::InsertAfter => "INSERT_AFTER",
            Self::InsertFirst => "INSERT_FIRST",
            Self::Replace => "REPLACE",
            Self::MergeAndReplaceList => "MERGE_AND_REPLACE_LIST",
        }
    }
}

/// The proxies that a patch is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProxyMatch {
    /// What the proxy's `ISTIO_VERSION` looks like; a proxy without version does not match.
    pub version: Option<VersionPattern>,
    /// Strings in the proxy's metadata.
    pub metadata: Labels,
}

impl ProxyMatch {
    /// Whether a proxy matches.
    #[must_use]
    pub fn matches(&self, proxy: &Proxy) -> bool {
        let version = &*proxy.istio_version;
        self.version.as_ref().is_none_or(|pattern| !version.is_empty() && pattern.matches(version))
            && (self.metadata.is_empty() || self.matches_metadata(proxy))
    }

    fn matches_metadata(&self, proxy: &Proxy) -> bool {
        let metadata: serde_json::Value = serde_json::from_str(&proxy.metadata).unwrap_or_default();
        self.metadata.iter().all(|(name, value)| metadata.get(name).and_then(|found| found.as_str()) == Some(value))
    }
}

/// A regular expression that may match anywhere in a version. It is compiled when it is first asked.
#[derive(Clone, Debug)]
pub struct VersionPattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl VersionPattern {
    /// An expression whose syntax has been checked.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self { text: pattern.to_owned(), compiled: OnceLock::new() }
    }

    /// Whether a version matches; none does when the expression cannot be compiled.
    #[must_use]
    pub fn matches(&self, version: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Regex::new(&self.text).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(version))
    }
}

impl PartialEq for VersionPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for VersionPattern {}

impl Hash for VersionPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Where in a listener a patch applies. Empty and absent parts match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerMatch {
    /// The name of the listener.
    pub name: String,
    /// Its port; for the virtual listeners the destination port of the chain.
    pub port: Option<u32>,
    /// The chain.
    pub chain: ChainMatch,
}

/// Which filter chain. Empty and absent parts match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChainMatch {
    /// Its name.
    pub name: String,
    /// One of its server names.
    pub sni: String,
    /// Its transport protocol.
    pub transport_protocol: String,
    /// Application protocols that it must have, all of them.
    pub application_protocols: Vec<String>,
    /// Its destination port.
    pub destination_port: Option<u32>,
    /// A filter in it.
    pub filter: Option<FilterMatch>,
}

/// Which network filter, and which filter in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FilterMatch {
    /// The network filter's name.
    pub name: String,
    /// The HTTP filter's name.
    pub sub_filter: Option<String>,
}

/// Which clusters. Empty and absent parts match everything; `name` alone decides if it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClusterMatch {
    /// The name of the cluster.
    pub name: String,
    /// The host of the service.
    pub service: String,
    /// The subset.
    pub subset: String,
    /// The port of the service.
    pub port: Option<u32>,
}
