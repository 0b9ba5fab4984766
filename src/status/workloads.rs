//! The proxies of each workload that are connected to this replica, as its entry in the workload's `ProxyStatus`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use kube::{
    Api, Client,
    api::{ListParams, Patch, PostParams},
};
use serde_json::json;

use super::{
    Replica,
    apply::{Troubles, by, is_gone, manager_of},
    judge::cut,
    report::GRACE,
};
use crate::api::status::{BehindProxy, ProxyStatus, ProxyStatusSpec, ReplicaProxies};

/// How many proxies of a workload are named that are not as they should be.
const NAMED: usize = 16;

/// A workload or a gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// The name of its `ProxyStatus`.
    pub name: String,
    /// Its kind and name, as far as proxies tell.
    pub owner: String,
}

impl Workload {
    /// The workload of a proxy, by what it says of itself: `WORKLOAD_NAME`, and `OWNER`, such as
    /// `kubernetes://apis/apps/v1/namespaces/default/deployments/web`; else its pod is all that is known.
    #[must_use]
    pub fn of(namespace: &str, pod: &str, workload: &str, owner: &str) -> Self {
        let mut path = owner.rsplit('/');
        let owner = path.next().zip(path.next()).filter(|(name, _)| !name.is_empty());
        let name = [workload, owner.map_or("", |(name, _)| name), pod].into_iter().find(|name| !name.is_empty());
        let name = name.unwrap_or("unknown");
        let name = match owner {
            // One of another kind may have the name of a Deployment.
            Some((_, kind)) if !matches!(kind, "" | "deployments") => format!("{name}.{}", kind.trim_end_matches('s')),
            _ => name.to_owned(),
        };
        let owner = owner.map(|(name, kind)| format!("{kind}/{name}")).unwrap_or_default();
        Self { namespace: namespace.to_owned(), name: object_name(&name), owner }
    }
}

/// A name that objects may have.
fn object_name(text: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    let name: String = text.to_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).take(253).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

/// How far a proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has acknowledged all.
    Synced,
    /// It has not acknowledged these types for some time.
    Stale(Vec<String>),
    /// It refuses these types, for this reason.
    Rejected(Vec<String>, String),
}

impl ReplicaProxies {
    fn add(&mut self, proxy: &str, state: State) {
        self.proxies += 1;
        let (types, reason) = match state {
            State::Synced => {
                self.synced += 1;
                return;
            }
            State::Stale(types) => {
                self.stale += 1;
                (types, String::new())
            }
            State::Rejected(types, reason) => {
                self.rejected += 1;
                (types, cut(&reason).to_owned())
            }
        };
        self.behind.push(BehindProxy { name: proxy.to_owned(), types, reason });
    }

    fn finish(&mut self) {
        // Those that refuse tell more.
        self.behind.sort_by(|a, b| (a.reason.is_empty(), a).cmp(&(b.reason.is_empty(), b)));
        self.behind.truncate(NAMED);
    }
}

/// The entries of this replica.
pub struct Workloads {
    client: Client,
    replica: Replica,
    started: Instant,
    now: BTreeMap<Workload, ReplicaProxies>,
    /// What stands in the API server; `None` before that was read.
    written: Option<BTreeMap<(String, String), ReplicaProxies>>,
    /// In namespaces that do not exist nothing can be written.
    troubles: BTreeMap<String, Troubles>,
}

impl Workloads {
    /// None yet.
    #[must_use]
    pub fn new(client: Client, replica: Replica) -> Self {
        let (now, troubles) = (BTreeMap::new(), BTreeMap::new());
        Self { client, replica, started: Instant::now(), now, written: None, troubles }
    }

    /// All proxies that are connected now, with their workloads.
    pub fn put(&mut self, proxies: impl IntoIterator<Item = (Workload, String, State)>) {
        let mut now: BTreeMap<Workload, ReplicaProxies> = BTreeMap::new();
        for (workload, proxy, state) in proxies {
            now.entry(workload).or_default().add(&proxy, state);
        }
        now.values_mut().for_each(ReplicaProxies::finish);
        self.now = now;
    }

    /// Writes what differs from what stands there.
    pub async fn write(&mut self) {
        let now = Instant::now();
        if self.written.is_none() {
            if self.troubles.get("").is_some_and(|troubles| troubles.pause(now)) {
                return;
            }
            match self.read().await {
                Ok(written) => self.written = Some(written),
                Err(error) => return self.troubles.entry(String::new()).or_default().meet("ProxyStatus", &error, now),
            }
        }
        for (workload, proxies) in self.differing(now) {
            let namespace = workload.namespace.clone();
            if self.troubles.get(&namespace).is_some_and(|troubles| troubles.pause(now)) {
                continue;
            }
            match self.write_one(&workload, proxies).await {
                Ok(()) => drop(self.troubles.remove(&namespace)),
                Err(error) => {
                    let what = format!("ProxyStatus {namespace}/{}", workload.name);
                    self.troubles.entry(namespace).or_default().meet(&what, &error, now);
                }
            }
        }
    }

