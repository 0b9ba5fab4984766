//! What one replica does for all: it holds a lock as long as it does.

use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use kube::Client;

use super::authority::Task;
use crate::{
    cli::control_plane::Parts,
    leader::{Lock, lead},
};

/// What keeps other replicas from the same at the same time (contract §9).
pub(super) const LOCK: &str = "istio-namespace-controller-election";

/// The lock for what belongs to a revision, with its name: replicas of another one, or of istiod, do nothing of it.
pub(super) fn lock_of_revision(revision: &str) -> String {
    const LOCK: &str = "mizzen-webhooks-election";
    if matches!(revision, "" | "default") { LOCK.to_owned() } else { format!("{LOCK}-{revision}") }
}

/// Goes on until dropped, and can be begun again.
pub(super) type Duty = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Does them until the shutdown, by turns with other replicas that try for the same lock; nothing when there are none.
pub(super) fn task(lock: String, duties: Vec<Duty>, cluster: Option<&Client>, parts: &Parts) -> Option<Task> {
    let client = cluster.filter(|_| !duties.is_empty())?.clone();
    let shutdown = parts.shutdown.clone();
    let authority = parts.settings.authority.as_ref();
    let lock = Lock {
        namespace: parts.settings.system_namespace.clone(),
        name: lock,
        identity: parts.settings.pod_name.clone(),
        revision: authority.map(|a| a.revision.clone()).unwrap_or_default(),
    };
    let elect = authority.is_none_or(|a| a.elect_leader);
    let task = async move {
        let work = || join_all(duties.iter().map(|duty| duty())).map(drop);
        if elect {
            lead(client, lock, shutdown, work).await;
        } else {
            shutdown.run_until_cancelled(work()).await;
        }
        Ok(())
    };
    Some(("duties of one replica", task.boxed()))
}
