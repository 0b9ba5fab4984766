//! One kind's watch as a state machine: events in, deliveries out. No I/O.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    core::{ApiResource, DynamicObject, Status},
    runtime::watcher::{self, Event},
};
use serde_json::{Map, Value};

use super::{discovery::chain, prune::prune, resource_name};
use crate::{
    api::{Kind, Object},
    model::{Code, ObjectRef},
    sources::{
        Delivery, Intake, Origin, ProblemKey, SourceProblem,
        decode::{self, Reading},
    },
    telemetry::ready::Guard,
};

/// What an event says about the kind as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// The server does not know the kind (any more).
    Absent,
}

impl Heard {
    pub(super) fn is_absent(self) -> bool {
        self == Self::Absent
    }
}

/// The watch of one kind.
pub(super) struct Watch {
    kind: Kind,
    resource: ApiResource,
    intake: Arc<dyn Intake>,
    guard: Arc<Guard>,
    /// A list on its way.
    list: List,
    problems: HashMap<ObjectRef, Vec<ProblemKey>>,
    /// Why the kind cannot be read now.
    failing: Option<ProblemKey>,
}

#[derive(Default)]
struct List {
    live: Vec<Object>,
    kept: Vec<Version>,
    problems: HashMap<ObjectRef, Vec<ProblemKey>>,
}

/// A broken object never ends a watch: it is a reading without an object.
struct Read {
    reference: Option<ObjectRef>,
    object: Option<Object>,
    problems: Vec<ProblemKey>,
}

/// Which version of an object it is, also of one that cannot be read.
struct Version {
    object: ObjectRef,
    uid: Arc<str>,
    generation: i64,
}

impl Version {
    fn of(kind: Kind, meta: &ObjectMeta) -> Self {
        Self {
            object: reference(kind, meta),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            generation: meta.generation.unwrap_or_default(),
        }
    }

    fn unreadable(self) -> Delivery {
        let Self { object, uid, generation } = self;
        Delivery::Unreadable { object, uid, generation }
    }
}

impl Watch {
    pub(super) fn new(kind: Kind, resource: ApiResource, intake: Arc<dyn Intake>, guard: Arc<Guard>) -> Self {
        let (list, problems) = (List::default(), HashMap::new());
        Self { kind, resource, intake, guard, list, problems, failing: None }
    }

    /// Takes one event.
    pub(super) fn take(&mut self, event: watcher::Result<Event<DynamicObject>>) -> Heard {
        match event {
            Ok(Event::Init) => self.list = List::default(),
            Ok(Event::InitApply(object)) => self.list_object(object),
            Ok(Event::InitDone) => self.finish_list(),
            Ok(Event::Apply(object)) => self.apply(object),
            Ok(Event::Delete(object)) => self.delete(&object),
            Err(error) => return self.fail(&error),
        }
        Heard::Nothing
    }

    fn list_object(&mut self, object: DynamicObject) {
        let version = Version::of(self.kind, &object.metadata);
        let Read { reference, object, problems } = self.read(object);
        let Some(reference) = reference else { return };
        match object {
            Some(object) => self.list.live.push(object),
            None => self.list.kept.push(version),
        }
        if !problems.is_empty() {
            self.list.problems.insert(reference, problems);
        }
    }

    fn finish_list(&mut self) {
        let List { live, kept, problems } = std::mem::take(&mut self.list);
        tracing::debug!(resource = resource_name(self.kind), objects = live.len(), "listed");
        let stay = kept.iter().map(|version| version.object.clone()).collect();
        self.intake.deliver(Delivery::Reset { kind: self.kind, live, kept: stay });
        let gone: Vec<_> = self.problems.keys().filter(|object| !problems.contains_key(*object)).cloned().collect();
        gone.into_iter().for_each(|object| self.set_problems(object, Vec::new()));
        problems.into_iter().for_each(|(object, problems)| self.set_problems(object, problems));
        kept.into_iter().for_each(|version| self.intake.deliver(version.unreadable()));
        self.recover();
        self.guard.release();
    }

    fn apply(&mut self, object: DynamicObject) {
        let version = Version::of(self.kind, &object.metadata);
        let Read { reference, object, problems } = self.read(object);
        let Some(reference) = reference else { return };
        // What is wrong with it is known before somebody looks at it.
        self.set_problems(reference, problems);
        self.intake.deliver(object.map_or_else(|| version.unreadable(), Delivery::Apply));
        self.recover();
    }

    fn delete(&mut self, object: &DynamicObject) {
        let reference = reference(self.kind, &object.metadata);
        self.intake.deliver(Delivery::Delete(reference.clone()));
        self.set_problems(reference, Vec::new());
        self.recover();
    }

