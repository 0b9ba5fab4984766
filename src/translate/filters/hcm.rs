//! The HTTP connection manager (translation §10), made in two steps so that patches see its filters:
//! [`super::http_filters`], then [`network_filter`].

use std::time::Duration;

use envoy_types::pb::envoy::{
    config::{
        core::v3::Http1ProtocolOptions,
        listener::v3::{Filter, filter::ConfigType},
        route::v3::RouteConfiguration,
    },
    extensions::{
        filters::network::http_connection_manager::v3::{
            HttpConnectionManager, HttpFilter, Rds, RequestIdExtension,
            http_connection_manager::{
                CodecType, ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier,
                SetCurrentClientCertDetails, UpgradeConfig,
            },
        },
        request_id::uuid::v3::UuidRequestIdConfig,
    },
};

use super::{access_log, metrics::Reporter};
use crate::{
    model::{MeshConfig, mesh::PathNormalization},
    snapshot::pack_any,
    translate::listeners::wire,
};

/// Which column of translation §10 applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HcmClass {
    /// A sidecar, towards its workload.
    Inbound,
    /// A sidecar, away from its workload.
    Outbound,
    /// A gateway.
    Gateway,
}

/// Where routes come from.
#[derive(Clone, Debug)]
pub enum RouteSource {
    /// RDS over ADS, by name.
    Rds(String),
    /// They are in the listener.
    Inline(Box<RouteConfiguration>),
}

/// What a connection manager is made of, its HTTP filters apart.
#[derive(Clone, Debug)]
pub struct HcmInput<'a> {
    /// Sidecar or gateway.
    pub class: HcmClass,
    /// Prefix of statistics.
    pub stat_prefix: String,
    /// Routes.
    pub routes: RouteSource,
    /// A forward proxy: requests name absolute URLs.
    pub absolute_urls: bool,
    /// The mesh configuration.
    pub mesh: &'a MeshConfig,
}

/// The prefix of a chain's statistics: the delimiter is what the bootstrap's tag patterns look for.
#[must_use]
pub fn outbound_stat_prefix(listener: &str) -> String {
    format!("outbound_{listener};")
}

/// The network filter.
#[must_use]
pub fn network_filter(input: HcmInput<'_>, http_filters: Vec<HttpFilter>) -> Filter {
    Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(&manager(input, http_filters)))),
    }
}

fn manager(input: HcmInput<'_>, http_filters: Vec<HttpFilter>) -> HttpConnectionManager {
    let gateway = input.class == HcmClass::Gateway;
    let reporter = if input.class == HcmClass::Inbound { Reporter::Destination } else { Reporter::Source };
    let absolute = Http1ProtocolOptions { allow_absolute_url: wire::boolean(true), ..Http1ProtocolOptions::default() };
    let mut hcm = HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: input.stat_prefix,
        route_specifier: Some(routes(input.routes)),
        http_filters,
        access_log: access_log::of_http(input.mesh, reporter),
        use_remote_address: wire::boolean(gateway),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), ..UpgradeConfig::default() }],
        // Streams may be idle for as long as they like; routes set their own limits.
        stream_idle_timeout: wire::duration(Duration::ZERO),
        proxy_100_continue: true,
        request_id_extension: Some(request_id()),
        http_protocol_options: input.absolute_urls.then_some(absolute),
        ..HttpConnectionManager::default()
    };
    if input.class != HcmClass::Outbound {
        hcm.server_name = "istio-envoy".to_owned();
    }
    client_certificates(&mut hcm, input.class);
    paths(&mut hcm, input.mesh.path_normalization);
    hcm
}

fn routes(source: RouteSource) -> RouteSpecifier {
    match source {
        RouteSource::Rds(name) => {
            RouteSpecifier::Rds(Rds { config_source: wire::over_ads(Some(Duration::ZERO)), route_config_name: name })
        }
        RouteSource::Inline(config) => RouteSpecifier::RouteConfig(*config),
    }
}

