//! EnvoyFilter: what users change in the configuration that we translate (translation §9.1).
//!
//! ```text
//!  EnvoyFilter ──compile──► CompiledFilter (once per object; problems)
//!                                │ PatchSet::select (once per kind of proxy)
//!                                ▼
//!                            PatchSet ──► patch_filter_chain, patch_http_filters, patch_cluster, added_clusters
//! ```
//!
//! HTTP filters, network filters and clusters can be patched. Other patches are reported as not honoured.

mod cluster;
mod compile;
mod list;
mod listener;

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use envoy_types::pb::{
    envoy::{
        config::{cluster::v3::Cluster, listener::v3::Filter},
        extensions::filters::network::http_connection_manager::v3::HttpFilter,
    },
    google::protobuf::Any,
};

pub use cluster::{added_clusters, patch_cluster};
pub use compile::compile;
pub use listener::{ListenerFacts, patch_filter_chain, patch_http_filters, patches_of};

use super::merge::Lists;
use crate::model::{
    Code, ObjectRef, Problem, Proxy,
    envoy_filter::{ClusterMatch, EnvoyFilter, ListenerMatch, PatchContext, ProxyMatch},
};

/// An EnvoyFilter whose values have been read as messages.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledFilter {
    filter: Arc<EnvoyFilter>,
    patches: Vec<Arc<CompiledPatch>>,
}

#[derive(Debug, PartialEq)]
struct CompiledPatch {
    object: ObjectRef,
    index: usize,
    context: PatchContext,
    proxy: ProxyMatch,
    target: Target,
}

impl CompiledPatch {
    /// A problem of the value's.
    fn problem(&self, reason: &impl ToString) -> Problem {
        let field = format!("spec.configPatches[{}].patch.value", self.index);
        Problem { object: self.object.clone(), field, reason: reason.to_string(), code: Code::PatchUnusable }
    }
}

/// What is patched, where and how.
#[derive(Debug, PartialEq)]
enum Target {
    Http(ListenerMatch, Change<HttpFilter>),
    Network(ListenerMatch, Change<Filter>),
    Cluster(ClusterMatch, Change<Cluster>),
}

/// A change to an element of a list, or to the list.
#[derive(Debug, PartialEq)]
enum Change<T> {
    Insert(Place, Box<T>),
    Replace(Box<T>),
    Remove,
    Merge(Lists, Box<T>),
}

/// Where an element is inserted. Before and after nothing are the front and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Last,
    Before,
    After,
}

/// The patches for one proxy, in the order in which they are applied.
#[derive(Clone, Debug, Default)]
pub struct PatchSet {
    patches: Vec<Arc<CompiledPatch>>,
}

/// Sets of the same compiled patches are equal: an EnvoyFilter is compiled once, so identity is enough, and the
/// messages inside need not be compared.
impl PartialEq for PatchSet {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.patches.iter().zip(&other.patches);
        self.patches.len() == other.patches.len() && pairs.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

impl Eq for PatchSet {}

impl Hash for PatchSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for patch in &self.patches {
            (&patch.object, patch.index).hash(state);
        }
    }
}

impl PatchSet {
    /// Chooses and orders the patches that are meant for a proxy.
    #[must_use]
    pub fn select<'a>(
        filters: impl IntoIterator<Item = &'a CompiledFilter>,
        proxy: &Proxy,
        root_namespace: &str,
    ) -> Self {
        let mut chosen: Vec<&CompiledFilter> =
            filters.into_iter().filter(|filter| filter.filter.selects(proxy, root_namespace)).collect();
        chosen.sort_by_cached_key(|filter| filter.filter.order(root_namespace));
        let patches = chosen.iter().flat_map(|filter| &filter.patches);
        Self { patches: patches.filter(|patch| patch.proxy.matches(proxy)).cloned().collect() }
    }

    /// Whether nothing is to be patched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// The patches that concern a context.
    fn of(&self, context: PatchContext) -> impl Iterator<Item = &CompiledPatch> {
        self.patches.iter().map(|patch| &**patch).filter(move |patch| patch.context.includes(context))
    }
}

/// What network and HTTP filters have in common.
trait NamedFilter: Clone {
    /// Filters that must stand at the end: Envoy refuses a chain that has another filter behind one of them.
    const TERMINAL: &'static [&'static str];
    fn name(&self) -> &str;
    fn name_mut(&mut self) -> &mut String;
    fn typed_config(&self) -> Option<&Any>;
    fn typed_config_mut(&mut self) -> Option<&mut Any>;
    /// Whether the filter says how it is configured.
    fn is_configured(&self) -> bool;
}

/// The name that the network filter for HTTP has, here as in the reference.
const HTTP_CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

macro_rules! named_filter {
    ($type:ty, $config:path, $terminal:expr) => {
        impl NamedFilter for $type {
            const TERMINAL: &'static [&'static str] = $terminal;
            fn name(&self) -> &str {
                &self.name
            }
            fn name_mut(&mut self) -> &mut String {
                &mut self.name
            }
            fn typed_config(&self) -> Option<&Any> {
                match &self.config_type {
                    Some($config(config)) => Some(config),
                    _ => None,
                }
            }
            fn typed_config_mut(&mut self) -> Option<&mut Any> {
                match &mut self.config_type {
                    Some($config(config)) => Some(config),
                    _ => None,
                }
            }
            fn is_configured(&self) -> bool {
                self.config_type.is_some()
            }
        }
    };
}

named_filter!(
    HttpFilter,
    envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType::TypedConfig,
    &["envoy.filters.http.router"]
);
named_filter!(
    Filter,
    envoy_types::pb::envoy::config::listener::v3::filter::ConfigType::TypedConfig,
    &[HTTP_CONNECTION_MANAGER, "envoy.filters.network.tcp_proxy"]
);

#[cfg(test)]
mod tests;
