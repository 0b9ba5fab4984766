//! The sums of a workload's proxies over all replicas. No I/O.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::api::status::{BehindProxy, ReplicaProxies, WorkloadStatus};

/// The sums over the entries of a status, without the entries.
pub(super) fn of(status: &WorkloadStatus) -> WorkloadStatus {
    let sum = |count: fn(&ReplicaProxies) -> u32| Some(status.replicas.values().map(count).sum());
    let behind = status.replicas.values().flat_map(|replica| &replica.behind);
    let refuses = |proxy: &&BehindProxy| !proxy.reason.is_empty();
    let reason =
        behind.filter(refuses).map(|p| format!("{} refuses {}: {}", p.name, p.types.join(", "), p.reason)).next();
    WorkloadStatus {
        proxies: sum(|replica| replica.proxies),
        synced: sum(|replica| replica.synced),
        stale: sum(|replica| replica.stale),
        rejected: sum(|replica| replica.rejected),
        reason,
        ..WorkloadStatus::default()
    }
}

/// Sums to be written: those that differ from what a status says, with the time.
pub(super) fn differing(status: &WorkloadStatus, now: Timestamp) -> Option<WorkloadStatus> {
    let sums = of(status);
    let said = WorkloadStatus { changed: None, replicas: Default::default(), ..status.clone() };
    (sums != said).then_some(WorkloadStatus { changed: Some(Time(now)), ..sums })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_summed_and_equal_sums_are_not_written() {
        let entry = |proxies, rejected, reason: &str| ReplicaProxies {
            proxies,
            synced: proxies - rejected,
            rejected,
            behind: vec![BehindProxy { name: "p.ns".into(), types: vec!["LDS".into()], reason: reason.into() }],
            ..ReplicaProxies::default()
        };
        let replicas = [("a".to_owned(), entry(3, 0, "")), ("b".to_owned(), entry(2, 1, "no"))].into();
        let status = WorkloadStatus { replicas, ..WorkloadStatus::default() };
        let now = Timestamp::UNIX_EPOCH;
        let sums = differing(&status, now).expect("they are new");
        assert_eq!((sums.proxies, sums.synced, sums.stale, sums.rejected), (Some(5), Some(4), Some(0), Some(1)));
        assert_eq!(sums.reason.as_deref(), Some("p.ns refuses LDS: no"));
        let written = WorkloadStatus { replicas: status.replicas, ..sums };
        assert_eq!(differing(&written, now), None);
    }
}