    /// What a replica of this name left.
    async fn read(&self) -> Result<BTreeMap<(String, String), ReplicaProxies>, kube::Error> {
        let all = Api::<ProxyStatus>::all(self.client.clone()).list(&ListParams::default()).await?;
        let own = |object: ProxyStatus| {
            let entry = object.status?.replicas.remove(&self.replica.name)?;
            Some(((object.metadata.namespace?, object.metadata.name?), entry))
        };
        Ok(all.items.into_iter().filter_map(own).collect())
    }

    fn differing(&self, now: Instant) -> Vec<(Workload, Option<ReplicaProxies>)> {
        let Some(written) = &self.written else { return Vec::new() };
        let key = |workload: &Workload| (workload.namespace.clone(), workload.name.clone());
        let returning = |old: &ReplicaProxies, new: u32| now < self.started + GRACE && new < old.proxies;
        let (mut all, mut known) = (Vec::new(), BTreeSet::new());
        for (workload, proxies) in &self.now {
            let old = written.get(&key(workload));
            known.insert(key(workload));
            if old != Some(proxies) && !old.is_some_and(|old| returning(old, proxies.proxies)) {
                all.push((workload.clone(), Some(proxies.clone())));
            }
        }
        for ((namespace, name), old) in written.iter().filter(|(key, _)| !known.contains(key)) {
            if !returning(old, 0) {
                all.push((Workload { namespace: namespace.clone(), name: name.clone(), owner: String::new() }, None));
            }
        }
        all
    }

    async fn write_one(&mut self, workload: &Workload, proxies: Option<ReplicaProxies>) -> Result<(), kube::Error> {
        let key = (workload.namespace.clone(), workload.name.clone());
        let api: Api<ProxyStatus> = Api::namespaced(self.client.clone(), &workload.namespace);
        let replicas = match &proxies {
            Some(proxies) => json!({ self.replica.name.as_str(): proxies }),
            None => json!({}),
        };
        match apply_entry(&api, &workload.name, &self.replica.name, &replicas).await {
            Err(error) if is_gone(&error) && proxies.is_some() => {
                let spec = ProxyStatusSpec { workload: workload.owner.clone() };
                let object = ProxyStatus::new(&workload.name, spec);
                match api.create(&PostParams::default(), &object).await {
                    // Another replica was first.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    Err(error) => return Err(error),
                    Ok(_) => {}
                }
                apply_entry(&api, &workload.name, &self.replica.name, &replicas).await?;
            }
            // Nothing is left to be taken back.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        let written = self.written.get_or_insert_default();
        match proxies {
            Some(proxies) => drop(written.insert(key, proxies)),
            None => drop(written.remove(&key)),
        }
        Ok(())
    }
}

/// Makes the entries of a replica what is given.
pub(super) async fn apply_entry(
    api: &Api<ProxyStatus>,
    name: &str,
    replica: &str,
    replicas: &serde_json::Value,
) -> Result<(), kube::Error> {
    let body = json!({
        "apiVersion": "status.mizzen.io/v1alpha1",
        "kind": "ProxyStatus",
        "metadata": {"name": name},
        "status": {"replicas": replicas},
    });
    api.patch_status(name, &by(&manager_of(replica)), &Patch::Apply(&body)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_named_by_what_proxies_say() {
        let of = |pod, workload, owner| {
            let workload = Workload::of("ns", pod, workload, owner);
            (workload.name, workload.owner)
        };
        let owner = "kubernetes://apis/apps/v1/namespaces/ns/deployments/web";
        assert_eq!(of("web-5d-x", "web", owner), ("web".to_owned(), "deployments/web".to_owned()));
        assert_eq!(of("web-5d-x", "", owner), ("web".to_owned(), "deployments/web".to_owned()));
        let set = "kubernetes://apis/apps/v1/namespaces/ns/statefulsets/web";
        assert_eq!(of("web-0", "web", set), ("web.statefulset".to_owned(), "statefulsets/web".to_owned()));
        assert_eq!(of("web-5d-x", "", ""), ("web-5d-x".to_owned(), String::new()));
        assert_eq!(of("", "My_App.", "").0, "my-app");
        assert_eq!(of("", "_", "").0, "unknown");
    }

    #[test]
    fn those_that_refuse_are_named_first() {
        let mut entry = ReplicaProxies::default();
        entry.add("a", State::Synced);
        for n in 0..20 {
            entry.add(&format!("s{n:02}"), State::Stale(vec!["EDS".to_owned()]));
        }
        entry.add("z", State::Rejected(vec!["LDS".to_owned()], "no".to_owned()));
        entry.finish();
        assert_eq!((entry.proxies, entry.synced, entry.stale, entry.rejected), (22, 1, 20, 1));
        let names: Vec<&str> = entry.behind.iter().map(|b| b.name.as_str()).collect();
        assert_eq!((names.len(), &names[..2]), (NAMED, &["z", "s00"][..]));
    }
}
