//! Which of Istio's kinds an API server serves, and in which version.
//!
//! The list of CRDs says when to ask again, and tells a kind that is absent from one that is about to be served: after
//! its start an API server does not list every CRD's group at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    core::{PartialObjectMeta, discovery::v2::APIGroupDiscoveryList},
    runtime::{WatchStreamExt, watcher},
};
use tokio::{sync::Notify, time::sleep};

use super::resource_name;
use crate::{
    api::Kind,
    model::Code,
    sources::{Delivery, Intake, Origin, ProblemKey, SourceProblem},
};

/// CRDs are applied together: one question for all of them.
const SETTLE: Duration = Duration::from_millis(50);

/// When to ask again while a CRD is not served yet, or nobody answers.
const SOON: Duration = Duration::from_millis(500);

/// When to ask again if CRDs cannot be watched.
const LATER: Duration = Duration::from_secs(30);

/// Whether a kind can be watched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// In this version.
    Served(&'static str),
    /// Not yet: its CRD exists.
    Pending,
    /// It has no CRD.
    Absent,
}

/// What is known of the API server's CRDs.
#[derive(Default)]
enum Crds {
    /// The first list is on its way.
    #[default]
    Unknown,
    /// They may not be watched, or not now.
    Unwatched,
    /// These exist.
    Known(HashSet<String>),
}

/// Asks an API server which kinds it serves.
pub(super) struct Discovery {
    client: Client,
    intake: Arc<dyn Intake>,
    recheck: Arc<Notify>,
    events: BoxStream<'static, watcher::Result<watcher::Event<PartialObjectMeta<CustomResourceDefinition>>>>,
    crds: Crds,
    listing: HashSet<String>,
    /// When to ask although nothing happened.
    due: Option<Duration>,
    failing: Option<ProblemKey>,
}

