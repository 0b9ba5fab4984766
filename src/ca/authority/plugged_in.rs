//! An authority that an operator plugs in: files of the Secret `cacerts`, mounted (contract §4.4).

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject};

use super::{Current, Publisher, time_of_day};
use crate::ca::signer::{Signer, SignerError, SignerPem};

/// How often the files are read. They are small; what the kubelet writes takes a minute to come anyway.
const POLL: Duration = Duration::from_secs(1);
/// Files that change must be the same after so long, before they are taken (contract §4.4).
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Is there when the Secret holds a root of our own.
const GENERATED: &str = "istio-generated";
const CRL: &str = "ca-crl.pem";

/// The names of certificate, key, roots and chain; Istio's own, and those of a Secret of type `kubernetes.io/tls`.
const FORMS: [&[&str]; 2] =
    [&["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"], &["tls.crt", "tls.key", "ca.crt"]];

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Some are missing.
    #[error("{} holds a part of an authority only: {missing} is missing (needed: {needed})", directory.display())]
    Partial {
        /// Where.
        directory: PathBuf,
        /// Which ones.
        missing: String,
        /// All of them.
        needed: String,
    },
    /// One cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// They make no authority.
    #[error("the authority in {} cannot be used", directory.display())]
    Content {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: SignerError,
    },
    /// Those whom proxies trust would not be trusted any more.
    #[error(
        "the new root certificates in {} neither contain the old ones nor are among them: workloads would refuse each other. \
         Add the new root beside the old one first, then change the authority, then remove the old root",
        directory.display()
    )]
    OtherRoots {
        /// Where.
        directory: PathBuf,
    },
}

/// What the files hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    roots: Vec<u8>,
    chain: Vec<u8>,
    crl: Option<Vec<u8>>,
}

/// The files.
#[derive(Debug)]
pub(super) struct PluggedIn {
    directory: PathBuf,
    seen: Option<Contents>,
}

impl PluggedIn {
    /// Reads them; `None` when there are none.
    pub(super) fn open(directory: &Path, now: SystemTime) -> Result<Option<(Self, Current)>, FilesError> {
        let Some(contents) = read(directory)? else { return Ok(None) };
        let files = Self { directory: directory.to_owned(), seen: Some(contents.clone()) };
        let current = files.current(&contents, now)?;
        Ok(Some((files, current)))
    }

    /// Takes in files that change, for ever. What cannot be used is reported once, and what was before stays.
    pub(super) async fn follow(mut self, publisher: &Publisher) {
        loop {
            tokio::time::sleep(POLL).await;
            let changed = || read(&self.directory).ok().flatten().filter(|now| self.seen.as_ref() != Some(now));
            let Some(first) = changed() else { continue };
            tokio::time::sleep(DEBOUNCE).await;
            let Some(contents) = changed().filter(|now| *now == first) else { continue };
            match self.accept(&contents, publisher.current().as_ref(), time_of_day()) {
                Ok(current) => {
                    tracing::info!(directory = %self.directory.display(), "the authority has changed");
                    publisher.publish(current);
                }
                Err(error) => {
                    let reason = format!("{:#}", anyhow::Error::from(error));
                    tracing::error!(reason, "the new authority is not taken; the old one stays");
                }
            }
            self.seen = Some(contents);
        }
    }

    /// A new authority, if whoever trusts the old one trusts it, or will have learnt to.
    fn accept(&self, contents: &Contents, old: Option<&Current>, now: SystemTime) -> Result<Current, FilesError> {
        let new = self.current(contents, now)?;
        let roots = |c: &Current| c.signer.roots().iter().map(|r| r.der().to_vec()).collect::<BTreeSet<_>>();
        let (before, after) = (old.map(roots).unwrap_or_default(), roots(&new));
        if before.is_subset(&after) || after.is_subset(&before) {
            return Ok(new);
        }
        Err(FilesError::OtherRoots { directory: self.directory.clone() })
    }

    fn current(&self, contents: &Contents, now: SystemTime) -> Result<Current, FilesError> {
        let Contents { certificate, key, chain, roots, crl } = contents;
        let signer = Signer::new(SignerPem { certificate, key, chain, roots }, now)
            .map_err(|source| FilesError::Content { directory: self.directory.clone(), source })?;
        let crl = crl.as_deref().and_then(|crl| {
            let usable = usable_crl(crl);
            if usable.is_none() {
                tracing::error!(file = %self.directory.join(CRL).display(), "it is no PEM of revocation lists: ignored");
            }
            usable
        });
        Ok(Current { signer: Arc::new(signer), crl })
    }
}

fn usable_crl(pem: &[u8]) -> Option<Arc<str>> {
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!lists.is_empty()).then(|| str::from_utf8(pem).ok().map(Arc::from)).flatten()
}

fn read(directory: &Path) -> Result<Option<Contents>, FilesError> {
    let read = |name: &str| match std::fs::read(directory.join(name)) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FilesError::Read { path: directory.join(name), source }),
    };
    if read(GENERATED)?.is_some() {
        return Ok(None);
    }
    for names in FORMS {
        let found: Vec<Option<Vec<u8>>> = names.iter().map(|name| read(name)).collect::<Result<_, _>>()?;
        if found.iter().all(Option::is_none) {
            continue;
        }
        let missing: Vec<&str> = names.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(n, _)| *n).collect();
        if !missing.is_empty() {
            let (directory, missing, needed) = (directory.to_owned(), missing.join(", "), names.join(", "));
            return Err(FilesError::Partial { directory, missing, needed });
        }
        let mut found = found.into_iter().map(Option::unwrap_or_default);
        let mut next = || found.next().unwrap_or_default();
        let (certificate, key, roots, chain) = (next(), next(), next(), next());
        return Ok(Some(Contents { certificate, key, roots, chain, crl: read(CRL)? }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
