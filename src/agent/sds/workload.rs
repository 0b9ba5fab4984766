//! The workload's own certificate and the authorities of its mesh: `default` and `ROOTCA` (contract §3.4).

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret::Type as SecretType,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
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
    revoked: Option<PathBuf>,
    files: Files,
}

impl Workload {
    /// `mounted` is a file with the mesh's authorities: a new one stands there before certificates are renewed, and
    /// other workloads may have it already. `revoked` is a file with lists of certificates that are not trusted any
    /// more; it may come, change and go.
    #[must_use]
    pub fn new(
        identity: watch::Receiver<Option<Arc<Identity>>>,
        mounted: Option<PathBuf>,
        revoked: Option<PathBuf>,
    ) -> Self {
        Self { identity, mounted, revoked, files: Files::default() }
    }

    /// Whom the workload trusts, without those that are revoked.
    ///
    /// # Errors
    /// The lists cannot be read: what Envoy has stays, and where it has nothing, nobody is trusted.
    fn trusted(&self, identity: &Identity) -> Result<CertificateValidationContext, String> {
        let crl = self.revoked.as_deref().map(revocation_lists).transpose()?.flatten().and_then(inline);
        Ok(CertificateValidationContext { crl, ..authorities(self.roots(identity)) })
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

/// The lists in a file, PEM; `None` when there is none. Envoy would refuse all that it is told with a broken one.
fn revocation_lists(file: &Path) -> Result<Option<Vec<u8>>, String> {
    let pem = match std::fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| format!("cannot read {}: {error}", file.display()))?,
    };
    if pem.trim_ascii().is_empty() {
        return Ok(None);
    }
    let wrong = |reason: &str| format!("{} is no PEM of revocation lists: {reason}", file.display());
    let mut count = 0;
    for list in CertificateRevocationListDer::pem_slice_iter(&pem) {
        let list = list.map_err(|error| wrong(&error.to_string()))?;
        x509_parser::parse_x509_crl(&list).map_err(|error| wrong(&error.to_string()))?;
        count += 1;
    }
    if count == 0 { Err(wrong("there is none in it")) } else { Ok(Some(pem)) }
}

impl Source for Workload {
    fn secret(&self, name: &str) -> Result<Secret, String> {
        if !matches!(name, OWN | ROOTS) {
            return self.files.secret(name);
        }
        let identity = self.identity.borrow().clone().ok_or("the workload has no certificate yet")?;
        let content = if name == ROOTS {
            SecretType::ValidationContext(self.trusted(&identity)?)
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

    fn identity(roots: &str) -> Arc<Identity> {
        Arc::new(Identity {
            key: "key".to_owned(),
            chain: "chain".to_owned(),
            roots: roots.to_owned(),
            begins: UNIX_EPOCH,
            ends: UNIX_EPOCH,
        })
    }

    fn trusted(workload: &Workload) -> Result<CertificateValidationContext, String> {
        match workload.secret(ROOTS)?.r#type {
            Some(SecretType::ValidationContext(context)) => Ok(context),
            other => panic!("{other:?}"),
        }
    }

    /// A list in which nothing is revoked.
    fn list() -> String {
        let key = rcgen::KeyPair::generate().expect("a key");
        let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), key);
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2036, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&issuer).expect("a list").pem().expect("PEM")
    }

    #[test]
    fn roots_of_the_file_are_trusted_too() {
        let (issued, mounted) = (root(), root());
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("{issued}{mounted}")).expect("written");
        let (sender, receiver) = watch::channel(None);
        let workload = Workload::new(receiver, Some(file.path().to_owned()), None);
        assert_eq!(workload.secret(ROOTS), Err("the workload has no certificate yet".to_owned()));
        sender.send_replace(Some(identity(&issued)));
        let context = trusted(&workload).expect("roots");
        assert_eq!(context.trusted_ca, inline(format!("{issued}{mounted}").into_bytes()));
        assert_eq!(context.crl, None);
        let Ok(Some(SecretType::TlsCertificate(own))) = workload.secret(OWN).map(|s| s.r#type) else { panic!("own") };
        assert_eq!(own.private_key, inline(b"key".to_vec()));
        assert!(workload.secret("file-root:/nowhere").is_err());
    }

    #[test]
    fn who_is_revoked_is_told_as_the_file_comes_changes_and_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca-crl.pem");
        let (_sender, receiver) = watch::channel(Some(identity(&root())));
        let workload = Workload::new(receiver, None, Some(file.clone()));
        assert_eq!(trusted(&workload).expect("roots").crl, None, "there is no list");
        let lists = list() + &list();
        std::fs::write(&file, &lists).expect("written");
        assert_eq!(trusted(&workload).expect("roots").crl, inline(lists.into_bytes()));
        for broken in ["nonsense", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"] {
            std::fs::write(&file, broken).expect("written");
            let reason = trusted(&workload).expect_err("no list");
            assert!(reason.contains("ca-crl.pem is no PEM of revocation lists: "), "{reason}");
        }
        std::fs::write(&file, "\n").expect("written");
        assert_eq!(trusted(&workload).expect("roots").crl, None, "nothing is revoked");
    }
}
