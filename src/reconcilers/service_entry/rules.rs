//! What goes together in a ServiceEntry (contract §10).

use std::collections::HashSet;

use super::super::{
    Flaw, Problems,
    rules::{check_export_to, domain, wildcard_domain},
};
use crate::{
    api::{
        self,
        service_entry::{Location, Resolution, ServiceEntrySpec},
    },
    model::{Code, Protocol},
};

/// Set to `false` by users who want no addresses allocated.
const AUTO_ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";
const USE_WAYPOINT: &str = "istio.io/use-waypoint";
const SOCKET_SCHEME: &str = "unix://";

/// A host: a DNS name, in which `*` may be the first label.
pub(super) fn host(text: &str) -> Result<(), Flaw> {
    if text == "*" {
        return Err(Flaw::new(Code::HostMalformed, "\"*\" would be every host: name the hosts"));
    }
    let partial = text.strip_prefix('*').filter(|rest| !rest.starts_with('.'));
    match partial.map(|rest| rest.strip_prefix('-').unwrap_or(rest)) {
        Some(rest) if domain(rest).is_ok() => {
            let reason = format!("{text:?} has a wildcard that is not a whole label; the host is left out");
            Err(Flaw::new(Code::HostPartialWildcard, reason))
        }
        _ => wildcard_domain(text),
    }
}

pub(super) fn check(entry: &api::ServiceEntry, problems: &mut Problems) {
    let spec = &entry.spec;
    check_export_to(&spec.export_to, true, problems);
    check_endpoint_ports(spec, problems);
    check_sockets(spec, problems);
    check_advised_addresses(entry, problems);
    match spec.resolution {
        Resolution::None if spec.workload_selector.is_some() => {
            problems.add(Code::FieldWithoutEffect, "spec.workloadSelector", "has no effect with resolution NONE");
        }
        Resolution::Dns | Resolution::DnsRoundRobin => check_shared_address(spec, problems),
        Resolution::DynamicDns => check_dynamic(entry, problems),
        Resolution::None | Resolution::Static => {}
    }
    if spec.resolution != Resolution::None {
        check_several_hosts(spec, problems);
    }
}

/// Endpoints name ports of the service.
fn check_endpoint_ports(spec: &ServiceEntrySpec, problems: &mut Problems) {
    if spec.resolution == Resolution::None {
        return;
    }
    let names: HashSet<&str> = spec.ports.iter().map(|port| port.name.as_str()).collect();
    for (i, endpoint) in spec.endpoints.iter().enumerate() {
        for name in endpoint.ports.keys().filter(|name| !names.contains(name.as_str())) {
            let field = format!("spec.endpoints[{i}].ports[{name}]");
            problems.add(
                Code::EndpointPortUnknown,
                field,
                format!("{name:?} is not the name of a port of the service"),
            );
        }
    }
}

fn check_sockets(spec: &ServiceEntrySpec, problems: &mut Problems) {
    if spec.ports.len() == 1 || spec.resolution != Resolution::Static {
        return;
    }
    let sockets = spec.endpoints.iter().position(|endpoint| endpoint.address.starts_with(SOCKET_SCHEME));
    if let Some(i) = sockets {
        let reason = format!("a Unix socket serves one port, and the service has {}", spec.ports.len());
        problems.add(Code::SocketPortsMany, format!("spec.endpoints[{i}].address"), reason);
    }
}

/// Without an address of its own, a port of plain TCP takes what no other service takes.
fn check_advised_addresses(entry: &api::ServiceEntry, problems: &mut Problems) {
    let labels = entry.metadata.labels.as_ref();
    let turned_off = labels.and_then(|labels| labels.get(AUTO_ALLOCATE)).is_some_and(|value| value == "false");
    let spec = &entry.spec;
    if !spec.addresses.is_empty() || !(turned_off || spec.resolution == Resolution::None) {
        return;
    }
    let plain = |protocol: &str| protocol.is_empty() || protocol.eq_ignore_ascii_case("TCP");
    for (i, _) in spec.ports.iter().enumerate().filter(|(_, port)| plain(&port.protocol)) {
        let reason = "a port of TCP without addresses takes the connections of every host on that port";
        problems.add(Code::AddressAdvised, format!("spec.ports[{i}]"), reason);
    }
}

/// Connections to an address that several hosts share.
fn check_shared_address(spec: &ServiceEntrySpec, problems: &mut Problems) {
    let tcp = |protocol: &str| {
        matches!(
            Protocol::parse(protocol),
            Some(Protocol::Tcp | Protocol::Https | Protocol::Tls | Protocol::Mongo | Protocol::Redis | Protocol::Mysql)
        )
    };
    if spec.hosts.len() > 1 && !spec.addresses.is_empty() && spec.ports.iter().any(|port| tcp(&port.protocol)) {
        let reason = "several hosts share the addresses, and connections do not always say which is meant";
        problems.add(Code::HostsShareAddress, "spec.addresses", reason);
    }
}

/// The host is known only when a request is there.
fn check_dynamic(entry: &api::ServiceEntry, problems: &mut Problems) {
    let spec = &entry.spec;
    for (i, host) in spec.hosts.iter().enumerate().filter(|(_, host)| !host.starts_with('*')) {
        let reason = format!("{host:?} has no wildcard: resolution DNS is for it");
        problems.add(Code::HostNotWildcard, format!("spec.hosts[{i}]"), reason);
    }
    if !spec.addresses.is_empty() {
        problems.add(Code::AddressesUnexpected, "spec.addresses", "cannot be set with resolution DYNAMIC_DNS");
    }
    for (i, port) in spec.ports.iter().enumerate() {
        let protocol = Protocol::parse(&port.protocol);
        if !matches!(protocol, Some(Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Tls)) {
            let reason =
                format!("{:?} does not go with resolution DYNAMIC_DNS: use HTTP, HTTP2, GRPC or TLS", port.protocol);
            problems.add(Code::ProtocolUnfit, format!("spec.ports[{i}].protocol"), reason);
        }
    }
    let waypoint = entry.metadata.labels.as_ref().and_then(|labels| labels.get(USE_WAYPOINT));
    let waypoint = waypoint.is_some_and(|name| !name.is_empty() && !name.eq_ignore_ascii_case("none"));
    if spec.location == Location::MeshInternal && waypoint {
        let reason = format!("MESH_INTERNAL with resolution DYNAMIC_DNS cannot stand beside the label {USE_WAYPOINT}");
        problems.add(Code::FieldsExclusive, "spec.location", reason);
    }
}

/// Plain TCP says nothing of a host.
fn check_several_hosts(spec: &ServiceEntrySpec, problems: &mut Problems) {
    if spec.hosts.len() < 2 {
        return;
    }
    let names_host = |protocol: &str| {
        matches!(
            Protocol::parse(protocol),
            Some(
                Protocol::Http
                    | Protocol::Http2
                    | Protocol::HttpProxy
                    | Protocol::Grpc
                    | Protocol::GrpcWeb
                    | Protocol::Https
                    | Protocol::Tls
            )
        )
    };
    for (i, port) in spec.ports.iter().enumerate().filter(|(_, port)| !names_host(&port.protocol)) {
        let word = if port.protocol.is_empty() { "that is not said" } else { &port.protocol };
        let reason = format!("with protocol {word} nothing tells the {} hosts apart", spec.hosts.len());
        problems.add(Code::HostsAmbiguous, format!("spec.ports[{i}].protocol"), reason);
    }
}
