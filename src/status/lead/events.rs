//! Events of Kubernetes on objects that are not accepted: where people look when something does not work.
//!
//! There is one when an object becomes invalid, and one when something else is wrong with it; what the status said
//! already is not told again, by no replica.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use super::{AT_ONCE, Key, conditions::INVALID, resource};
use crate::status::{apply::Troubles, identities::kind_of};

/// Who tells it.
const CONTROLLER: &str = "mizzen.io/control-plane";
/// What was to be done with the object.
const ACTION: &str = "Accept";
/// How many are written each time.
const WRITES: usize = 10;
/// How soon there is another one about an object: whoever changes it all the time does not fill the API server.
const PAUSE: Duration = Duration::from_secs(30);

/// The events that are to be written.
pub(super) struct Events {
    client: Client,
    reporter: Reporter,
    waiting: BTreeMap<Key, Waiting>,
    /// When there was one about an object, as long as that matters.
    last: BTreeMap<Key, Instant>,
    troubles: Troubles,
}

#[derive(Clone)]
struct Waiting {
    uid: String,
    note: String,
}

impl Events {
    pub(super) fn new(client: Client, replica: String) -> Self {
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(replica) };
        let (waiting, last, troubles) = (BTreeMap::new(), BTreeMap::new(), Troubles::default());
        Self { client, reporter, waiting, last, troubles }
    }

    /// The status of an object says now what is wrong with it, and what it said before.
    pub(super) fn say(&mut self, key: &Key, uid: &str, problem: Option<&str>, told: Option<&str>) {
        match problem {
            // What waits is not true any more.
            None => drop(self.waiting.remove(key)),
            Some(problem) if Some(problem) == told => {}
            Some(problem) => {
                let waiting = Waiting { uid: uid.to_owned(), note: problem.to_owned() };
                self.waiting.insert(key.clone(), waiting);
            }
        }
    }

    /// Writes some of those that wait.
    pub(super) async fn write(&mut self) {
        let now = Instant::now();
        self.last.retain(|_, at| now < *at + PAUSE);
        if self.troubles.pause(now) {
            return;
        }
        let due = self.waiting.iter().filter(|(key, _)| !self.last.contains_key(*key)).take(WRITES);
        let due: Vec<(Key, Waiting)> = due.map(|(key, waiting)| (key.clone(), waiting.clone())).collect();
        let mut writes = Vec::with_capacity(due.len());
        for (key, waiting) in &due {
            writes.push(self.publish(key, waiting).map(move |result| (key, result)).boxed());
        }
        let done: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        for (key, result) in done {
            // A refusal would be the same the next time: the status tells it all the same.
            let is_over = result.as_ref().err().is_none_or(is_refusal);
            match result {
                Ok(()) => self.troubles.over(),
                Err(error) => self.troubles.meet("events", &error, now),
            }
            if is_over {
                self.waiting.remove(key);
                self.last.insert(key.clone(), now);
            }
        }
    }

    async fn publish(&self, (kind, namespace, name): &Key, waiting: &Waiting) -> Result<(), kube::Error> {
        let Some(kind) = kind_of(kind) else { return Ok(()) };
        let regarding = ObjectReference {
            api_version: Some(resource(kind).api_version),
            kind: Some(kind.kind().to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(waiting.uid.clone()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: INVALID.to_owned(),
            note: Some(waiting.note.clone()),
            action: ACTION.to_owned(),
            secondary: None,
        };
        // One that has told of the object before would count it instead of telling what is wrong now.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        recorder.publish(&event, &regarding).await
    }
}

fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}
