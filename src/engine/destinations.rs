//! Where destinations of routes lead (translation §6.4, §7.4).

use std::{collections::BTreeSet, sync::Arc};

use super::{
    gateway_routes::with_delegates,
    graph::{Cx, Query},
    inputs::{NamespacedName, VirtualServices},
    services::{Exceptions, Outlook, Seen, mesh},
    stage,
};
use crate::{
    model::{
        Code, EffectivePolicy, Flaw, Host, Namespace,
        destination_rule::effective_policy,
        virtual_service::{Destination, HttpRoute},
    },
    translate::clusters::{self, cluster_name},
};

/// A destination that was looked up.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// The cluster's name, whether it exists or not.
    pub(super) cluster: Arc<str>,
    /// The policy of the cluster, when it exists.
    pub(super) policy: Option<EffectivePolicy>,
    /// Why there is no such cluster: its host, its port or its subset is not there.
    pub(super) missing: Option<Flaw>,
    /// See [`clusters::offers_http`].
    pub(super) offers_http: bool,
}

/// What a host is for clients of a namespace, whatever their labels.
pub(super) fn seen<Q: Query>(cx: &mut Cx<'_, Q>, host: &Host, client: &Namespace) -> Option<Arc<Seen>> {
    let special = cx.get(&Exceptions(host.clone()));
    let client = special.get(client).cloned();
    cx.get(&Outlook { host: host.clone(), client, labels: None })
}

/// The host that a destination's host stands for: an ExternalName is rewritten to its target, one hop only
/// (translation §1.1).
pub(super) fn target<Q: Query>(cx: &mut Cx<'_, Q>, host: &Host, client: &Namespace) -> Host {
    let found = seen(cx, host, client);
    found.and_then(|s| s.service.external_name.clone()).unwrap_or_else(|| host.clone())
}

/// Where the rules of a VirtualService lead, mirrors included: hosts, with the port if they say one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RuleDestinations(pub(super) NamespacedName);

impl Query for RuleDestinations {
    type Value = Arc<BTreeSet<(Host, Option<u16>)>>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Some(vs) = cx.input(&VirtualServices(self.0.clone())) else { return Arc::default() };
        let (http, _) = with_delegates(cx, &vs);
        let http = http.iter().flat_map(HttpRoute::destinations);
        let tls = vs.tls.iter().flat_map(|r| &r.destinations);
        let l4 = tls.chain(vs.tcp.iter().flat_map(|r| &r.destinations)).map(|d| &d.destination);
        Arc::new(http.chain(l4).map(|d| (d.host.clone(), d.port)).collect())
    }
}

/// Finds the cluster of a destination for proxies of a namespace, at a listener's port.
pub(super) fn resolve<Q: Query>(
    cx: &mut Cx<'_, Q>,
    destination: &Destination,
    client: &Namespace,
    listener_port: u16,
) -> Resolved {
    let host = target(cx, &destination.host, client);
    let found = seen(cx, &host, client);
    let ports = found.as_ref().map_or(&[][..], |s| &s.service.ports[..]);
    let sole = if let [only] = ports { Some(only.number) } else { None };
    let port = destination.port.or(sole).unwrap_or(listener_port);
    let subset = &destination.subset;
    let cluster = cluster_name(port, subset, &host).into();
    let missing = |code: Code, reason: String| Resolved {
        cluster: Arc::clone(&cluster),
        policy: None,
        missing: Some(Flaw::new(code, reason)),
        offers_http: false,
    };
    let Some(found) = found else {
        return missing(Code::DestinationHostUnknown, format!("no service has host {host:?}"));
    };
    let Some(of_service) = found.service.ports.iter().find(|p| p.number == port) else {
        let known: Vec<String> = found.service.ports.iter().map(|p| p.number.to_string()).collect();
        let reason = format!("service {host:?} has no port {port} (it has {})", known.join(", "));
        return missing(Code::DestinationPortUnknown, reason);
    };
    let mesh = mesh(cx);
    let policy = effective_policy(found.rule.as_deref(), subset, port, &mesh);
    match policy {
        Some(policy) => {
            let offers_http = clusters::offers_http(&found.service, of_service, &policy);
            Resolved { cluster, policy: Some(policy), missing: None, offers_http }
        }
        None => {
            let reason = format!("no DestinationRule of host {host:?} has subset {subset:?}");
            missing(Code::DestinationSubsetUnknown, reason)
        }
    }
}
