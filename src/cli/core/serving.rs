//! What the TLS server shows and whom it trusts: files of the command line, or what the authority issues; replaced while
//! it runs.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    ca::{
        authority::{Authority, Current},
        serving,
    },
    xds::tls::{self, Demands},
};

/// How often the files with certificates are looked at.
const CERTIFICATE_POLL: Duration = Duration::from_secs(5);
/// How soon it is tried again when no certificate can be issued.
const RETRY: Duration = Duration::from_secs(30);

pub(super) type Config = Arc<rustls::ServerConfig>;

/// Takes in certificates in files that were replaced, and roots that changed; broken ones are reported and the old ones
/// stay.
pub(super) async fn follow_files(
    files: tls::Files,
    mut authority: Option<Authority>,
    newest: watch::Sender<Config>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let read = |files: &tls::Files| {
        let of = |path: &PathBuf| std::fs::read(path).ok();
        (of(&files.certificate), of(&files.key), files.client_authority.as_ref().and_then(of))
    };
    let mut seen = read(&files);
    let mut ticks = tokio::time::interval(CERTIFICATE_POLL);
    loop {
        let roots_changed = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => false,
            () = changed(authority.as_mut()) => true,
        };
        let now = read(&files);
        if now == seen && !roots_changed {
            continue;
        }
        seen = now;
        let current = authority.as_ref().and_then(|authority| authority.borrow().clone());
        let (roots, crl) = trusted(current.as_ref());
        match files.load(roots, crl) {
            Ok(config) => drop(newest.send_replace(config)),
            Err(error) => tracing::error!(%error, "the new certificates cannot be used; the old ones stay"),
        }
    }
}

/// Ready when there is another one; never without one.
async fn changed<T>(followed: Option<&mut watch::Receiver<T>>) {
    if let Some(followed) = followed
        && followed.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// The roots, and whom they have revoked.
fn trusted(current: Option<&Current>) -> (Option<&[u8]>, Option<&[u8]>) {
    let crl = current.and_then(|current| current.crl.as_deref());
    (current.map(|current| current.signer.roots_pem().as_bytes()), crl.map(str::as_bytes))
}

/// A certificate of our own.
pub(super) struct Own {
    pub(super) authority: Authority,
    /// Its names whatever the mesh configuration says.
    pub(super) hosts: Vec<String>,
    /// And by which that has proxies know it; empty where nothing is said.
    pub(super) discovery_host: watch::Receiver<Arc<str>>,
    pub(super) lifetime: Duration,
    pub(super) demands: Demands,
    /// Whether clients may prove who they are by a certificate.
    pub(super) identifies: bool,
}

impl Own {
    /// The first one, when there is an authority.
    pub(super) async fn first(&mut self) -> anyhow::Result<(watch::Sender<Config>, SystemTime)> {
        self.authority.wait_for(Option::is_some).await.context("the authority is gone")?;
        let (config, renew_at) = self.issue()?;
        Ok((watch::Sender::new(config), renew_at))
    }

    /// Issues another one when the authority or its name changes, and in time.
    pub(super) async fn follow(mut self, newest: watch::Sender<Config>, mut renew_at: SystemTime) {
        loop {
            let left = renew_at.duration_since(time_of_day()).unwrap_or_default();
            tokio::select! {
                () = changed(Some(&mut self.authority)) => {}
                () = changed(Some(&mut self.discovery_host)) => {}
                () = tokio::time::sleep(left) => {}
            }
            match self.issue() {
                Ok((config, at)) => {
                    newest.send_replace(config);
                    renew_at = at;
                }
                Err(error) => {
                    let reason = format!("{error:#}");
                    tracing::error!(reason, "no certificate for the TLS server; the old one stays");
                    renew_at = time_of_day() + RETRY;
                }
            }
        }
    }

    fn issue(&mut self) -> anyhow::Result<(Config, SystemTime)> {
        let current = self.authority.borrow_and_update().clone().context("there is no authority")?;
        let told = self.discovery_host.borrow_and_update().clone();
        let hosts = serving::with_discovery_host(&self.hosts, &told);
        let made = serving::issue(&current.signer, &hosts, self.lifetime, time_of_day())?;
        let (roots, crl) = trusted(Some(&current).filter(|_| self.identifies));
        let config = tls::server_config(made.chain.as_bytes(), made.key.as_bytes(), roots, crl, &self.demands)?;
        Ok((config, made.renew_at))
    }
}

fn time_of_day() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "a certificate is made for the time of day, and replaced in time")]
    SystemTime::now()
}
