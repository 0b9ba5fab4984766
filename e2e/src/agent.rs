//! Istio's agent, as far as an Envoy sees it: the server of the workload's certificates.

use std::{path::PathBuf, sync::Arc};

use anyhow::Result;
use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, Secret, TlsCertificate, secret::Type as SecretType,
    },
};
use mizzen::agent::sds::{PrivateSocket, Source, serve};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::certs::{Authority, KeyPairPem};

/// A server of certificates: one authority and one certificate by every name. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: PathBuf,
    _tasks: JoinSet<()>,
}

struct Certificates {
    authority: String,
    own: KeyPairPem,
}

impl Agent {
    /// Starts it.
    ///
    /// # Errors
    /// When there can be no socket or no certificate.
    pub(crate) fn start() -> Result<Self> {
        let authority = Authority::new("agent")?;
        let own = authority.issue(&["spiffe://cluster.local/ns/default/sa/default"])?;
        let source = Arc::new(Certificates { authority: authority.pem().to_owned(), own });
        let listener = PrivateSocket::bind(&std::env::temp_dir())?;
        let (socket, mut tasks) = (listener.path(), JoinSet::new());
        tasks.spawn(async move {
            // Envoy tells when it is not there.
            drop(serve(listener, source, std::future::pending()).await);
        });
        Ok(Self { socket, _tasks: tasks })
    }

    /// The cluster of a bootstrap that leads to it.
    #[must_use]
    pub(crate) fn cluster(&self) -> Value {
        json!({
            "name": "sds-grpc",
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": "sds-grpc",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": self.socket}}}}]}],
            },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            },
        })
    }
}

impl Source for Certificates {
    fn secret(&self, name: &str) -> Result<Secret, String> {
        let content = if name == "ROOTCA" || name.starts_with("file-root:") {
            SecretType::ValidationContext(CertificateValidationContext {
                trusted_ca: inline(&self.authority),
                ..CertificateValidationContext::default()
            })
        } else {
            SecretType::TlsCertificate(TlsCertificate {
                certificate_chain: inline(&self.own.cert),
                private_key: inline(&self.own.key),
                ..TlsCertificate::default()
            })
        };
        Ok(Secret { name: name.to_owned(), r#type: Some(content) })
    }
}

fn inline(text: &str) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..DataSource::default() })
}
