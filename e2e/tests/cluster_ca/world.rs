//! An API server, control planes on it, and workloads that ask for certificates.

use std::{fs, net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};
use mizzen::pb::certificate::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use mizzen_e2e::{ApiServer, KeyPairPem, Mizzen, MizzenOptions, PATIENCE, eventually};
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::Value;
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// A name in the certificate of a control plane.
pub(crate) const SERVER: &str = "istiod.istio-system.svc";
/// What every request for a certificate wishes for, and none gets.
pub(crate) const WISH: &str = "spiffe://cluster.local/ns/kube-system/sa/admin";

pub(crate) struct World {
    pub(crate) server: ApiServer,
}

impl World {
    /// With service accounts `web` and `other` in namespace `shop`.
    pub(crate) async fn start() -> Result<Self> {
        let server = ApiServer::start().await?;
        server.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")?;
        for account in ["web", "other"] {
            server.apply(&format!(
                "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: shop}}}}"
            ))?;
        }
        Ok(Self { server })
    }

    /// The options of a replica.
    pub(crate) fn options(&self, name: &str) -> MizzenOptions {
        MizzenOptions::cluster(&self.server.kubeconfig()).env("POD_NAME", name)
    }

    pub(crate) async fn mizzen(&self) -> Result<Mizzen> {
        Mizzen::start(self.options("one")).await
    }

    /// A token of a service account of namespace `shop`.
    pub(crate) fn token(&self, account: &str, audience: &str) -> Result<String> {
        let audience = format!("--audience={audience}");
        let token = self.server.kubectl(&["create", "token", account, "--namespace=shop", &audience])?;
        Ok(token.trim().to_owned())
    }

    /// A field of an object, by kubectl's path.
    pub(crate) fn field(&self, namespace: &str, object: &str, path: &str) -> Result<String> {
        let path = format!("-o=jsonpath={{{path}}}");
        self.server.kubectl(&["get", object, "--namespace", namespace, &path])
    }

    /// The roots that workloads of a namespace verify each other with.
    pub(crate) fn roots(&self, namespace: &str) -> Result<String> {
        self.field(namespace, "configmap/istio-ca-root-cert", ".data.root-cert\\.pem")
    }

    /// Waits until the roots of a namespace are those.
    pub(crate) async fn until_roots(&self, namespace: &str, roots: &str) -> Result<()> {
        eventually(&format!("the roots in {namespace}"), PATIENCE, || async {
            let found = self.roots(namespace)?;
            ensure!(found == roots, "{found}");
            anyhow::Ok(())
        })
        .await
    }

    /// The root in the Secret.
    pub(crate) fn kept_root(&self) -> Result<String> {
        let secret: Value = serde_json::from_str(&self.server.kubectl(&[
            "get",
            "secret/istio-ca-secret",
            "--namespace=istio-system",
            "-o=json",
        ])?)?;
        let text = secret["data"]["ca-cert.pem"].as_str().context("no certificate")?;
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text)?;
        Ok(String::from_utf8(bytes)?)
    }
}

/// Connects to the secure port of a control plane whose certificate these roots vouch for.
pub(crate) async fn connect(address: SocketAddr, roots: &str, own: Option<&KeyPairPem>) -> Result<Channel> {
    let tls = ClientTlsConfig::new().domain_name(SERVER).ca_certificate(Certificate::from_pem(roots));
    let tls = match own {
        Some(own) => tls.identity(Identity::from_pem(&own.cert, &own.key)),
        None => tls,
    };
    Ok(Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?.connect().await?)
}

/// What a workload was given.
pub(crate) struct Issued {
    /// All elements of the answer.
    pub(crate) chain: Vec<String>,
    /// What it shows to others, with its key.
    pub(crate) pair: KeyPairPem,
}

impl Issued {
    /// The names in the leaf, as openssl prints them.
    pub(crate) fn names(&self) -> Result<String> {
        openssl(&["x509", "-noout", "-ext", "subjectAltName"], &self.chain[0])
    }

    /// Verifies the leaf with some roots and the rest of the chain, for both purposes.
    pub(crate) fn verify(&self, roots: &str) -> Result<()> {
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
pub(crate) fn openssl(args: &[&str], input: &str) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let stdin = dir.path().join("stdin");
    fs::write(&stdin, input)?;
    let output = Command::new("openssl").args(args).stdin(fs::File::open(&stdin)?).output().context("run openssl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {args:?}: {} {said}", String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8(output.stdout)?)
}

/// Asks for a certificate, with or without a token.
pub(crate) async fn ask(channel: &Channel, token: Option<&str>) -> Result<Issued, Status> {
    ask_for(channel, token, None).await
}

/// The same, for somebody else.
pub(crate) async fn ask_for(
    channel: &Channel,
    token: Option<&str>,
    impersonated: Option<&str>,
) -> Result<Issued, Status> {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(WISH.try_into().expect("ASCII"))];
    let csr = params.serialize_request(&key).and_then(|csr| csr.pem()).expect("a request");
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
pub(crate) async fn send(channel: &Channel, token: Option<&str>, csr: String) -> Result<Vec<String>, Status> {
    send_request(channel, token, IstioCertificateRequest { csr, ..IstioCertificateRequest::default() }).await
}

async fn send_request(
    channel: &Channel,
    token: Option<&str>,
    request: IstioCertificateRequest,
) -> Result<Vec<String>, Status> {
    let mut request = Request::new(request);
    if let Some(token) = token {
        let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
    let mut client = IstioCertificateServiceClient::new(channel.clone());
    Ok(client.create_certificate(request).await?.into_inner().cert_chain)
}
