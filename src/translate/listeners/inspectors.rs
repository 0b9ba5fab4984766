//! Listener filters.

use envoy_types::pb::{
    envoy::{
        config::listener::v3::{ListenerFilter, listener_filter::ConfigType},
        extensions::filters::listener::{
            http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst, original_src::v3::OriginalSrc,
            tls_inspector::v3::TlsInspector,
        },
    },
    google::protobuf::Any,
};

use super::wire;
use crate::snapshot::pack_any;

/// The firewall mark of connections that keep their source address (translation §0).
const TPROXY_MARK: u32 = 1337;

/// The first read of a client hello (translation §3.1); it grows when the hello is longer.
const FIRST_READ: u32 = 512;

fn filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: format!("envoy.filters.listener.{name}"),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..ListenerFilter::default()
    }
}

/// Finds out server names and application protocols of TLS.
pub(super) fn tls() -> ListenerFilter {
    let config = TlsInspector { initial_read_buffer_size: wire::uint32(FIRST_READ), ..TlsInspector::default() };
    filter("tls_inspector", pack_any(&config))
}

/// Finds out whether plaintext is HTTP.
pub(super) fn http() -> ListenerFilter {
    filter("http_inspector", pack_any(&HttpInspector {}))
}

/// Restores the destination before redirection.
pub(super) fn original_dst() -> ListenerFilter {
    filter("original_dst", pack_any(&OriginalDst {}))
}

/// Keeps the source address towards the workload (TPROXY).
pub(super) fn original_src() -> ListenerFilter {
    filter("original_src", pack_any(&OriginalSrc { mark: TPROXY_MARK, ..OriginalSrc::default() }))
}
