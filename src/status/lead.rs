//! What one replica writes for all: the conditions of objects, and the sums of workloads.

mod conditions;
mod events;
mod totals;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use self::{conditions::Verdict, events::Events};
use super::{
    Replica,
    alive::{self, Alive},
    apply::{Troubles, by, is_gone},
    identities::{is_programmed, kind_of, kinds},
    workloads::apply_entry,
};
use crate::api::{
    Kind,
    common::Status,
    status::{ObjectReport, ProxyStatus, ReplicaReport},
};

/// Who owns what the leader writes.
const MANAGER: &str = "mizzen-status";
/// How often it writes.
const TICK: Duration = Duration::from_secs(1);
/// How many statuses it writes each time, and how many of them at once.
const WRITES: usize = 50;
const AT_ONCE: usize = 8;
/// How many objects of a list are read at once.
const PAGE: u32 = 500;

/// Kind, namespace and name of an object.
type Key = (&'static str, String, String);

/// A workload: namespace and name.
type Workload = (String, String);

/// Does what the leader does, until dropped.
pub async fn run(client: Client, replica: Replica) {
    let mut leader = Leader::new(client.clone(), replica.clone());
    leader.read_written().await;
    let (config, backoff) = (watcher::Config::default(), || watcher::DefaultBackoff::default());
    let reports: Api<ReplicaReport> = Api::namespaced(client.clone(), &replica.namespace);
    let mut reports = std::pin::pin!(watcher(reports, config.clone()).backoff(backoff()));
    let mut proxies = std::pin::pin!(watcher(Api::<ProxyStatus>::all(client), config).backoff(backoff()));
    let (mut tick, mut look) = (tokio::time::interval(TICK), tokio::time::interval(alive::INTERVAL));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(event) = reports.next() => leader.reports(event),
            Some(event) = proxies.next() => leader.proxies(event),
            _ = look.tick() => leader.bury().await,
            _ = tick.tick() => {
                leader.write().await;
                leader.events.write().await;
            }
        }
    }
}

struct Leader {
    client: Client,
    replica: Replica,
    /// By the names of their objects.
    reports: BTreeMap<String, Reported>,
    /// What a relist has told so far.
    listed: BTreeSet<String>,
    /// Whether all reports were told once: sums of some of them would be wrong.
    all_told: bool,
    workloads: BTreeMap<Workload, ProxyStatus>,
    workloads_listed: BTreeSet<Workload>,
    /// The status of each object, as far as it has one, with its uid.
    written: BTreeMap<Key, (String, Status)>,
    /// Of what something may have to be written.
    objects: BTreeSet<Key>,
    sums: BTreeSet<Workload>,
    alive: Alive,
    troubles: Troubles,
    /// Of what replicas left that are gone: it must not keep from writing the rest.
    burial: Troubles,
    events: Events,
}

/// A report, by object.
struct Reported {
    replica: String,
    objects: BTreeMap<Key, ObjectReport>,
}

impl Leader {
    fn new(client: Client, replica: Replica) -> Self {
        Self {
            events: Events::new(client.clone(), replica.name.clone()),
            client,
            replica,
            reports: BTreeMap::new(),
            listed: BTreeSet::new(),
            all_told: false,
            workloads: BTreeMap::new(),
            workloads_listed: BTreeSet::new(),
            written: BTreeMap::new(),
            objects: BTreeSet::new(),
            sums: BTreeSet::new(),
            alive: Alive::default(),
            troubles: Troubles::default(),
            burial: Troubles::default(),
        }
    }

    /// What the objects say already, so that it is not written again.
    async fn read_written(&mut self) {
        for kind in kinds() {
            loop {
                match self.statuses(kind).await {
                    Ok(found) => break self.written.extend(found),
                    Err(error) => self.troubles.meet("the status of configuration", &error, Instant::now()),
                }
                tokio::time::sleep(super::apply::RETRY).await;
            }
        }
        self.troubles.over();
    }