impl Discovery {
    pub(super) fn new(client: Client, intake: Arc<dyn Intake>, recheck: Arc<Notify>) -> Self {
        let api = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client.clone());
        let events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        let (crds, listing) = (Crds::default(), HashSet::new());
        Self { client, intake, recheck, events, crds, listing, due: None, failing: None }
    }

    /// The presence of all of Istio's kinds, whenever it may have changed.
    pub(super) async fn next(&mut self) -> Vec<(Kind, Presence)> {
        loop {
            self.changed().await;
            match self.client.list_api_groups_aggregated().await {
                Ok(groups) => {
                    self.report(None);
                    let found = presence(&served(&groups), &self.crds);
                    let is_pending = found.iter().any(|(_, presence)| *presence == Presence::Pending);
                    let is_blind = matches!(self.crds, Crds::Unwatched);
                    self.due = if is_pending { Some(SOON) } else { is_blind.then_some(LATER) };
                    return found;
                }
                Err(error) => {
                    self.report(Some(format!("cannot ask which kinds are served: {}", chain(&error))));
                    self.due = Some(SOON);
                }
            }
        }
    }

    /// Waits until it is worth to ask.
    async fn changed(&mut self) {
        loop {
            let timer = async {
                match self.due {
                    Some(due) => sleep(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(event) = self.events.next() => if self.take(event) { break },
                () = self.recheck.notified() => break,
                () = timer => return,
            }
        }
        sleep(SETTLE).await;
    }

    /// Takes an event of the watch of CRDs; true if it changes what may be served.
    fn take(&mut self, event: watcher::Result<watcher::Event<PartialObjectMeta<CustomResourceDefinition>>>) -> bool {
        match event {
            Ok(watcher::Event::Init) => {
                self.listing.clear();
                false
            }
            Ok(watcher::Event::InitApply(crd)) => {
                self.listing.insert(crd.name_any());
                false
            }
            Ok(watcher::Event::InitDone) => {
                self.crds = Crds::Known(std::mem::take(&mut self.listing));
                true
            }
            Ok(watcher::Event::Apply(crd)) => {
                let name = crd.name_any();
                let is_ours = is_ours(&name);
                if let Crds::Known(names) = &mut self.crds {
                    names.insert(name);
                }
                is_ours
            }
            Ok(watcher::Event::Delete(crd)) => {
                if let Crds::Known(names) = &mut self.crds {
                    names.remove(&crd.name_any());
                }
                is_ours(&crd.name_any())
            }
            Err(error) => {
                tracing::debug!(error = chain(&error), "watch of CRDs");
                let is_first = matches!(self.crds, Crds::Unknown);
                if is_first {
                    self.crds = Crds::Unwatched;
                }
                is_first
            }
        }
    }

    fn report(&mut self, reason: Option<String>) {
        let origin = || Origin::Watch("discovery".into());
        let now = reason.map(|reason| ProblemKey {
            origin: origin(),
            object: None,
            field: String::new(),
            reason,
            code: Code::SourceUnreadable,
        });
        if now != self.failing {
            if let Some(key) = self.failing.take() {
                self.intake.deliver(Delivery::ProblemGone(key));
            }
            if let Some(key) = now.clone() {
                self.intake.deliver(Delivery::Problem(SourceProblem { key, line: None }));
            }
            self.failing = now;
        }
    }
}

fn is_ours(crd: &str) -> bool {
    Kind::ALL.into_iter().any(|kind| kind.is_custom() && resource_name(kind) == crd)
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Many errors of the client repeat their cause.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// The version in which each kind is served: the first of ours that the server has.
fn served(groups: &APIGroupDiscoveryList) -> HashMap<Kind, &'static str> {
    let mut resources: HashSet<(&str, &str, &str)> = HashSet::new();
    for group in &groups.items {
        let name = group.metadata.as_ref().and_then(|meta| meta.name.as_deref()).unwrap_or_default();
        for version in &group.versions {
            let of_version = version.resources.iter().filter_map(|resource| resource.resource.as_deref());
            let version = version.version.as_deref().unwrap_or_default();
            resources.extend(of_version.map(|plural| (name, version, plural)));
        }
    }
    let is_served = |kind: Kind, version: &str| resources.contains(&(kind.group(), version, kind.plural()));
    let version = |kind: Kind| kind.versions().iter().copied().find(|version| is_served(kind, version));
    Kind::ALL.into_iter().filter_map(|kind| Some((kind, version(kind)?))).collect()
}

fn presence(served: &HashMap<Kind, &'static str>, crds: &Crds) -> Vec<(Kind, Presence)> {
    let of = |kind| match (served.get(&kind), crds) {
        (Some(version), _) => Presence::Served(version),
        (None, Crds::Known(names)) if names.contains(&resource_name(kind)) => Presence::Pending,
        (None, Crds::Unknown) => Presence::Pending,
        (None, _) => Presence::Absent,
    };
    Kind::ALL.into_iter().filter(|kind| kind.is_custom()).map(|kind| (kind, of(kind))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_preferred_version_that_is_served_is_taken() {
        let version = |version: &str, plurals: &[&str]| {
            let resources: Vec<_> = plurals.iter().map(|plural| json!({"resource": plural})).collect();
            json!({"version": version, "resources": resources})
        };
        let versions = [version("v1alpha3", &["gateways", "virtualservices"]), version("v1", &["virtualservices"])];
        let groups = json!({"items": [{"metadata": {"name": "networking.istio.io"}, "versions": versions}]});
        let served = served(&serde_json::from_value(groups).unwrap());
        let expected = [(Kind::VirtualService, "v1"), (Kind::Gateway, "v1alpha3")];
        assert_eq!(served, expected.into());
        let crds = Crds::Known(["sidecars.networking.istio.io".to_owned()].into());
        let found: HashMap<_, _> = presence(&served, &crds).into_iter().collect();
        assert_eq!(found[&Kind::Gateway], Presence::Served("v1alpha3"));
        assert_eq!(found[&Kind::Sidecar], Presence::Pending);
        assert_eq!(found[&Kind::Telemetry], Presence::Absent);
        assert!(!found.contains_key(&Kind::Pod));
    }

    #[test]
    fn without_sight_of_crds_what_is_not_served_is_absent() {
        let found = |crds| presence(&HashMap::new(), &crds).into_iter().all(|(_, p)| p == Presence::Absent);
        assert!(found(Crds::Unwatched));
        assert!(!found(Crds::Unknown));
    }
}
