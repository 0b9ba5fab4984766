//! Secrets as Envoy takes them. The bytes of a private key leave the model only here.

use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, Secret, TlsCertificate, secret::Type as SecretType,
    },
};

use crate::model::secret::{Authorities, KeyPair};

fn inline(bytes: &[u8]) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..DataSource::default() })
}

/// A server certificate with its key, under the resource name that was asked for.
#[must_use]
pub fn tls_certificate_secret(name: &str, pair: &KeyPair) -> Secret {
    let certificate = TlsCertificate {
        certificate_chain: inline(&pair.chain),
        private_key: inline(pair.key.expose()),
        ocsp_staple: pair.ocsp_staple.as_deref().and_then(inline),
        ..TlsCertificate::default()
    };
    Secret { name: name.to_owned(), r#type: Some(SecretType::TlsCertificate(certificate)) }
}

/// The authorities that sign peers' certificates, under the resource name that was asked for.
#[must_use]
pub fn validation_context_secret(name: &str, authorities: &Authorities) -> Secret {
    let context = CertificateValidationContext {
        trusted_ca: inline(&authorities.certificates),
        crl: authorities.crl.as_deref().and_then(inline),
        ..CertificateValidationContext::default()
    };
    Secret { name: name.to_owned(), r#type: Some(SecretType::ValidationContext(context)) }
}
