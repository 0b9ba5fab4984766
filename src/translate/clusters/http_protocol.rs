//! The HTTP version of upstream connections, and the options that hang on it (translation §4.3).

use std::collections::HashMap;

use envoy_types::pb::envoy::{
    config::{
        cluster::v3::Cluster,
        core::v3::{
            Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions,
            UpstreamHttpProtocolOptions,
        },
    },
    extensions::upstreams::http::v3::{
        HttpProtocolOptions,
        http_protocol_options::{
            ExplicitHttpConfig, OutlierDetection, UpstreamProtocolOptions, UseDownstreamHttpConfig,
            explicit_http_config::ProtocolConfig,
        },
    },
};

use super::ClusterInput;
use crate::{
    model::{Protocol, ProtocolClass, ProxyKind, destination_rule::H2Upgrade},
    snapshot::pack_any,
};

const EXTENSION: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// HTTP options while they are collected. Untouched, they are left out, and Envoy speaks HTTP/1.1.
#[derive(Default)]
pub(super) struct HttpProtocol {
    options: Option<HttpProtocolOptions>,
}

impl HttpProtocol {
    /// What the port, the proxy and the upgrade policy say.
    pub(super) fn of(input: &ClusterInput<'_>) -> Self {
        let mut made = Self::default();
        let protocol = input.port.protocol;
        if protocol.is_http2() || is_upgraded(input) {
            made.use_http2();
        } else if protocol == Protocol::Auto && input.client.kind == ProxyKind::Sidecar {
            made.use_downstream();
        }
        made
    }

    /// HTTP/2, whatever the client speaks.
    pub(super) fn use_http2(&mut self) {
        let http2 = ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default());
        self.options().upstream_protocol_options =
            Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(http2) }));
    }

    /// The version of the client's connection.
    pub(super) fn use_downstream(&mut self) {
        let config = UseDownstreamHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(Http2ProtocolOptions::default()),
            ..UseDownstreamHttpConfig::default()
        };
        self.options().upstream_protocol_options = Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config));
    }

    /// Whether it is that of the client's connection.
    pub(super) fn is_downstream(&self) -> bool {
        let version = self.options.as_ref().and_then(|options| options.upstream_protocol_options.as_ref());
        matches!(version, Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)))
    }

    /// Whether it is always HTTP/2.
    pub(super) fn is_http2(&mut self) -> bool {
        self.explicit_http2().is_some()
    }

    pub(super) fn explicit_http2(&mut self) -> Option<&mut Http2ProtocolOptions> {
        match self.options.as_mut()?.upstream_protocol_options.as_mut()? {
            UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2)),
            }) => Some(http2),
            _ => None,
        }
    }

    pub(super) fn common(&mut self) -> &mut CommonOptions {
        self.options().common_http_protocol_options.get_or_insert_default()
    }

    pub(super) fn upstream(&mut self) -> &mut UpstreamHttpProtocolOptions {
        self.options().upstream_http_protocol_options.get_or_insert_default()
    }

    pub(super) fn outlier_detection(&mut self) -> &mut OutlierDetection {
        self.options().outlier_detection.get_or_insert_default()
    }

    fn options(&mut self) -> &mut HttpProtocolOptions {
        self.options.get_or_insert_default()
    }

    /// Puts the options into the cluster, if there are any.
    pub(super) fn apply(self, cluster: &mut Cluster) {
        let Some(mut options) = self.options else { return };
        // Envoy demands a version where there are options.
        options.upstream_protocol_options.get_or_insert_with(|| {
            let http1 = ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default());
            UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(http1) })
        });
        cluster.typed_extension_protocol_options = HashMap::from([(EXTENSION.to_owned(), pack_any(&options))]);
    }
}

/// Whether HTTP/1.1 becomes HTTP/2. A DestinationRule may say so for any port, the mesh for HTTP ports.
fn is_upgraded(input: &ClusterInput<'_>) -> bool {
    let own = input.policy.blocks.connection_pool.as_ref().map_or(H2Upgrade::Default, |pool| pool.h2_upgrade);
    match own {
        H2Upgrade::Upgrade => true,
        H2Upgrade::DoNotUpgrade => false,
        H2Upgrade::Default => input.mesh.h2_upgrade && input.port.protocol.class() == ProtocolClass::Http,
    }
}
