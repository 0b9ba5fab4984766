//! A workload as a control plane sees it that asks for a certificate, or for configuration.

use std::{fs, net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::protobuf::{Struct, Value, value::Kind},
};
use mizzen::pb::certificate::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use rcgen::{CertificateParams, KeyPair, SanType};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{certs::KeyPairPem, wait::PATIENCE};

/// A name in the certificate of a control plane.
const SERVER: &str = "istiod.istio-system.svc";
/// What every request for a certificate wishes for, and none gets.
const WISH: &str = "spiffe://cluster.local/ns/kube-system/sa/admin";

/// Connects to the secure port of a control plane whose certificate these roots vouch for.
///
/// # Errors
/// When there is no connection.
pub async fn connect(address: SocketAddr, roots: &str, own: Option<&KeyPairPem>) -> Result<Channel> {
    let tls = ClientTlsConfig::new().domain_name(SERVER).ca_certificate(Certificate::from_pem(roots));
    let tls = match own {
        Some(own) => tls.identity(Identity::from_pem(&own.cert, &own.key)),
        None => tls,
    };
    Ok(Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?.connect().await?)
}

/// What a workload was given.
#[derive(Debug)]
pub struct Issued {
    /// All elements of the answer.
    pub chain: Vec<String>,
    /// What it shows to others, with its key.
    pub pair: KeyPairPem,
}

impl Issued {
    /// The names in the leaf, as openssl prints them.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn names(&self) -> Result<String> {
        openssl(&["x509", "-noout", "-ext", "subjectAltName"], &self.chain[0])
    }

    /// Verifies the leaf with some roots and the rest of the chain, for both purposes.
    ///
    /// # Errors
    /// When it is not good, with what openssl says.
    pub fn verify(&self, roots: &str) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = |name: &str, text: &str| -> Result<String> {
            let path = dir.path().join(name);
            fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let between = self.chain[1..self.chain.len() - 1].concat();
        let (roots, leaf) = (file("roots", roots)?, file("leaf", &self.chain[0])?);
        let between = if between.is_empty() { roots.clone() } else { file("between", &between)? };
        for purpose in ["sslserver", "sslclient"] {
            let args =
                ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", &roots, "-untrusted", &between, &leaf];
            openssl(&args, "")?;
        }
        Ok(())
    }
}

/// Runs openssl.
///
/// # Errors
/// When it fails, with what it says.
pub fn openssl(args: &[&str], input: &str) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let stdin = dir.path().join("stdin");
    fs::write(&stdin, input)?;
    let output = Command::new("openssl").args(args).stdin(fs::File::open(&stdin)?).output().context("run openssl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {args:?}: {} {said}", String::from_utf8_lossy(&output.stdout));
    // After a handshake it prints what the server says too, which is no text.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks for a certificate, with or without a token.
///
/// # Errors
/// When it is refused.
pub async fn ask(channel: &Channel, token: Option<&str>) -> Result<Issued, Status> {
    ask_for(channel, token, None).await
}

/// The same, for somebody else.
///
/// # Errors
/// When it is refused.
pub async fn ask_for(channel: &Channel, token: Option<&str>, impersonated: Option<&str>) -> Result<Issued, Status> {
    let made = |error: rcgen::Error| Status::internal(format!("no request can be made: {error}"));
    let key = KeyPair::generate().map_err(made)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(WISH.try_into().map_err(made)?)];
    let csr = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(made)?;
    let metadata = impersonated.map(|identity| {
        let kind = Some(prost_types::value::Kind::StringValue(identity.to_owned()));
        prost_types::Struct { fields: [("ImpersonatedIdentity".to_owned(), prost_types::Value { kind })].into() }
    });
    let request = IstioCertificateRequest { csr, validity_duration: 0, metadata };
    let chain = send_request(channel, token, request).await?;
    let cert = chain[..chain.len() - 1].concat();
    Ok(Issued { pair: KeyPairPem { cert, key: key.serialize_pem() }, chain })
}

/// Sends a request for a certificate, whatever it says.
///
/// # Errors
/// When it is refused.
pub async fn send(channel: &Channel, token: Option<&str>, csr: String) -> Result<Vec<String>, Status> {
    send_request(channel, token, IstioCertificateRequest { csr, ..IstioCertificateRequest::default() }).await
}

async fn send_request(
    channel: &Channel,
    token: Option<&str>,
    request: IstioCertificateRequest,
) -> Result<Vec<String>, Status> {
    let request = with_token(request, token)?;
    let mut client = IstioCertificateServiceClient::new(channel.clone());
    Ok(client.create_certificate(request).await?.into_inner().cert_chain)
}

fn with_token<T>(message: T, token: Option<&str>) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value: Result<MetadataValue<_>, _> = format!("Bearer {token}").parse();
        request.metadata_mut().insert("authorization", value.map_err(|error| Status::internal(error.to_string()))?);
    }
    Ok(request)
}

/// What a proxy of a service account says of itself.
#[must_use]
pub fn node(namespace: &str, account: &str) -> Node {
    let text = |s: &str| Value { kind: Some(Kind::StringValue(s.to_owned())) };
    let fields = [("NAMESPACE", namespace), ("SERVICE_ACCOUNT", account)];
    Node {
        id: format!("sidecar~10.0.0.1~{account}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct { fields: fields.map(|(k, v)| (k.to_owned(), text(v))).into() }),
        ..Node::default()
    }
}

/// Asks for clusters as a proxy; the answer's type.
///
/// # Errors
/// When the stream is refused.
pub async fn clusters(channel: &Channel, node: Node, token: Option<&str>) -> Result<String, Status> {
    let first = DeltaDiscoveryRequest {
        node: Some(node),
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
        ..DeltaDiscoveryRequest::default()
    };
    let requests = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    let request = with_token(requests, token)?;
    let mut client = AggregatedDiscoveryServiceClient::new(channel.clone());
    let mut answers = client.delta_aggregated_resources(request).await?.into_inner();
    let answer = tokio::time::timeout(PATIENCE, answers.message()).await;
    let answer = answer.map_err(|_| Status::deadline_exceeded("no answer"))??;
    Ok(answer.ok_or_else(|| Status::aborted("the stream ended"))?.type_url)
}
