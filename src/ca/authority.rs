//! The authority as it is now, and where it comes from.

mod plugged_in;
mod self_signed;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use kube::Client;
use tokio::sync::watch;

use self::{plugged_in::PluggedIn, self_signed::SelfSigned};
use super::{
    key::{KeyError, KeyKind},
    signer::{Signer, SignerError},
};
use crate::telemetry::{metrics::Metrics, ready::Guard};

pub use plugged_in::FilesError;

/// How soon it is tried again to get an authority; each time it takes twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// At most so long.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What decides on the authority (contract §4.3, §4.4).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the control plane, where the Secret is.
    pub namespace: String,
    /// Where a plugged-in authority lies (`ROOT_CA_DIR`).
    pub directory: PathBuf,
    /// How long a root of our own is valid (`CITADEL_SELF_SIGNED_CA_CERT_TTL`).
    pub root_lifetime: Duration,
    /// Of what kind its key is (`CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE`).
    pub root_key: KeyKind,
    /// How often it is looked whether a root of our own is to be renewed.
    pub check_interval: Duration,
    /// Whether the first look comes at a random time within the interval, so that replicas do not look all at once.
    pub jitter: bool,
    /// The share of a root's lifetime before its end in which it is renewed, in percent.
    pub grace_percent: u32,
    /// Whether a root of our own is kept in the Secret `cacerts` (`USE_CACERTS_FOR_SELF_SIGNED_CA`).
    pub keep_in_cacerts: bool,
}

/// An authority, and whom it has revoked.
#[derive(Clone, Debug)]
pub struct Current {
    /// What signs.
    pub signer: Arc<Signer>,
    /// Revoked certificates, PEM (`ca-crl.pem`).
    pub crl: Option<Arc<str>>,
}

/// The authority as it is now; `None` before it is known.
pub type Authority = watch::Receiver<Option<Current>>;

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The files cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The API server does not do what is asked.
    #[error("cannot {verb} the Secret {namespace}/{name}{hint}")]
    Secret {
        /// `get`, `create`, `update`.
        verb: &'static str,
        /// Where.
        namespace: String,
        /// Which one.
        name: String,
        /// The rule that is missing, if that is it.
        hint: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The Secret lacks something.
    #[error("the Secret {namespace}/{name} has no key {key}")]
    Missing {
        /// Where.
        namespace: String,
        /// Which one.
        name: String,
        /// What it lacks.
        key: &'static str,
    },
    /// What the Secret holds is of no use.
    #[error("the authority in the Secret {namespace}/{name} cannot be used")]
    Content {
        /// Where.
        namespace: String,
        /// Which one.
        name: String,
        /// Why.
        #[source]
        source: SignerError,
    },
    /// No root can be made.
    #[error("cannot make a root certificate")]
    Create(#[source] SignerError),
    /// No key can be made.
    #[error("cannot make the key of a root certificate")]
    Key(#[from] KeyError),
}

/// Tells everyone who signs.
pub struct Publisher {
    sender: watch::Sender<Option<Current>>,
    metrics: Arc<Metrics>,
}

impl Publisher {
    /// And what it tells them.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> (Self, Authority) {
        let (sender, authority) = watch::channel(None);
        (Self { sender, metrics }, authority)
    }

    fn current(&self) -> Option<Current> {
        self.sender.borrow().clone()
    }

    fn publish(&self, now: Current) {
        let signer = &now.signer;
        let root = signer.roots().iter().map(|r| r.not_after()).min();
        self.metrics.expiry.set(root.unwrap_or(signer.not_after()), signer.not_after());
        self.sender.send_replace(Some(now));
    }
}

/// Gets an authority, from files if there are any, else from the Secret, and keeps it up to date until dropped.
///
/// # Errors
/// The files of a plugged-in authority are there and cannot be used. What concerns the API server is tried again.
pub async fn run(
    settings: Settings,
    client: Client,
    trust_domain: &str,
    publisher: Publisher,
    ready: Guard,
) -> Result<(), AuthorityError> {
    if let Some((files, first)) = PluggedIn::open(&settings.directory, time_of_day())? {
        tracing::info!(directory = %settings.directory.display(), "the authority is a plugged-in one");
        publisher.publish(first);
        ready.release();
        files.follow(&publisher).await;
        return Ok(());
    }
    let own = SelfSigned::new(settings, client, trust_domain);
    let mut retry = FIRST_RETRY;
    let signer = loop {
        match own.load_or_create(time_of_day()).await {
            Ok(signer) => break signer,
            Err(error) => {
                let reason = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(reason, "there is no certificate authority; it is tried again");
                ready.because(&reason);
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    };
    publisher.publish(Current { signer: Arc::new(signer), crl: None });
    ready.release();
    own.follow(&publisher).await;
    Ok(())
}

/// The time that certificates are made for.
pub(super) fn time_of_day() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "where time comes into the authority; what it signs takes it as an argument"
    )]
    SystemTime::now()
}
