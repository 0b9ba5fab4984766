//! What this replica knows of configuration objects, as one `ReplicaReport` per namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use super::{
    REPLICA_LABEL, Replica,
    apply::{self, Troubles, is_gone, manager_of},
};
use crate::{
    api::status::{ObjectReport, ReplicaReport, ReplicaReportSpec},
    model::ObjectRef,
};

/// How often numbers alone are written: when proxies come and go, those of all objects move.
const PACE: Duration = Duration::from_secs(5);

/// How long after its start a replica reports no fewer proxies than before it: they are on their way back.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// By kind and name.
type Objects = BTreeMap<(String, String), ObjectReport>;

/// What stands in the API server, by namespace, and when this process wrote it.
type Written = BTreeMap<Arc<str>, (Objects, Option<Instant>)>;

/// The reports of this replica.
pub struct Reports {
    client: Client,
    replica: Replica,
    started: Instant,
    now: BTreeMap<Arc<str>, Objects>,
    /// `None` before it was read.
    written: Option<Written>,
    moved: BTreeSet<Arc<str>>,
    troubles: Troubles,
}

impl Reports {
    /// None yet.
    #[must_use]
    pub fn new(client: Client, replica: Replica) -> Self {
        Self {
            client,
            replica,
            started: Instant::now(),
            now: BTreeMap::new(),
            written: None,
            moved: BTreeSet::new(),
            troubles: Troubles::default(),
        }
    }

    /// What is known of an object now; `None` when it is gone.
    pub fn put(&mut self, object: &ObjectRef, report: Option<ObjectReport>) {
        let of_namespace = self.now.entry(object.namespace.clone()).or_default();
        let key = (object.kind.to_owned(), object.name.to_string());
        let moved = match report {
            Some(report) if of_namespace.get(&key) == Some(&report) => false,
            Some(report) => {
                of_namespace.insert(key, report);
                true
            }
            None => of_namespace.remove(&key).is_some(),
        };
        if moved {
            self.moved.insert(object.namespace.clone());
        }
    }

    /// Writes what differs from what stands there, unless it can wait.
    pub async fn write(&mut self) {
        let now = Instant::now();
        if self.troubles.pause(now) || self.written.is_some() && self.moved.is_empty() {
            return;
        }
        if self.written.is_none() {
            match self.read().await {
                Ok(written) => {
                    self.moved.extend(written.keys().cloned());
                    self.written = Some(written);
                }
                Err(error) => return self.troubles.meet("the status of configuration", &error, now),
            }
        }
        for namespace in self.moved.clone() {
            if self.is_due(&namespace, now) {
                match self.write_one(&namespace).await {
                    Ok(()) => self.troubles.over(),
                    Err(error) => return self.troubles.meet("the status of configuration", &error, now),
                }
            }
        }
    }

    /// What a replica of this name left.
    async fn read(&self) -> Result<Written, kube::Error> {
        let own = ListParams::default().labels(&format!("{REPLICA_LABEL}={}", self.replica.name));
        let found = self.api().list(&own).await?;
        let objects = |spec: ReplicaReportSpec| {
            let of_namespace = spec.objects.into_iter().map(|o| ((o.kind.clone(), o.name.clone()), o)).collect();
            (spec.namespace.into(), (of_namespace, None))
        };
        Ok(found.items.into_iter().map(|report| objects(report.spec)).collect())
    }

    fn is_due(&self, namespace: &str, now: Instant) -> bool {
        let none = Objects::new();
        let new = self.now.get(namespace).unwrap_or(&none);
        let Some((old, at)) = self.written.as_ref().and_then(|written| written.get(namespace)) else { return true };
        let lost = || old.iter().any(|(key, old)| new.get(key).map_or(0, |new| new.proxies) < old.proxies);
        if now < self.started + GRACE && lost() {
            return false;
        }
        let is_urgent =
            || new.len() != old.len() || new.iter().any(|(k, new)| old.get(k).is_none_or(|old| says_more(old, new)));
        at.is_none_or(|at| now >= at + PACE) || is_urgent()
    }

    async fn write_one(&mut self, namespace: &Arc<str>) -> Result<(), kube::Error> {
        let new = self.now.get(namespace).cloned().unwrap_or_default();
        let stands = self.written.as_ref().and_then(|written| written.get(namespace)).map(|(objects, _)| objects);
        let name = format!("{}.{namespace}", self.replica.name);
        if new.is_empty() {
            if stands.is_some() {
                match self.api().delete(&name, &DeleteParams::default()).await {
                    Err(error) if !is_gone(&error) => return Err(error),
                    _ => {}
                }
            }
            self.now.remove(namespace);
            self.written.as_mut().map(|written| written.remove(namespace));
        } else if stands != Some(&new) {
            let body = json!({
                "apiVersion": "status.mizzen.io/v1alpha1",
                "kind": "ReplicaReport",
                "metadata": {"name": name, "labels": {REPLICA_LABEL: self.replica.name}},
                "spec": {"replica": self.replica.name, "namespace": namespace, "objects": new.values().collect::<Vec<_>>()},
            });
            let manager = manager_of(&self.replica.name);
            apply::object::<ReplicaReport>(&self.client, &self.replica.namespace, &name, &manager, &body).await?;
            self.written.get_or_insert_default().insert(namespace.clone(), (new, Some(Instant::now())));
        }
        self.moved.remove(namespace);
        Ok(())
    }

    fn api(&self) -> Api<ReplicaReport> {
        Api::namespaced(self.client.clone(), &self.replica.namespace)
    }
}

/// Whether more than numbers differ.
fn says_more(old: &ObjectReport, new: &ObjectReport) -> bool {
    let state = |o: &ObjectReport| (o.proxies > 0, o.programmed == o.proxies, o.rejected > 0);
    let words =
        |o: &ObjectReport| (o.uid.clone(), o.generation, o.reason.clone(), o.problem.clone(), o.warning.clone());
    state(old) != state(new) || words(old) != words(new)
}
