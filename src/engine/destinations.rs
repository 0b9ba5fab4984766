//! Where destinations of routes lead (translation §6.4, §7.4).

use std::sync::Arc;

use super::{
    graph::{Cx, Query},
    services::{Exceptions, Outlook, Seen, mesh},
};
use crate::{
    model::{EffectivePolicy, Host, Namespace, destination_rule::effective_policy, virtual_service::Destination},
    translate::clusters::cluster_name,
};

/// A destination that was looked up.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// The cluster's name, whether it exists or not.
    pub(super) cluster: Arc<str>,
    /// The policy of the cluster, when it exists.
    pub(super) policy: Option<EffectivePolicy>,
    /// Why there is no such cluster.
    pub(super) missing: Option<String>,
}

/// What a host is for clients of a namespace, whatever their labels.
pub(super) fn seen<Q: Query>(cx: &mut Cx<'_, Q>, host: &Host, client: &Namespace) -> Option<Arc<Seen>> {
    let special = cx.get(&Exceptions(host.clone()));
    let client = special.get(client).cloned();
    cx.get(&Outlook { host: host.clone(), client, labels: None })
}

/// Finds the cluster of a destination for proxies of a namespace, at a listener's port.
pub(super) fn resolve<Q: Query>(
    cx: &mut Cx<'_, Q>,
    destination: &Destination,
    client: &Namespace,
    listener_port: u16,
) -> Resolved {
    let mut host = destination.host.clone();
    let mut found = seen(cx, &host, client);
    // An ExternalName is rewritten to its target, one hop only (translation §1.1).
    if let Some(target) = found.as_ref().and_then(|s| s.service.external_name.clone()) {
        host = target;
        found = seen(cx, &host, client);
    }
    let ports = found.as_ref().map_or(&[][..], |s| &s.service.ports[..]);
    let sole = if let [only] = ports { Some(only.number) } else { None };
    let port = destination.port.or(sole).unwrap_or(listener_port);
    let subset = &destination.subset;
    let cluster = cluster_name(port, subset, &host).into();
    let missing = |reason: String| Resolved { cluster: Arc::clone(&cluster), policy: None, missing: Some(reason) };
    let Some(found) = found else {
        return missing(format!("no service has host {host:?}; requests are answered with 503"));
    };
    if !found.service.ports.iter().any(|p| p.number == port) {
        let known: Vec<String> = found.service.ports.iter().map(|p| p.number.to_string()).collect();
        let known = known.join(", ");
        return missing(format!(
            "service {host:?} has no port {port} (it has {known}); requests are answered with 503"
        ));
    }
    let mesh = mesh(cx);
    let policy = effective_policy(found.rule.as_deref(), subset, port, &mesh);
    match policy {
        Some(policy) => Resolved { cluster, policy: Some(policy), missing: None },
        None => missing(format!(
            "no DestinationRule of host {host:?} has subset {subset:?}; requests are answered with 503"
        )),
    }
}