fn request_id() -> RequestIdExtension {
    let uuid = UuidRequestIdConfig {
        use_request_id_for_trace_sampling: wire::boolean(true),
        ..UuidRequestIdConfig::default()
    };
    RequestIdExtension { typed_config: Some(pack_any(&uuid)) }
}

/// `x-forwarded-client-cert`: gateways replace it, inbound adds to it, outbound leaves it out.
fn client_certificates(hcm: &mut HttpConnectionManager, class: HcmClass) {
    let (forward, details) = match class {
        HcmClass::Outbound => return,
        HcmClass::Gateway => (
            ForwardClientCertDetails::SanitizeSet,
            SetCurrentClientCertDetails { cert: true, ..SetCurrentClientCertDetails::default() },
        ),
        HcmClass::Inbound => (ForwardClientCertDetails::AppendForward, SetCurrentClientCertDetails::default()),
    };
    hcm.forward_client_cert_details = forward.into();
    hcm.set_current_client_cert_details =
        Some(SetCurrentClientCertDetails { subject: wire::boolean(true), dns: true, uri: true, ..details });
}

fn paths(hcm: &mut HttpConnectionManager, normalization: PathNormalization) {
    let (normalize, merge, slashes) = match normalization {
        PathNormalization::None => (false, false, PathWithEscapedSlashesAction::KeepUnchanged),
        PathNormalization::Base => (true, false, PathWithEscapedSlashesAction::KeepUnchanged),
        PathNormalization::MergeSlashes => (true, true, PathWithEscapedSlashesAction::KeepUnchanged),
        PathNormalization::DecodeAndMergeSlashes => (true, true, PathWithEscapedSlashesAction::UnescapeAndForward),
    };
    hcm.normalize_path = wire::boolean(normalize);
    hcm.merge_slashes = merge;
    hcm.path_with_escaped_slashes_action = slashes.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(class: HcmClass, mesh: &MeshConfig) -> HttpConnectionManager {
        let routes = RouteSource::Rds("http.80".to_owned());
        manager(HcmInput { class, stat_prefix: "s;".to_owned(), routes, absolute_urls: false, mesh }, Vec::new())
    }

    #[test]
    fn classes_differ_as_the_table_says() {
        let mesh = MeshConfig::default();
        let gateway = make(HcmClass::Gateway, &mesh);
        assert_eq!((gateway.server_name.as_str(), gateway.use_remote_address), ("istio-envoy", wire::boolean(true)));
        assert_eq!(gateway.forward_client_cert_details(), ForwardClientCertDetails::SanitizeSet);
        assert!(gateway.set_current_client_cert_details.is_some_and(|d| d.cert && d.uri && !d.chain));
        let outbound = make(HcmClass::Outbound, &mesh);
        assert_eq!((outbound.server_name.as_str(), outbound.use_remote_address), ("", wire::boolean(false)));
        assert!(outbound.set_current_client_cert_details.is_none());
        let inbound = make(HcmClass::Inbound, &mesh);
        assert_eq!(inbound.forward_client_cert_details(), ForwardClientCertDetails::AppendForward);
        assert!(inbound.set_current_client_cert_details.is_some_and(|d| !d.cert && d.dns));
    }

    #[test]
    fn paths_are_normalised_as_the_mesh_says() {
        let with = |path_normalization| {
            let hcm = make(HcmClass::Gateway, &MeshConfig { path_normalization, ..MeshConfig::default() });
            (hcm.normalize_path, hcm.merge_slashes, hcm.path_with_escaped_slashes_action())
        };
        use PathWithEscapedSlashesAction::{KeepUnchanged, UnescapeAndForward};
        assert_eq!(with(PathNormalization::None), (wire::boolean(false), false, KeepUnchanged));
        assert_eq!(with(PathNormalization::Base), (wire::boolean(true), false, KeepUnchanged));
        assert_eq!(with(PathNormalization::MergeSlashes), (wire::boolean(true), true, KeepUnchanged));
        let decode = with(PathNormalization::DecodeAndMergeSlashes);
        assert_eq!(decode, (wire::boolean(true), true, UnescapeAndForward));
    }
}
