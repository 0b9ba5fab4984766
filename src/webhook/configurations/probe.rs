//! Asks the injector where the API server will ask it, with the certificates that the API server will trust.

use std::{io, sync::Arc, time::Duration};

use http::{Request, StatusCode, Uri, header, uri::InvalidUri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// How long all of it may take, as with an API server.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 64 * 1024;
/// Comes back with the answer.
const UID: &str = "mizzen-asks-itself";

/// Why the injector does not answer there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("clientConfig has neither service nor url")]
    NoAddress,
    #[error("clientConfig.url {url:?} is no URL")]
    Url {
        url: String,
        #[source]
        source: InvalidUri,
    },
    #[error("the host {0:?} cannot be in a certificate")]
    Host(String, #[source] InvalidDnsNameError),
    #[error("caBundle is no PEM")]
    Bundle(#[source] pem::Error),
    #[error("set up TLS with caBundle")]
    Tls(#[source] rustls::Error),
    #[error("connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("speak HTTP with {address}")]
    Http {
        address: String,
        #[source]
        source: hyper::Error,
    },
    #[error("write the request")]
    Request(#[source] http::Error),
    #[error("read the answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{address} answers {status}, and not as an injector")]
    Answer { address: String, status: StatusCode },
    #[error("there is no answer within {PATIENCE:?}")]
    Slow,
}

/// Whether it answers.
///
/// # Errors
/// Why not.
pub(super) async fn answers(config: &WebhookClientConfig, bundle: &str) -> Result<(), ProbeError> {
    let address = Address::of(config)?;
    timeout(PATIENCE, ask(&address, bundle)).await.map_err(|_| ProbeError::Slow)?
}

#[derive(Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    path: String,
}

impl Address {
    fn of(config: &WebhookClientConfig) -> Result<Self, ProbeError> {
        if let Some(service) = &config.service {
            let port = service.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
            let path = service.path.clone().unwrap_or_else(|| "/".to_owned());
            return Ok(Self { host: format!("{}.{}.svc", service.name, service.namespace), port, path });
        }
        let url = config.url.as_ref().ok_or(ProbeError::NoAddress)?;
        let parsed: Uri = url.parse().map_err(|source| ProbeError::Url { url: url.clone(), source })?;
        let host = parsed.host().ok_or(ProbeError::NoAddress)?.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: parsed.port_u16().unwrap_or(443), path: parsed.path().to_owned() })
    }
}

async fn ask(to: &Address, bundle: &str) -> Result<(), ProbeError> {
    let connector = connector(bundle)?;
    let name = ServerName::try_from(to.host.clone()).map_err(|source| ProbeError::Host(to.host.clone(), source))?;
    let address = format!("{}:{}", to.host, to.port);
    let refused = |source| ProbeError::Connect { address: address.clone(), source };
    let stream = TcpStream::connect((to.host.as_str(), to.port)).await.map_err(refused)?;
    let stream = connector.connect(name, stream).await.map_err(refused)?;
    let broken = |source| ProbeError::Http { address: address.clone(), source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let answer = sender.send_request(request(to)?).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(ProbeError::Body)?.to_bytes();
        let review: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_ours = status == StatusCode::OK && review["response"] == json!({"uid": UID, "allowed": true});
        if is_ours { Ok(()) } else { Err(ProbeError::Answer { address: address.clone(), status }) }
    };
    // The connection moves only while it is polled.
    tokio::select! {
        result = exchange => result,
        Err(source) = connection => Err(broken(source)),
    }
}

/// A Pod of a namespace where nothing is ever injected.
fn request(to: &Address) -> Result<Request<Full<bytes::Bytes>>, ProbeError> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": UID}, "spec": {"containers": []}});
    let request = json!({"uid": UID, "namespace": "kube-system", "operation": "CREATE", "object": pod});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    Request::post(&to.path)
        .header(header::HOST, &to.host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(review.to_string()))
        .map_err(ProbeError::Request)
}

fn connector(bundle: &str) -> Result<TlsConnector, ProbeError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.map_err(ProbeError::Bundle)?).map_err(ProbeError::Tls)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ProbeError::Tls)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_that_of_the_service_or_the_url() {
        let address = |text: &str| Address::of(&serde_yaml_ng::from_str(text).expect("a configuration"));
        let of_service =
            address("service: {name: istiod, namespace: istio-system, path: /inject}").expect("an address");
        let expected = Address { host: "istiod.istio-system.svc".to_owned(), port: 443, path: "/inject".to_owned() };
        assert_eq!(of_service, expected);
        let of_url = address("url: 'https://[::1]:15017/inject/net/n1'").expect("an address");
        assert_eq!(of_url, Address { host: "::1".to_owned(), port: 15017, path: "/inject/net/n1".to_owned() });
        assert!(matches!(address("{}"), Err(ProbeError::NoAddress)));
    }
}
