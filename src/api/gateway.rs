//! Gateway: listeners at the edge of the mesh.

use super::common::Status;
use super::rules::at_most_one;
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Listeners of the proxies that are selected.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "Gateway",
    plural = "gateways",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "gw",
    category = "istio-io",
    category = "networking-istio-io"
)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// The listeners.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub servers: Vec<Server>,
    /// Labels of the proxies that open them; by default in all namespaces.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub selector: BTreeMap<String, String>,
}

/// One listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Port and protocol.
    pub port: Port,
    /// Address or Unix socket to listen on; all addresses by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub bind: String,
    /// Hosts that are served, as `namespace/host` or `host`, wildcards allowed.
    pub hosts: Vec<String>,
    /// TLS of the listener.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls: Option<ServerTlsSettings>,
    /// Reserved; not honoured.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub default_endpoint: String,
    /// Name of the server, unique in the object.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
}

/// Port and protocol of a server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Port number.
    pub number: u32,
    /// HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, TCP or TLS.
    pub protocol: String,
    /// Name of the port.
    pub name: String,
    /// Reserved; not honoured.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub target_port: u32,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = at_most_one(&["tlsCertificates", "credentialNames"]))]
#[schemars(transform = at_most_one(&["credentialName", "credentialNames"]))]
pub struct ServerTlsSettings {
    /// Answers plaintext requests with a redirect to HTTPS.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub https_redirect: bool,
    /// What is asked of clients.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mode: ServerTlsMode,
    /// File with the certificate chain.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub server_certificate: String,
    /// File with the key.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub private_key: String,
    /// File with the CAs that clients are checked against.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ca_certificates: String,
    /// File with revoked certificates.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ca_crl: String,
    /// Secret with the certificate and key, and the CAs.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub credential_name: String,
    /// Two secrets, one with an RSA and one with an ECDSA key.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(min = 1, max = 2))]
    pub credential_names: Vec<String>,
    /// Secret or ConfigMap with the CAs alone.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ca_cert_credential_name: String,
    /// Two certificates from files, one with an RSA and one with an ECDSA key.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(min = 1, max = 2))]
    pub tls_certificates: Vec<TlsCertificate>,
    /// Names of which the client must carry one.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub subject_alt_names: Vec<String>,
    /// SHA-256 of accepted client keys, base64.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub verify_certificate_spki: Vec<String>,
    /// SHA-256 of accepted client certificates, hexadecimal.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub verify_certificate_hash: Vec<String>,
    /// Lowest TLS version.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub min_protocol_version: TlsProtocol,
    /// Highest TLS version.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub max_protocol_version: TlsProtocol,
    /// Cipher suites, best first; Envoy's by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub cipher_suites: Vec<String>,
    /// Accepts any client certificate.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub insecure_skip_verify: Option<bool>,
}

/// A certificate from files.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsCertificate {
    /// File with the certificate chain.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub server_certificate: String,
    /// File with the key.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub private_key: String,
    /// File with the CAs that clients are checked against.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ca_certificates: String,
}

/// What a TLS listener does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// Routes by SNI without decrypting.
    #[default]
    Passthrough,
    /// Server certificate only.
    Simple,
    /// Clients must show a certificate.
    Mutual,
    /// Routes by SNI to the service that the name encodes.
    AutoPassthrough,
    /// As `MUTUAL`, with the mesh's certificates.
    IstioMutual,
    /// Clients may show a certificate.
    OptionalMutual,
}

/// TLS versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsProtocol {
    /// Envoy's default.
    #[default]
    TlsAuto,
    /// TLS 1.0.
    #[serde(rename = "TLSV1_0")]
    Tls10,
    /// TLS 1.1.
    #[serde(rename = "TLSV1_1")]
    Tls11,
    /// TLS 1.2.
    #[serde(rename = "TLSV1_2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    Tls13,
}
