//! The forward proxy of a sidecar: applications that use `http_proxy` name absolute URLs (translation §3.1).

use envoy_types::pb::envoy::config::{core::v3::TrafficDirection, listener::v3::Listener};

use super::{
    Chain, ListenerOutput, RefSet,
    address::{addresses, listener_name},
    chain::ChainParts,
    sidecar_outbound::SidecarInput,
};
use crate::{
    model::Bind,
    translate::filters::{
        self, HttpFilterNeeds, access_log,
        hcm::{self, HcmClass, HcmInput, RouteSource},
    },
};

/// The route configuration of the forward proxy.
pub const HTTP_PROXY_ROUTE: &str = "http_proxy";

/// The listener on a port of the loopback address; port 0 is none.
#[must_use]
pub fn http_proxy(port: u16, input: &SidecarInput<'_>) -> Option<ListenerOutput> {
    if port == 0 {
        return None;
    }
    let bind = Bind::Ip(input.families.loopback());
    let name = listener_name(Some(&bind), port, input.families);
    let needs = HttpFilterNeeds { grpc_web: false, deny_all: false, outbound: true };
    let http_filters = filters::http_filters(needs);
    let manager = HcmInput {
        class: HcmClass::Outbound,
        stat_prefix: hcm::outbound_stat_prefix(&name),
        routes: RouteSource::Rds(HTTP_PROXY_ROUTE.to_owned()),
        absolute_urls: true,
        mesh: input.mesh,
    };
    let filters = vec![hcm::network_filter(manager, http_filters)];
    let parts = ChainParts { name: HTTP_PROXY_ROUTE.to_owned(), filters, ..ChainParts::default() };
    let refs = RefSet { routes: [HTTP_PROXY_ROUTE.into()].into(), ..RefSet::default() };
    let header = Listener {
        name: name.clone(),
        address: Some(addresses(Some(&bind), port, input.families).0),
        traffic_direction: TrafficDirection::Outbound.into(),
        access_log: access_log::of_listener(input.mesh),
        ..Listener::default()
    };
    let chains = vec![Chain::new(parts.build(), refs, None)];
    Some(ListenerOutput { name, header, chains, ..ListenerOutput::default() })
}
