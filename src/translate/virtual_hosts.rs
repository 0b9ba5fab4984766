//! Virtual hosts and the route configurations made of them (translation §6.2, §7.3).
//!
//! A route configuration is encoded in pieces, so that one changed host costs one virtual host:
//!
//! ```text
//!  routes ─► VirtualHost ─ virtual_host_piece ─┐
//!  routes ─► VirtualHost ─ virtual_host_piece ─┼─► Encoder::pieces ─► Resource
//!                   name ─ config_piece ───────┘
//! ```

mod domains;
mod unique;

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteConfiguration, Vhds, VirtualHost, route::Action, route_action::ClusterSpecifier,
    virtual_host::TlsRequirementType,
};

pub use self::{
    domains::{DomainInput, alias_host, aliases, rule_domains, service_domains},
    unique::{HostEntry, LostDomain, unique_domains},
};
use super::{
    listeners::wire,
    routes::{direct_response, forward, is_catch_all},
};
use crate::{
    model::mesh::OutboundPolicy,
    snapshot::{Version, canonical_bytes, canonical_field},
};

/// Direct responses may be so large (Envoy's default is 4 KiB).
const MAX_DIRECT_RESPONSE_BYTES: u32 = 1024 * 1024;

/// Field number of `virtual_hosts` in `envoy.config.route.v3.RouteConfiguration`.
const VIRTUAL_HOSTS: u32 = 2;

/// The cluster that takes what is for nobody (translation §0).
const PASSTHROUGH: &str = "PassthroughCluster";

/// `<host>:<port>`, an IPv6 address in brackets.
#[must_use]
pub fn host_and_port(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

/// A host as it is in requests: an IPv6 address in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') && host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

/// The virtual host of a service, or of a `VirtualService`'s host, on a sidecar.
#[must_use]
pub fn sidecar_host(host: &str, port: u16, domains: Vec<String>, routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: host_and_port(host, port),
        domains,
        routes,
        include_request_attempt_count: true,
        ..VirtualHost::default()
    }
}

/// The same for a route configuration of one sniffed service (`<host>:<port>`): whatever the client calls it.
#[must_use]
pub fn sniffed_host(host: &str, port: u16, routes: Vec<Route>) -> VirtualHost {
    sidecar_host(host, port, vec!["*".to_owned()], routes)
}

/// The virtual host of requests for no known host: they pass, to `egress` if a Sidecar names it, or are refused.
#[must_use]
pub fn catch_all(policy: OutboundPolicy, egress: Option<&str>) -> VirtualHost {
    let (name, action) = match policy {
        OutboundPolicy::RegistryOnly => ("block_all", direct_response(502, None)),
        OutboundPolicy::AllowAny => {
            let mut action = forward(None);
            action.cluster_specifier = Some(ClusterSpecifier::Cluster(egress.unwrap_or(PASSTHROUGH).to_owned()));
            ("allow_any", Action::Route(action))
        }
    };
    let matching = Some(super::routes::any_request());
    let route = Route { name: name.to_owned(), r#match: matching, action: Some(action), ..Route::default() };
    VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        include_request_attempt_count: true,
        ..VirtualHost::default()
    }
}

/// The virtual host of a host on a gateway. `routes` are those of every `VirtualService` of the host, the oldest
/// first; routes that take everything go last, so that they hide none of the others. `require_tls`: a server of
/// the host has `httpsRedirect`.
#[must_use]
pub fn gateway_host(host: &str, port: u16, mut routes: Vec<Route>, require_tls: bool) -> VirtualHost {
    routes.sort_by_key(is_catch_all);
    let require = if require_tls { TlsRequirementType::All } else { TlsRequirementType::None };
    VirtualHost {
        name: host_and_port(host, port),
        domains: vec![bracketed(host)],
        routes,
        require_tls: require.into(),
        include_request_attempt_count: true,
        ..VirtualHost::default()
    }
}

/// The virtual host of a gateway's port without any: every request is answered with 404.
#[must_use]
pub fn blackhole(port: u16) -> VirtualHost {
    VirtualHost { name: host_and_port("blackhole", port), domains: vec!["*".to_owned()], ..VirtualHost::default() }
}

/// A route configuration without its virtual hosts, as a piece for [`Encoder`](crate::snapshot::Encoder).
#[must_use]
pub fn config_piece(name: &str) -> (Version, Bytes) {
    piece(canonical_bytes(&config(name, Vec::new())))
}

/// A route configuration whose virtual hosts are discovered one by one (VHDS). It has none inline, so that nothing can
/// clash. The listener waits for them without limit, as it does for the route configuration itself.
#[must_use]
pub fn discovering_config(name: &str) -> RouteConfiguration {
    RouteConfiguration {
        vhds: Some(Vhds { config_source: wire::over_ads(Some(Duration::ZERO)) }),
        ..config(name, Vec::new())
    }
}

/// The same for a forward proxy, whose domains tell ports.
#[must_use]
pub fn proxy_config_piece(name: &str) -> (Version, Bytes) {
    piece(canonical_bytes(&RouteConfiguration { ignore_port_in_host_matching: false, ..config(name, Vec::new()) }))
}

/// A virtual host as a piece of a route configuration: the whole `virtual_hosts` field.
#[must_use]
pub fn virtual_host_piece(host: &VirtualHost) -> (Version, Bytes) {
    piece(canonical_field(VIRTUAL_HOSTS, host))
}

/// A whole route configuration, for those that are patched before they are encoded (EnvoyFilter).
#[must_use]
pub fn config(name: &str, virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        validate_clusters: wire::boolean(false),
        max_direct_response_body_size_bytes: wire::uint32(MAX_DIRECT_RESPONSE_BYTES),
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
}

fn piece(bytes: Bytes) -> (Version, Bytes) {
    (Version::of(&bytes), bytes)
}

#[cfg(test)]
mod tests;
