//! One replica at a time: locks as istiod's, so that it and this control plane take turns (contract §9).
//!
//! A lock is an annotation of a ConfigMap, with who holds it and when that was renewed last. Clocks are not compared: what
//! counts is how long ago this replica saw the record change.

use std::time::{Duration, Instant};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// How long a lock is held after its last renewal.
const LEASE: Duration = Duration::from_secs(30);
/// A holder that could not renew it for so long lets go.
const RENEW_DEADLINE: Duration = Duration::from_secs(15);
/// How often it is renewed, or tried for.
const RETRY: Duration = Duration::from_millis(7500);

/// How long letting go may take: a shutdown does not wait for an API server that is away.
const RELEASE: Duration = Duration::from_secs(2);

const ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// The content of a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Record {
    holder_identity: String,
    /// The revision of the holder.
    holder_key: String,
    lease_duration_seconds: u64,
    acquire_time: Option<Time>,
    renew_time: Option<Time>,
    leader_transitions: u64,
}

/// A lock.
#[derive(Clone)]
pub struct Lock {
    /// The namespace of the control plane.
    pub namespace: String,
    /// Its name, as in contract §9.
    pub name: String,
    /// Who this replica is (`POD_NAME`).
    pub identity: String,
    /// The revision of this control plane.
    pub revision: String,
}

/// What was seen of a lock.
#[derive(Debug)]
struct Seen {
    record: Record,
    at: Instant,
}

impl Seen {
    /// Whether this replica may take the lock, or keep it.
    fn is_free_for(&self, identity: &str, now: Instant) -> bool {
        let holder = self.record.holder_identity.as_str();
        let lease = Duration::from_secs(self.record.lease_duration_seconds);
        holder.is_empty() || holder == identity || now >= self.at + lease
    }
}

/// Does the work while this replica holds the lock, again whenever it gets it, until the shutdown. The work never ends by itself.
pub async fn lead<W: Future<Output = ()>>(
    client: Client,
    lock: Lock,
    shutdown: CancellationToken,
    work: impl Fn() -> W,
) {
    let name = lock.name.clone();
    let mut candidate = Candidate { api: Api::namespaced(client, &lock.namespace), lock, seen: None };
    while shutdown.run_until_cancelled(candidate.acquire()).await.is_some() {
        tracing::info!(lock = name, "leads");
        tokio::select! {
            () = shutdown.cancelled() => {
                let _ = tokio::time::timeout(RELEASE, candidate.release()).await;
                return;
            }
            () = candidate.hold() => tracing::warn!(lock = name, "leads no more: the lock was lost"),
            () = work() => {}
        }
    }
}

struct Candidate {
    api: Api<ConfigMap>,
    lock: Lock,
    seen: Option<Seen>,
}

impl Candidate {
    async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    let reason = format!("{:#}", anyhow::Error::from(error));
                    tracing::warn!(lock = self.lock.name, reason, "cannot try for the lock; it is tried again");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews the lock for as long as that works.
    async fn hold(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < RENEW_DEADLINE {
            tokio::time::sleep(RETRY.min(RENEW_DEADLINE.saturating_sub(renewed.elapsed()))).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Takes or renews the lock; whether it is held now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let there = self.api.get_opt(&self.lock.name).await?;
        let text = there.as_ref().and_then(|map| map.annotations().get(ANNOTATION));
        // What nobody can read belongs to nobody.
        let record: Record = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let now = Instant::now();
        if self.seen.as_ref().is_none_or(|seen| seen.record != record) {
            self.seen = Some(Seen { record: record.clone(), at: now });
        }
        if !self.seen.as_ref().is_some_and(|seen| seen.is_free_for(&self.lock.identity, now)) {
            return Ok(false);
        }
        let time = Some(Time(Timestamp::now()));
        let is_own = record.holder_identity == self.lock.identity;
        let next = Record {
            holder_identity: self.lock.identity.clone(),
            holder_key: self.lock.revision.clone(),
            lease_duration_seconds: LEASE.as_secs(),
            acquire_time: if is_own { record.acquire_time } else { time.clone() },
            renew_time: time,
            leader_transitions: record.leader_transitions + u64::from(!is_own),
        };
        self.write(there, &next).await
    }

    /// Others need not wait until the lease is over.
    async fn release(&mut self) {
        let Ok(Some(there)) = self.api.get_opt(&self.lock.name).await else { return };
        let text = there.annotations().get(ANNOTATION).map(String::as_str).unwrap_or_default();
        let Ok(record) = serde_json::from_str::<Record>(text) else { return };
        if record.holder_identity == self.lock.identity {
            let free = Record { holder_identity: String::new(), lease_duration_seconds: 1, ..record };
            // Who is gone cannot tell; the lease ends by itself.
            let _ = self.write(Some(there), &free).await;
        }
    }

    /// Whether it was written: not when somebody else was first.
    async fn write(&self, there: Option<ConfigMap>, record: &Record) -> Result<bool, kube::Error> {
        let text = serde_json::to_string(record).map_err(kube::Error::SerdeError)?;
        let result = match there {
            Some(mut map) => {
                map.annotations_mut().insert(ANNOTATION.to_owned(), text);
                self.api.replace(&self.lock.name, &PostParams::default(), &map).await
            }
            None => {
                let annotations = Some([(ANNOTATION.to_owned(), text)].into());
                let metadata = ObjectMeta { name: Some(self.lock.name.clone()), annotations, ..ObjectMeta::default() };
                self.api.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await
            }
        };
        match result {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str) -> Record {
        Record { holder_identity: holder.to_owned(), lease_duration_seconds: 30, ..Record::default() }
    }

    #[test]
    fn a_lock_is_free_when_nobody_holds_it_or_its_holder_is_silent_for_the_lease() {
        let start = Instant::now();
        let seen = |holder: &str| Seen { record: record(holder), at: start };
        assert!(seen("").is_free_for("me", start));
        assert!(seen("me").is_free_for("me", start));
        assert!(!seen("other").is_free_for("me", start + LEASE - Duration::from_secs(1)));
        assert!(seen("other").is_free_for("me", start + LEASE));
    }

    #[test]
    fn records_of_istiod_are_read_and_ours_have_the_same_form() {
        let text = r#"{"holderIdentity":"istiod-1","holderKey":"default","leaseDurationSeconds":30,
            "acquireTime":"2026-08-01T10:00:00Z","renewTime":"2026-08-01T10:05:00Z","leaderTransitions":3}"#;
        let read: Record = serde_json::from_str(text).expect("a record");
        assert_eq!((read.holder_identity.as_str(), read.leader_transitions), ("istiod-1", 3));
        let ours: serde_json::Value = serde_json::to_value(&read).expect("JSON");
        assert_eq!(ours, serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
    }
}
