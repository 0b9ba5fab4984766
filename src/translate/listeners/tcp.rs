//! TCP routes: which connections of a listener go to which clusters.

use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChainMatch};
use ipnet::IpNet;

use super::{RefSet, wire};
use crate::{
    model::{MeshConfig, ObjectRef},
    translate::filters::{
        metrics::Reporter,
        tcp_proxy::{self, TcpTarget},
    },
};

/// A route of connections: a `tcp` or `tls` match of a VirtualService, or the default of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpRoute {
    /// Names the chain, unique among the routes of a server or service and stable, e.g. `vs.ns.tls[0].match[1]`;
    /// empty for the default.
    pub name: Arc<str>,
    /// The object with the field that says so.
    pub origin: Option<(ObjectRef, String)>,
    /// SNI; empty is any.
    pub server_names: Vec<Arc<str>>,
    /// Destination networks; empty is any.
    pub prefix_ranges: Vec<IpNet>,
    /// Where they go.
    pub target: TcpTarget,
}

impl TcpRoute {
    /// All connections to one cluster.
    #[must_use]
    pub fn to_cluster(cluster: &str) -> Self {
        Self { target: TcpTarget::cluster(cluster), ..Self::default() }
    }

    pub(super) fn matching(&self) -> FilterChainMatch {
        let mut names: Vec<String> = self.server_names.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        let mut ranges: Vec<IpNet> = self.prefix_ranges.iter().map(IpNet::trunc).collect();
        ranges.sort();
        ranges.dedup();
        FilterChainMatch {
            // A server name that is every name is no condition.
            server_names: if names.iter().any(|n| n == "*") { Vec::new() } else { names },
            prefix_ranges: ranges.into_iter().map(wire::cidr).collect(),
            ..FilterChainMatch::default()
        }
    }

    /// The TCP proxy and the clusters that it names; `None` when no cluster has weight. Connections are counted by a
    /// reporter, or not at all.
    pub(super) fn proxy(&self, reporter: Option<Reporter>, mesh: &MeshConfig) -> Option<(Filter, RefSet)> {
        let filter = tcp_proxy::filter(&self.target, reporter, mesh)?;
        let clusters = self.target.effective().into_iter().map(|(name, _)| name).collect();
        Some((filter, RefSet { clusters, ..RefSet::default() }))
    }
}
