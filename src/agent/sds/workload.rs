//! The workload's own certificate and the authorities of its mesh: `default` and `ROOTCA` (contract §3.4).

use std::{path::PathBuf, sync::Arc};

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    Secret, TlsCertificate, secret::Type as SecretType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::watch;

use super::{
    Files, Source,
    files::{authorities, inline, pem},
};
use crate::agent::identity::Identity;

/// The workload's certificate.
const OWN: &str = "default";
/// Whom it trusts.
const ROOTS: &str = "ROOTCA";

/// What is issued to the workload, and files.
#[derive(Debug)]
pub struct Workload {
    identity: watch::Receiver<Option<Arc<Identity>>>,
    mounted: Option<PathBuf>,
    files: Files,
}

impl Workload {
    /// `mounted` is a file with the mesh's authorities: a new one stands there before certificates are renewed, and
    /// other workloads may have it already.
    #[must_use]
    pub fn new(identity: watch::Receiver<Option<Arc<Identity>>>, mounted: Option<PathBuf>) -> Self {
        Self { identity, mounted, files: Files::default() }
    }

    /// Those that came with the certificate, and those of the file that are others.
    fn roots(&self, identity: &Identity) -> Vec<u8> {
        let mut roots = identity.roots.trim_end().as_bytes().to_vec();
        roots.push(b'\n');
        let mounted = self.mounted.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
        let known = certificates(identity.roots.as_bytes());
        for other in certificates(&mounted).iter().filter(|other| !known.contains(other)) {
            roots.extend(pem(other));
        }
        roots
    }
}

fn certificates(text: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text).filter_map(Result::ok).collect()
}

impl Source for Workload {
    fn secret(&self, name: &str) -> Result<Secret, String> {
        if !matches!(name, OWN | ROOTS) {
            return self.files.secret(name);
        }
        let identity = self.identity.borrow().clone().ok_or("the workload has no certificate yet")?;
        let content = if name == ROOTS {
            SecretType::ValidationContext(authorities(self.roots(&identity)))
        } else {
            SecretType::TlsCertificate(TlsCertificate {
                certificate_chain: inline(identity.chain.clone().into_bytes()),
                private_key: inline(identity.key.clone().into_bytes()),
                ..TlsCertificate::default()
            })
        };
        Ok(Secret { name: name.to_owned(), r#type: Some(content) })
    }

    fn changes(&self) -> Option<watch::Receiver<Option<Arc<Identity>>>> {
        Some(self.identity.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn root() -> String {
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
        String::from_utf8(pem(made.der())).expect("text")
    }

    #[test]
    fn roots_of_the_file_are_trusted_too() {
        let (issued, mounted) = (root(), root());
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("{issued}{mounted}")).expect("written");
        let (sender, receiver) = watch::channel(None);
        let workload = Workload::new(receiver, Some(file.path().to_owned()));
        assert_eq!(workload.secret(ROOTS), Err("the workload has no certificate yet".to_owned()));
        let identity = Identity {
            key: "key".to_owned(),
            chain: "chain".to_owned(),
            roots: issued.clone(),
            begins: UNIX_EPOCH,
            ends: UNIX_EPOCH,
        };
        sender.send_replace(Some(Arc::new(identity)));
        let Ok(Some(SecretType::ValidationContext(context))) = workload.secret(ROOTS).map(|s| s.r#type) else {
            panic!("roots")
        };
        assert_eq!(context.trusted_ca, inline(format!("{issued}{mounted}").into_bytes()));
        let Ok(Some(SecretType::TlsCertificate(own))) = workload.secret(OWN).map(|s| s.r#type) else { panic!("own") };
        assert_eq!(own.private_key, inline(b"key".to_vec()));
        assert!(workload.secret("file-root:/nowhere").is_err());
    }
}
