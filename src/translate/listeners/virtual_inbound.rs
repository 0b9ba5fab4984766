//! `virtualInbound`: takes redirected connections to the workload. For now everything passes through as it is: the
//! chains of services and mutual TLS are not made yet (translation §3.3).

use std::time::Duration;

use envoy_types::pb::envoy::config::{
    core::v3::TrafficDirection,
    listener::v3::{FilterChainMatch, Listener},
    route::v3::{
        Decorator, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
        route::Action,
        route_action::{ClusterSpecifier, MaxStreamDuration},
        route_match::PathSpecifier,
    },
};

use super::{
    Chain, ListenerOutput, RefSet, address::addresses, chain::ChainParts, inspectors, sidecar_outbound::plaintext_http,
    tcp::TcpRoute, virtual_outbound::blackhole_chain, wire,
};
use crate::{
    model::{IpFamilies, MeshConfig, proxy::InterceptionMode},
    translate::{
        clusters::INBOUND_PASSTHROUGH as CLUSTER,
        filters::{
            self, HttpFilterNeeds, access_log,
            hcm::{self, HcmClass, HcmInput, RouteSource},
            rbac,
        },
    },
};

/// What the listener is made of.
#[derive(Clone, Copy)]
pub struct InboundInput<'a> {
    /// The mesh configuration.
    pub mesh: &'a MeshConfig,
    /// The proxy's IP families.
    pub families: IpFamilies,
    /// How traffic gets to the proxy.
    pub interception: InterceptionMode,
    /// A policy that cannot be enforced yet selects the workload.
    pub deny_all: bool,
}

/// The listener; `None` when nothing is redirected.
#[must_use]
pub fn virtual_inbound(input: &InboundInput<'_>) -> Option<ListenerOutput> {
    if input.interception == InterceptionMode::None {
        return None;
    }
    let name = "virtualInbound".to_owned();
    let port = input.mesh.proxy_inbound_listen_port;
    let (address, additional_addresses) = addresses(None, port, input.families);
    let tproxy = input.interception == InterceptionMode::Tproxy;
    let mut listener_filters = vec![inspectors::original_dst()];
    listener_filters.extend(tproxy.then(inspectors::original_src));
    listener_filters.push(inspectors::http());
    let chains =
        [blackhole_chain("virtualInbound-blackhole", port, input.mesh), Some(http_chain(input)), tcp_chain(input)];
    let header = Listener {
        name: name.clone(),
        address: Some(address),
        additional_addresses,
        transparent: tproxy.then(|| wire::boolean(true)).flatten(),
        traffic_direction: TrafficDirection::Inbound.into(),
        listener_filters,
        listener_filters_timeout: wire::duration(input.mesh.protocol_detection_timeout),
        continue_on_listener_filters_timeout: true,
        access_log: access_log::of_listener(input.mesh),
        ..Listener::default()
    };
    let chains = chains.into_iter().flatten().collect();
    Some(ListenerOutput { name, header, chains, ..ListenerOutput::default() })
}

fn http_chain(input: &InboundInput<'_>) -> Chain {
    let name = "virtualInbound-catchall-http".to_owned();
    let needs = HttpFilterNeeds { grpc_web: false, deny_all: input.deny_all, outbound: false };
    let http_filters = filters::http_filters(needs);
    let manager = HcmInput {
        class: HcmClass::Inbound,
        stat_prefix: format!("{CLUSTER};"),
        routes: RouteSource::Inline(Box::new(routes())),
        absolute_urls: false,
        mesh: input.mesh,
    };
    let filters = vec![hcm::network_filter(manager, http_filters)];
    let parts = ChainParts { name, matching: plaintext_http(), filters, ..ChainParts::default() };
    Chain::new(parts.build(), cluster_ref(), None)
}

fn tcp_chain(input: &InboundInput<'_>) -> Option<Chain> {
    let (proxy, refs) = TcpRoute::to_cluster(CLUSTER).proxy(input.mesh)?;
    let mut network = Vec::with_capacity(2);
    network.extend(input.deny_all.then(rbac::network_deny_all));
    network.push(proxy);
    let matching = FilterChainMatch::default();
    let parts = ChainParts { name: "virtualInbound".to_owned(), matching, filters: network, ..ChainParts::default() };
    Some(Chain::new(parts.build(), refs, None))
}

fn cluster_ref() -> RefSet {
    RefSet { clusters: [CLUSTER.into()].into(), ..RefSet::default() }
}

/// All requests to the workload, without limits of time.
fn routes() -> RouteConfiguration {
    let unlimited = wire::duration(Duration::ZERO);
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(CLUSTER.to_owned())),
        timeout: unlimited,
        max_stream_duration: Some(MaxStreamDuration {
            max_stream_duration: unlimited,
            grpc_timeout_header_max: unlimited,
            ..MaxStreamDuration::default()
        }),
        ..RouteAction::default()
    };
    let route = Route {
        name: "default".to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(action)),
        decorator: Some(Decorator { operation: ":0/*".to_owned(), ..Decorator::default() }),
        ..Route::default()
    };
    let host = VirtualHost {
        name: "inbound|http|0".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    RouteConfiguration {
        name: CLUSTER.to_owned(),
        virtual_hosts: vec![host],
        validate_clusters: wire::boolean(false),
        ..RouteConfiguration::default()
    }
}
