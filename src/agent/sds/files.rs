//! Certificates in files of this machine, and those of authorities that it trusts.

use std::{path::Path, sync::OnceLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, Secret, TlsCertificate, secret::Type as SecretType,
    },
};

use super::Source;

/// The authorities that the system trusts.
const SYSTEM: &str = "system";

/// Columns of PEM.
const PEM_WIDTH: usize = 64;

/// `file-cert:<chain>~<key>`, `file-root:<file>` and `file-root:system` (contract §3.4). The system's authorities are
/// read once; `SSL_CERT_FILE` and `SSL_CERT_DIR` say where from, as for OpenSSL.
#[derive(Debug, Default)]
pub struct Files {
    system: OnceLock<Vec<u8>>,
}

impl Source for Files {
    fn secret(&self, name: &str) -> Result<Secret, String> {
        let content = match (name.strip_prefix("file-root:"), name.strip_prefix("file-cert:")) {
            (Some(SYSTEM), _) => SecretType::ValidationContext(authorities(self.system()?)),
            (Some(file), _) => SecretType::ValidationContext(authorities(read(file)?)),
            (None, Some(files)) => {
                let (chain, key) = files.split_once('~').ok_or("no key is named after `~`")?;
                SecretType::TlsCertificate(TlsCertificate {
                    certificate_chain: inline(read(chain)?),
                    private_key: inline(read(key)?),
                    ..TlsCertificate::default()
                })
            }
            (None, None) => return Err("there is no agent that issues it".to_owned()),
        };
        Ok(Secret { name: name.to_owned(), r#type: Some(content) })
    }
}

impl Files {
    fn system(&self) -> Result<Vec<u8>, String> {
        let pem = self.system.get_or_init(system_authorities);
        if pem.is_empty() {
            return Err("the system has no certificates of authorities".to_owned());
        }
        Ok(pem.clone())
    }
}

fn system_authorities() -> Vec<u8> {
    let found = rustls_native_certs::load_native_certs();
    found.errors.iter().for_each(|error| tracing::warn!(%error, "a certificate of the system cannot be read"));
    found.certs.iter().flat_map(|certificate| pem(certificate)).collect()
}

pub(super) fn pem(der: &[u8]) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(der);
    let mut out = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in text.as_bytes().chunks(PEM_WIDTH) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----\n");
    out
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(Path::new(file)).map_err(|error| format!("cannot read {file}: {error}"))
}

pub(super) fn authorities(pem: Vec<u8>) -> CertificateValidationContext {
    CertificateValidationContext { trusted_ca: inline(pem), ..CertificateValidationContext::default() }
}

pub(super) fn inline(bytes: Vec<u8>) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineBytes(bytes)), ..DataSource::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        for name in ["chain", "key"] {
            std::fs::write(path(name), name).expect("written");
        }
        let files = Files::default();
        let both = files.secret(&format!("file-cert:{}~{}", path("chain"), path("key"))).expect("a certificate");
        let Some(SecretType::TlsCertificate(certificate)) = both.r#type else { panic!("{both:?}") };
        assert_eq!(certificate.certificate_chain, inline(b"chain".to_vec()));
        assert_eq!(certificate.private_key, inline(b"key".to_vec()));
        for (name, reason) in [
            ("default", "there is no agent that issues it"),
            ("file-cert:/chain", "no key is named after `~`"),
            ("file-root:/nowhere", "cannot read /nowhere: No such file or directory (os error 2)"),
        ] {
            assert_eq!(files.secret(name), Err(reason.to_owned()));
        }
    }

    #[test]
    fn certificates_are_written_as_text() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
        let (text, made_text) = (pem(made.der()), made.pem());
        assert_eq!(String::from_utf8_lossy(&text), made_text.replace("\r\n", "\n"));
    }
}
