//! Envoy's messages for endpoints.

use std::collections::HashMap;

use envoy_types::pb::{
    envoy::config::{
        core::v3::{
            Address, HealthStatus, Locality as EnvoyLocality, Metadata, Pipe, SocketAddress, address,
            socket_address::PortSpecifier,
        },
        endpoint::v3::{Endpoint as EnvoyEndpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
    },
    google::protobuf::{Struct, UInt32Value, Value, value::Kind},
};

use super::group::Group;
use crate::model::{
    Endpoint, Locality,
    service::{EndpointAddress, Health},
};

/// Where Istio's filters look for the workload, and Envoy for the transport socket.
const WORKLOAD_FILTER: &str = "istio";
const WORKLOAD_KEY: &str = "workload";
const SOCKET_MATCH: &str = "envoy.transport_socket_match";
const TLS_MODE_KEY: &str = "tlsMode";
const TLS_MODE_ISTIO: &str = "istio";

pub(super) fn locality(group: &Group<'_>, takes_mtls: &dyn Fn(&Endpoint) -> bool) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: Some(envoy_locality(group.locality)),
        lb_endpoints: group
            .members
            .iter()
            .map(|(member, weight)| lb_endpoint(member, *weight, takes_mtls(member)))
            .collect(),
        load_balancing_weight: Some(UInt32Value { value: group.weight }),
        priority: group.priority,
        ..LocalityLbEndpoints::default()
    }
}

fn envoy_locality(locality: &Locality) -> EnvoyLocality {
    EnvoyLocality {
        region: locality.region.to_string(),
        zone: locality.zone.to_string(),
        sub_zone: locality.subzone.to_string(),
    }
}

fn lb_endpoint(member: &Endpoint, weight: u32, mtls: bool) -> LbEndpoint {
    let health = match member.health {
        Health::Healthy => HealthStatus::Healthy,
        Health::Unhealthy => HealthStatus::Unhealthy,
        Health::Draining | Health::Terminating => HealthStatus::Draining,
    };
    let endpoint = EnvoyEndpoint { address: Some(address_of(member)), ..EnvoyEndpoint::default() };
    LbEndpoint {
        health_status: health.into(),
        metadata: metadata(member, mtls),
        load_balancing_weight: Some(UInt32Value { value: weight }),
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
    }
}

fn address_of(member: &Endpoint) -> Address {
    let socket = |host: String| {
        address::Address::SocketAddress(SocketAddress {
            address: host,
            port_specifier: Some(PortSpecifier::PortValue(member.port.into())),
            ..SocketAddress::default()
        })
    };
    let address = match &member.address {
        EndpointAddress::Ip(ip) => socket(ip.to_string()),
        EndpointAddress::Hostname(host) => socket(host.to_string()),
        EndpointAddress::Pipe(path) => address::Address::Pipe(Pipe { path: path.to_string(), mode: 0 }),
    };
    Address { address: Some(address) }
}

fn metadata(member: &Endpoint, mtls: bool) -> Option<Metadata> {
    let mut filters = HashMap::new();
    if !member.workload.is_empty() {
        filters.insert(WORKLOAD_FILTER.to_owned(), one_string(WORKLOAD_KEY, &member.workload));
    }
    if mtls {
        filters.insert(SOCKET_MATCH.to_owned(), one_string(TLS_MODE_KEY, TLS_MODE_ISTIO));
    }
    (!filters.is_empty()).then(|| Metadata { filter_metadata: filters, ..Metadata::default() })
}

fn one_string(key: &str, text: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(text.to_owned())) };
    Struct { fields: HashMap::from([(key.to_owned(), value)]) }
}
