//! Small conversions into Envoy's messages that listeners and their filters need.

use std::{net::IpAddr, time::Duration};

use envoy_types::pb::{
    envoy::config::core::v3::{
        Address, AggregatedConfigSource, ApiConfigSource, ApiVersion, CidrRange, ConfigSource, GrpcService, Pipe,
        SocketAddress, address::Address as AddressKind, api_config_source::ApiType,
        config_source::ConfigSourceSpecifier, grpc_service, socket_address::PortSpecifier,
    },
    google::protobuf::{BoolValue, Duration as WireDuration, UInt32Value},
};
use ipnet::IpNet;

use crate::model::Bind;

/// The cluster of the agent's secret socket, part of the bootstrap (contract §3.1).
const AGENT_SDS_CLUSTER: &str = "sds-grpc";

pub(crate) const fn boolean(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub(crate) const fn uint32(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

/// A duration; longer ones than Envoy takes (about 10,000 years) become the longest.
pub(crate) fn duration(value: Duration) -> Option<WireDuration> {
    const LONGEST: u64 = 315_576_000_000;
    let seconds = value.as_secs().min(LONGEST);
    Some(WireDuration { seconds: seconds.cast_signed(), nanos: value.subsec_nanos().cast_signed() })
}

/// Configuration over the stream that brought this. Route configurations are waited for without end (translation
/// §10); secrets keep Envoy's 15 s (§7.6).
pub(crate) fn over_ads(fetch_timeout: Option<Duration>) -> Option<ConfigSource> {
    Some(ConfigSource {
        initial_fetch_timeout: fetch_timeout.and_then(duration),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    })
}

/// Secrets of the agent: the workload's own certificate, and files.
pub(crate) fn over_agent_sds() -> Option<ConfigSource> {
    let target = grpc_service::EnvoyGrpc { cluster_name: AGENT_SDS_CLUSTER.to_owned(), ..Default::default() };
    let service = GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(target)),
        ..GrpcService::default()
    };
    let api = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..ApiConfigSource::default()
    };
    Some(ConfigSource {
        initial_fetch_timeout: duration(Duration::ZERO),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(api)),
        ..ConfigSource::default()
    })
}

pub(crate) fn socket_address(ip: IpAddr, port: u16) -> Address {
    let socket = SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    Address { address: Some(AddressKind::SocketAddress(socket)) }
}

pub(crate) fn bind_address(bind: &Bind, port: u16) -> Address {
    match bind {
        Bind::Ip(ip) => socket_address(*ip, port),
        Bind::Pipe(path) => {
            Address { address: Some(AddressKind::Pipe(Pipe { path: path.to_string(), ..Pipe::default() })) }
        }
    }
}

/// A range without host bits, as Envoy compares them.
pub(crate) fn cidr(net: IpNet) -> CidrRange {
    CidrRange { address_prefix: net.network().to_string(), prefix_len: uint32(net.prefix_len().into()) }
}