    fn read(&self, object: DynamicObject) -> Read {
        let problem = |object: &ObjectRef, field: String, reason: String, code| ProblemKey {
            origin: Origin::Cluster,
            object: Some(object.clone()),
            field,
            reason,
            code,
        };
        match decode::read(to_value(self.kind, &self.resource, object)) {
            Reading::Object { reference, object, unknown_fields } => {
                // Kubernetes' own kinds have fields of newer versions, which is as it should be.
                let unknown_fields = if self.kind.is_custom() { unknown_fields } else { Vec::new() };
                let unknown = |field| problem(&reference, field, "unknown field".to_owned(), Code::UnknownField);
                let problems = unknown_fields.into_iter().map(unknown).collect();
                Read { reference: Some(reference), object: Some(object), problems }
            }
            Reading::Refused { reference, field, reason, code } => {
                let refused = |reference| problem(reference, field.clone(), reason.clone(), code);
                let problems = reference.iter().map(refused);
                Read { problems: problems.collect(), reference, object: None }
            }
            Reading::Ignored => Read { reference: None, object: None, problems: Vec::new() },
        }
    }

    fn set_problems(&mut self, object: ObjectRef, problems: Vec<ProblemKey>) {
        let before = self.problems.remove(&object).unwrap_or_default();
        for key in before.iter().filter(|key| !problems.contains(key)) {
            self.intake.deliver(Delivery::ProblemGone(key.clone()));
        }
        for key in problems.iter().filter(|key| !before.contains(key)) {
            self.intake.deliver(Delivery::Problem(SourceProblem { key: key.clone(), line: None }));
        }
        if !problems.is_empty() {
            self.problems.insert(object, problems);
        }
    }

    /// Takes an error; the watcher tries again by itself.
    fn fail(&mut self, error: &watcher::Error) -> Heard {
        let resource = resource_name(self.kind);
        let (verb, status) = status(error);
        let reason = match (verb, status.map(|status| status.code)) {
            (_, Some(404)) => return Heard::Absent,
            // The list is too old; a new one follows.
            (_, Some(410)) => return Heard::Nothing,
            (verb, Some(403)) => forbidden(self.kind, verb),
            ("list", _) => chain(error),
            // A watch that ends is resumed where it ended; there is no event that says that it was.
            _ => {
                tracing::debug!(resource, error = chain(error), "watch is resumed");
                return Heard::Nothing;
            }
        };
        self.guard.because(&reason);
        let origin = Origin::Watch(resource.into());
        let code = Code::SourceUnreadable;
        let key = ProblemKey { origin, object: None, field: String::new(), reason, code };
        if self.failing.as_ref() != Some(&key) {
            self.recover();
            self.intake.deliver(Delivery::Problem(SourceProblem { key: key.clone(), line: None }));
            self.failing = Some(key);
        }
        Heard::Nothing
    }

    fn recover(&mut self) {
        if let Some(key) = self.failing.take() {
            self.intake.deliver(Delivery::ProblemGone(key));
        }
    }
}

impl Drop for Watch {
    /// The kind is not watched any more: nothing is wrong with it.
    fn drop(&mut self) {
        let objects: Vec<_> = self.problems.keys().cloned().collect();
        objects.into_iter().for_each(|object| self.set_problems(object, Vec::new()));
        self.recover();
    }
}

fn reference(kind: Kind, meta: &ObjectMeta) -> ObjectRef {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    ObjectRef::new(kind.kind(), &text(&meta.namespace), &text(&meta.name))
}

/// The rule that would allow it.
fn forbidden(kind: Kind, verb: &str) -> String {
    let (resource, group) = (kind.plural(), kind.group());
    format!("forbidden: a rule must allow verb {verb:?} on resource {resource:?} of API group {group:?}")
}

/// The verb that failed and what the server said, if it did.
fn status(error: &watcher::Error) -> (&'static str, Option<&Status>) {
    match error {
        watcher::Error::InitialListFailed(error) => ("list", answer(error)),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", answer(error)),
        watcher::Error::WatchError(status) => ("watch", Some(status)),
        watcher::Error::NoResourceVersion => ("list", None),
    }
}

fn answer(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// The object as it would be in a file, reduced. Items of lists come without their type.
fn to_value(kind: Kind, resource: &ApiResource, object: DynamicObject) -> Value {
    let mut map = Map::new();
    map.insert("apiVersion".to_owned(), resource.api_version.clone().into());
    map.insert("kind".to_owned(), resource.kind.clone().into());
    let mut metadata = object.metadata;
    metadata.managed_fields = None;
    // Metadata came from JSON, so it can be JSON.
    map.insert("metadata".to_owned(), serde_json::to_value(metadata).unwrap_or_default());
    if let Value::Object(data) = object.data {
        map.extend(data);
    }
    prune(kind, &mut map);
    Value::Object(map)
}
