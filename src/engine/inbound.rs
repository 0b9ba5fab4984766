//! What sidecars have for their own workload: the inbound listener and its clusters (translation §1.5, §3.3).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    gateways::is_denied,
    graph::{Cx, OwnPart, Query},
    index::PeerAuthenticationsIn,
    inputs::PeerAuthentications,
    services::{self, mesh},
    sidecar_listeners::finished,
    stage,
};
use crate::{
    model::{
        IpFamilies, Labels, Namespace, Protocol, Proxy,
        envoy_filter::PatchContext,
        peer_authentication::{NamespacePeers, PeerMtls},
        proxy::InterceptionMode,
        service::InboundPort,
        workload::PodFacts,
    },
    translate::{
        clusters::inbound_cluster,
        filters::envoy_filter::PatchSet,
        listeners::virtual_inbound::{InboundInput, virtual_inbound},
    },
};

/// What of a sidecar and its workload decides what comes in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct InboundFacts {
    families: IpFamilies,
    interception: InterceptionMode,
    deny_all: bool,
    ports: Vec<InboundPort>,
    peer: PeerMtls,
    filters: PatchSet,
}

impl InboundFacts {
    /// Of a sidecar beside a workload with these labels; `pod` is its Pod when it is known.
    pub(super) fn of<Q: Query>(
        cx: &mut Cx<'_, Q>,
        proxy: &Proxy,
        labels: &Labels,
        pod: Option<&PodFacts>,
        filters: PatchSet,
    ) -> Self {
        Self {
            families: IpFamilies::of(&proxy.ips),
            interception: proxy.interception,
            deny_all: is_denied(cx, &proxy.namespace, labels),
            ports: ports(cx, &proxy.namespace, labels, pod),
            peer: cx.get(&Peers(proxy.namespace.clone())).of(labels),
            filters,
        }
    }
}

/// The PeerAuthentications that count in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peers(pub(super) Namespace);

impl Query for Peers {
    type Value = Arc<NamespacePeers>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let root = mesh(cx).root_namespace.clone();
        let mut keys = cx.set(&PeerAuthenticationsIn(self.0.clone())).to_vec();
        if root != self.0 {
            keys.extend(cx.set(&PeerAuthenticationsIn(root.clone())).iter().cloned());
        }
        let objects: Vec<_> = keys.into_iter().filter_map(|key| cx.input(&PeerAuthentications(key))).collect();
        Arc::new(NamespacePeers::new(&self.0, &root, &objects))
    }
}

/// The ports of a workload that services lead to: of several services for one port the oldest counts.
fn ports<Q: Query>(
    cx: &mut Cx<'_, Q>,
    namespace: &Namespace,
    labels: &Labels,
    pod: Option<&PodFacts>,
) -> Vec<InboundPort> {
    let mut ports = BTreeMap::new();
    for service in services::selecting(cx, namespace, labels) {
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            let named = || pod.and_then(|pod| pod.ports.get(&port.target_name)).copied();
            let Some(target) = port.target.or_else(named) else { continue };
            ports.entry(target).or_insert_with(|| InboundPort {
                target,
                protocol: port.protocol,
                host: service.host.clone(),
                service_port: port.number,
                service: service.name.clone(),
                namespace: service.namespace.clone(),
            });
        }
    }
    ports.into_values().collect()
}

/// The inbound listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct InboundListener(pub(super) Arc<InboundFacts>);

impl Query for InboundListener {
    type Value = OwnPart;
    const STAGE: u8 = stage::LISTENER;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let (mesh, facts) = (mesh(cx), &self.0);
        let listener = virtual_inbound(&InboundInput {
            mesh: &mesh,
            families: facts.families,
            interception: facts.interception,
            deny_all: facts.deny_all,
            ports: &facts.ports,
            peer: &facts.peer,
        });
        let listener = listener.map(|l| finished(cx, l, &facts.filters, PatchContext::SidecarInbound));
        OwnPart::of(self, listener.into_iter())
    }
}

/// The clusters of the ports of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct InboundClusters {
    families: IpFamilies,
    ports: Vec<InboundPort>,
}

impl InboundClusters {
    /// Those that the listener leads to; `None` when there are none.
    pub(super) fn of(facts: &InboundFacts) -> Option<Self> {
        let any = facts.interception != InterceptionMode::None && !facts.ports.is_empty();
        any.then(|| Self { families: facts.families, ports: facts.ports.clone() })
    }
}

impl Query for InboundClusters {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let mesh = mesh(cx);
        let items = self.ports.iter().map(|port| {
            let resource = inbound_cluster(port, &mesh, self.families).resource();
            (resource.name.clone(), Some(Arc::new(resource)))
        });
        OwnPart::of(self, items)
    }
}
