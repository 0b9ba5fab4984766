//! Which replicas are alive: each renews a Lease, and the leader sees which ones do not any more.
//!
//! Clocks are not compared: what counts is how long ago this replica saw a Lease change.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, Patch},
};
use tokio_util::sync::CancellationToken;

use super::{
    REPLICA_LABEL, Replica,
    apply::{Troubles, by, manager_of},
};

/// How often a Lease is renewed, and looked at.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// A replica that has not renewed its Lease for so long is gone.
const DURATION: Duration = Duration::from_secs(30);
/// One that has given it back is gone after so long: its proxies are on their way to others.
const RETURNED: Duration = Duration::from_secs(10);
/// How long giving it back may take.
const RELEASE: Duration = Duration::from_secs(2);

fn name_of(replica: &str) -> String {
    format!("mizzen-replica-{replica}")
}

/// Renews the Lease of this replica until the shutdown, and gives it back.
pub async fn renew(client: Client, replica: Replica, shutdown: CancellationToken) {
    let leases: Api<Lease> = Api::namespaced(client, &replica.namespace);
    let (name, manager) = (name_of(&replica.name), manager_of(&replica.name));
    let mut troubles = Troubles::default();
    let mut ticks = tokio::time::interval(INTERVAL);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let lease = lease(&name, &replica.name);
        match leases.patch(&name, &by(&manager), &Patch::Apply(&lease)).await {
            Ok(_) => troubles.over(),
            Err(error) => troubles.meet("the Lease of this replica", &error, Instant::now()),
        }
    }
    // Who does not answer is not waited for.
    let _ = tokio::time::timeout(RELEASE, leases.delete(&name, &DeleteParams::default())).await;
}

fn lease(name: &str, replica: &str) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(REPLICA_LABEL.to_owned(), replica.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(replica.to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    }
}

/// What was seen of replicas.
#[derive(Debug, Default)]
pub(super) struct Alive {
    /// What each Lease said, and since when.
    leases: BTreeMap<String, (Option<MicroTime>, Instant)>,
    /// Replicas without a Lease, and since when that is so.
    absent: BTreeMap<String, Instant>,
}

impl Alive {
    /// Looks at the Leases.
    pub(super) async fn look(&mut self, client: &Client, namespace: &str) -> Result<(), kube::Error> {
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let found = leases.list(&ListParams::default().labels(REPLICA_LABEL)).await?;
        let holder = |lease: Lease| {
            let spec = lease.spec?;
            Some((spec.holder_identity?, spec.renew_time))
        };
        self.saw(found.items.into_iter().filter_map(holder), Instant::now());
        Ok(())
    }

    fn saw(&mut self, found: impl IntoIterator<Item = (String, Option<MicroTime>)>, now: Instant) {
        let before = std::mem::take(&mut self.leases);
        for (replica, renewed) in found {
            let at = before.get(&replica).filter(|(was, _)| *was == renewed).map_or(now, |(_, at)| *at);
            self.absent.remove(&replica);
            self.leases.insert(replica, (renewed, at));
        }
    }

    /// Whether a replica that something is known of is gone.
    pub(super) fn is_gone(&mut self, replica: &str, now: Instant) -> bool {
        match self.leases.get(replica) {
            Some((_, at)) => now >= *at + DURATION,
            None => now >= *self.absent.entry(replica.to_owned()).or_insert(now) + RETURNED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_gone_when_its_lease_stands_still_or_is_not_there() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let lease = |second| Some(MicroTime(Timestamp::from_second(second).expect("a time")));
        let mut alive = Alive::default();
        alive.saw([("a".to_owned(), lease(1)), ("b".to_owned(), lease(1))], at(0));
        alive.saw([("a".to_owned(), lease(2)), ("b".to_owned(), lease(1))], at(20));
        assert_eq!(["a", "b"].map(|name| alive.is_gone(name, at(31))), [false, true]);
        assert!(!alive.is_gone("c", at(31)), "it may have come just now");
        assert!(alive.is_gone("c", at(41)));
        alive.saw([("c".to_owned(), lease(1))], at(42));
        assert!(!alive.is_gone("c", at(43)));
    }
}