    async fn statuses(&self, kind: Kind) -> Result<Vec<(Key, (String, Status))>, kube::Error> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind));
        let (mut found, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
        loop {
            let page = match api.list(&params).await {
                // The kind is not known here.
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(found),
                page => page?,
            };
            for object in page.items {
                let status = serde_json::from_value(object.data["status"].clone()).unwrap_or_default();
                let key = (kind.kind(), object.namespace().unwrap_or_default(), object.name_any());
                found.push((key, (object.uid().unwrap_or_default(), status)));
            }
            match page.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(found),
            }
        }
    }

    fn reports(&mut self, event: Result<watcher::Event<ReplicaReport>, watcher::Error>) {
        match event {
            Ok(watcher::Event::Init) => self.listed.clear(),
            Ok(watcher::Event::InitApply(report)) => {
                self.listed.insert(report.name_any());
                self.report(report);
            }
            Ok(watcher::Event::InitDone) => {
                let gone: Vec<String> =
                    self.reports.keys().filter(|name| !self.listed.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.forget(name));
                self.all_told = true;
            }
            Ok(watcher::Event::Apply(report)) => self.report(report),
            Ok(watcher::Event::Delete(report)) => self.forget(&report.name_any()),
            Err(error) => tracing::debug!(%error, "cannot watch ReplicaReports; it is tried again"),
        }
    }

    fn report(&mut self, report: ReplicaReport) {
        let (name, spec) = (report.name_any(), report.spec);
        let keyed = |object: ObjectReport| {
            let kind = kind_of(&object.kind)?;
            Some(((kind.kind(), spec.namespace.clone(), object.name.clone()), object))
        };
        let new: BTreeMap<Key, ObjectReport> = spec.objects.into_iter().filter_map(keyed).collect();
        let old = self.reports.remove(&name).map(|reported| reported.objects).unwrap_or_default();
        self.objects
            .extend(new.iter().filter(|(key, object)| old.get(*key) != Some(*object)).map(|(key, _)| key.clone()));
        self.objects.extend(old.into_keys().filter(|key| !new.contains_key(key)));
        self.reports.insert(name, Reported { replica: spec.replica, objects: new });
    }

    fn forget(&mut self, name: &str) {
        let gone = self.reports.remove(name).map(|reported| reported.objects).unwrap_or_default();
        self.objects.extend(gone.into_keys());
    }

    fn proxies(&mut self, event: Result<watcher::Event<ProxyStatus>, watcher::Error>) {
        let key = |object: &ProxyStatus| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            Ok(watcher::Event::Init) => self.workloads_listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                self.workloads_listed.insert(key(&object));
                self.workload(object);
            }
            Ok(watcher::Event::InitDone) => {
                let listed = &self.workloads_listed;
                self.workloads.retain(|workload, _| listed.contains(workload));
            }
            Ok(watcher::Event::Apply(object)) => self.workload(object),
            Ok(watcher::Event::Delete(object)) => drop(self.workloads.remove(&key(&object))),
            Err(error) => tracing::debug!(%error, "cannot watch ProxyStatus; it is tried again"),
        }
    }

    fn workload(&mut self, object: ProxyStatus) {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        self.sums.insert(key.clone());
        self.workloads.insert(key, object);
    }

    /// Removes what replicas left that are gone.
    async fn bury(&mut self) {
        let now = Instant::now();
        if let Err(error) = self.alive.look(&self.client, &self.replica.namespace).await {
            return self.burial.meet("what replicas left that are gone: the Leases cannot be listed", &error, now);
        }
        self.burial.over();
        let of_reports = self.reports.values().map(|reported| reported.replica.clone());
        let of_workloads =
            self.workloads.values().filter_map(|o| o.status.as_ref()).flat_map(|s| s.replicas.keys().cloned());
        let known: BTreeSet<String> = of_reports.chain(of_workloads).collect();
        for replica in known {
            if replica != self.replica.name
                && self.alive.is_gone(&replica, now)
                && let Err(error) = self.bury_one(&replica).await
            {
                self.burial.meet("what replicas left that are gone", &error, now);
            }
        }
    }

    async fn bury_one(&self, replica: &str) -> Result<(), kube::Error> {
        tracing::info!(replica, "a replica is gone; its part of statuses is removed");
        let reports: Api<ReplicaReport> = Api::namespaced(self.client.clone(), &self.replica.namespace);
        for (name, _) in self.reports.iter().filter(|(_, reported)| reported.replica == replica) {
            ignore_gone(reports.delete(name, &DeleteParams::default()).await.map(drop))?;
        }
        let has_entry = |object: &ProxyStatus| object.status.as_ref().is_some_and(|s| s.replicas.contains_key(replica));
        for ((namespace, name), _) in self.workloads.iter().filter(|(_, object)| has_entry(object)) {
            let api: Api<ProxyStatus> = Api::namespaced(self.client.clone(), namespace);
            ignore_gone(apply_entry(&api, name, replica, &json!({})).await)?;
        }
        Ok(())
    }

    /// Writes what differs, what matters most first.
    async fn write(&mut self) {
        if !self.all_told || self.troubles.pause(Instant::now()) || self.objects.is_empty() && self.sums.is_empty() {
            return;
        }
        let sums: Vec<Workload> = std::mem::take(&mut self.sums).into_iter().collect();
        let (now, later) = sums.split_at(sums.len().min(WRITES));
        self.sums.extend(later.iter().cloned());
        let mut writes = Vec::with_capacity(now.len());
        for workload in now {
            writes.push(self.write_sums(workload).boxed());
        }
        let done: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let failed = done.into_iter().filter_map(Result::err);
        for (workload, error) in failed {
            self.sums.insert(workload);
            self.troubles.meet("ProxyStatus", &error, Instant::now());
        }
        self.write_conditions().await;
    }

    async fn write_conditions(&mut self) {
        let (mut urgent, mut lazy) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut self.objects) {
            let reports = self.reports.values().filter_map(|reported| reported.objects.get(&key));
            let Some(verdict) = Verdict::of(is_programmed(key.0), reports) else {
                self.written.remove(&key);
                continue;
            };
            let before = self.written.get(&key).filter(|(uid, _)| *uid == verdict.uid).map(|(_, status)| status);
            let none = Status::default();
            match before.unwrap_or(&none) {
                status if verdict.is_said_by(status) => {}
                status if verdict.is_meant_by(status) => lazy.push((key, verdict)),
                _ => urgent.push((key, verdict)),
            }
        }
        let mut all = urgent.into_iter().chain(lazy);
        let now: Vec<_> = all.by_ref().take(WRITES).collect();
        self.objects.extend(all.map(|(key, _)| key));
        let mut writes = Vec::with_capacity(now.len());
        for (key, verdict) in &now {
            writes.push(self.write_status(key, verdict).boxed());
        }
        let done: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let verdicts: BTreeMap<&Key, &Verdict> = now.iter().map(|(key, verdict)| (key, verdict)).collect();
        for (key, result) in done {
            match result {
                Ok(status) => {
                    let before = self.written.get(&key).filter(|(uid, _)| *uid == status.0);
                    let told = before.and_then(|(_, status)| conditions::told(status));
                    self.events.say(&key, &status.0, verdicts.get(&key).and_then(|verdict| verdict.problem()), told);
                    self.written.insert(key, status);
                }
                Err(error) if is_gone(&error) => drop(self.written.remove(&key)),
                Err(error) => {
                    self.objects.insert(key);
                    self.troubles.meet("the status of configuration", &error, Instant::now());
                }
            }
        }
    }

    async fn write_status(&self, key: &Key, verdict: &Verdict) -> (Key, Result<(String, Status), kube::Error>) {
        let (kind, namespace, name) = key;
        let none = Status::default();
        let before = self.written.get(key).filter(|(uid, _)| *uid == verdict.uid).map_or(&none, |(_, status)| status);
        let status = verdict.status(before, Timestamp::now());
        let Some(kind) = kind_of(kind) else {
            return (key.clone(), Ok((verdict.uid.clone(), status)));
        };
        let resource = resource(kind);
        let body = conditions::patch(&resource.api_version, kind.kind(), name, &verdict.uid, &status);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let mut written = api.patch_status(name, &by(MANAGER), &Patch::Apply(&body)).await;
        if written.as_ref().is_err_and(is_beyond_apply) {
            let plain = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            written = api.patch_status(name, &plain, &Patch::Merge(&body)).await;
        }
        (key.clone(), written.map(|_| (verdict.uid.clone(), status)))
    }

    async fn write_sums(&self, workload: &Workload) -> Result<(), (Workload, kube::Error)> {
        let Some(object) = self.workloads.get(workload) else { return Ok(()) };
        let (namespace, name) = workload;
        let api: Api<ProxyStatus> = Api::namespaced(self.client.clone(), namespace);
        let status = object.status.clone().unwrap_or_default();
        let done = match totals::differing(&status, Timestamp::now()) {
            // A replica that has just made it tells its proxies with its next write.
            _ if status.replicas.is_empty() && status.proxies.is_none() => Ok(()),
            _ if status.replicas.is_empty() => {
                let unchanged = Preconditions { resource_version: object.resource_version(), uid: object.uid() };
                let params = DeleteParams { preconditions: Some(unchanged), ..DeleteParams::default() };
                api.delete(name, &params).await.map(drop)
            }
            None => Ok(()),
            Some(sums) => {
                let body = json!({
                    "apiVersion": "status.mizzen.io/v1alpha1",
                    "kind": "ProxyStatus",
                    "metadata": {"name": name},
                    "status": sums,
                });
                api.patch_status(name, &by(MANAGER), &Patch::Apply(&body)).await.map(drop)
            }
        };
        ignore_gone(done).map_err(|error| (workload.clone(), error))
    }
}

/// Whether an API server may have failed to apply something to an object because the rest of the object does not fit the
/// schema of its kind: it was stored before there was that schema.
fn is_beyond_apply(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 422 | 500))
}

fn ignore_gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(error) if is_gone(&error) => Ok(()),
        result => result,
    }
}

fn resource(kind: Kind) -> ApiResource {
    let kind_of_version = GroupVersionKind::gvk(kind.group(), kind.stored_version(), kind.kind());
    ApiResource::from_gvk_with_plural(&kind_of_version, kind.plural())
}
