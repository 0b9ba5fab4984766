//! Patches to clusters.

use envoy_types::pb::envoy::config::{
    cluster::v3::Cluster,
    core::v3::{TransportSocket, transport_socket::ConfigType},
};

use super::{Change, PatchSet, Target};
use crate::{
    model::{
        Problem,
        envoy_filter::{ClusterMatch, PatchContext},
    },
    translate::filters::merge::{Lists, MergeError, merge, merge_any},
};

/// Merges patches into a cluster; `None` if one of them removes it. `hosts` are those of the services on the port
/// of an inbound cluster, whose name has none.
#[must_use]
pub fn patch_cluster(
    set: &PatchSet,
    context: PatchContext,
    hosts: &[&str],
    mut cluster: Cluster,
) -> (Option<Cluster>, Vec<Problem>) {
    let mut problems = Vec::new();
    for patch in set.of(context) {
        let Target::Cluster(wanted, change) = &patch.target else { continue };
        if !matches(wanted, &cluster.name, hosts) {
            continue;
        }
        match change {
            Change::Remove => return (None, problems),
            Change::Merge(lists, value) => {
                if let Err(error) = merge_cluster(&mut cluster, value, *lists) {
                    problems.push(patch.problem(&error));
                }
            }
            Change::Insert(..) | Change::Replace(_) => {}
        }
    }
    (Some(cluster), problems)
}

/// The clusters that patches add. Those for any context are not added to the inbound side again.
pub fn added_clusters(set: &PatchSet, context: PatchContext) -> impl Iterator<Item = &Cluster> {
    let adds = move |wanted| wanted == context || context != PatchContext::SidecarInbound;
    set.of(context).filter(move |patch| adds(patch.context)).filter_map(|patch| match &patch.target {
        Target::Cluster(_, Change::Insert(_, cluster)) => Some(&**cluster),
        _ => None,
    })
}

/// Cluster names are `direction|port|subset|host`.
fn matches(wanted: &ClusterMatch, name: &str, hosts: &[&str]) -> bool {
    if !wanted.name.is_empty() {
        return wanted.name == name;
    }
    let mut parts = name.splitn(4, '|');
    let (direction, port) = (parts.next(), parts.next().and_then(|port| port.parse().ok()));
    let (subset, host) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_host = || match direction {
        Some("inbound") if !hosts.is_empty() => hosts.contains(&&wanted.service[..]),
        _ => wanted.service == host,
    };
    (wanted.subset.is_empty() || wanted.subset == subset)
        && (wanted.service.is_empty() || is_host())
        && (wanted.port.is_none() || wanted.port == port)
}

/// The transport socket is merged with that of the same name, the rest as any message.
fn merge_cluster(cluster: &mut Cluster, patch: &Cluster, lists: Lists) -> Result<(), MergeError> {
    let mut rest = patch.clone();
    let mut merged = cluster.clone();
    if let Some(socket) = rest.transport_socket.take() {
        merge_socket(&mut merged, socket, lists)?;
    }
    merge(&mut merged, &rest, lists)?;
    *cluster = merged;
    Ok(())
}

/// Where a cluster chooses among sockets, the one of this name is merged into and nothing is done without one: Envoy
/// refuses a socket beside such a choice. Otherwise a socket of another name is replaced.
fn merge_socket(cluster: &mut Cluster, patch: TransportSocket, lists: Lists) -> Result<(), MergeError> {
    let chooses = !cluster.transport_socket_matches.is_empty();
    let sockets = cluster.transport_socket_matches.iter_mut().filter_map(|choice| choice.transport_socket.as_mut());
    let found = sockets.chain(cluster.transport_socket.as_mut()).find(|socket| socket.name == patch.name);
    match found {
        Some(TransportSocket { config_type: Some(ConfigType::TypedConfig(config)), .. }) => match &patch.config_type {
            Some(ConfigType::TypedConfig(patch)) => merge_any(config, patch, lists),
            None => Ok(()),
        },
        None if chooses => Ok(()),
        Some(_) | None => {
            cluster.transport_socket = Some(patch);
            Ok(())
        }
    }
}
