//! The state machine of a watch, event by event.

use std::sync::Mutex;

use kube::core::Status;
use kube::runtime::watcher::{Error, Event};
use serde_json::{Value, json};

use super::*;
use crate::model::code::without_code;
use crate::sources::Origin;

/// Deliveries as lines of text.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Intake for Lines {
    fn deliver(&self, delivery: Delivery) {
        let name = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| meta.name.clone().unwrap();
        let line = match delivery {
            Delivery::Apply(object) => format!("apply {}", name(object.meta())),
            Delivery::Delete(reference) => format!("delete {reference}"),
            Delivery::Reset { live, kept, .. } => {
                let live: Vec<_> = live.iter().map(|object| name(object.meta())).collect();
                format!("reset {live:?} kept {}", kept.iter().map(ToString::to_string).collect::<String>())
            }
            Delivery::Unreadable { object, uid, generation } => format!("unreadable {object} {uid} {generation}"),
            Delivery::Problem(problem) => format!("problem {}", without_code(&problem)),
            Delivery::ProblemGone(key) if key.origin == Origin::Cluster => format!("gone {}", key.field),
            Delivery::ProblemGone(key) => format!("gone {:?}", key.origin),
        };
        self.0.lock().unwrap().push(line);
    }
}

struct Rig {
    watch: Watch,
    lines: Arc<Lines>,
    readiness: Readiness,
}

impl Rig {
    fn new() -> Self {
        let kind = Kind::VirtualService;
        let gvk = GroupVersionKind::gvk(kind.group(), "v1", kind.kind());
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
        let (lines, readiness) = (Arc::new(Lines::default()), Readiness::default());
        let guard = Arc::new(readiness.guard(&resource_name(kind)));
        Self { watch: Watch::new(kind, resource, lines.clone(), guard), lines, readiness }
    }

    fn take(&mut self, event: Event<DynamicObject>) -> Vec<String> {
        assert!(!self.watch.take(Ok(event)).is_absent());
        self.lines()
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.0.lock().unwrap())
    }
}

fn object(name: &str, spec: &Value) -> DynamicObject {
    let metadata = json!({"name": name, "namespace": "ns", "resourceVersion": "1", "uid": "u", "generation": 7});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn good(name: &str) -> DynamicObject {
    object(name, &json!({"hosts": ["a"]}))
}

fn bad(name: &str) -> DynamicObject {
    object(name, &json!({"hosts": 7}))
}

fn api_error(code: u16) -> kube::Error {
    kube::Error::Api(Box::new(Status { code, message: "no".to_owned(), ..Status::default() }))
}

#[test]
fn a_list_is_one_reset_and_makes_the_kind_ready() {
    let mut rig = Rig::new();
    assert!(rig.take(Event::Init).is_empty());
    assert!(rig.take(Event::InitApply(good("a"))).is_empty());
    assert!(rig.take(Event::InitApply(good("b"))).is_empty());
    assert!(!rig.readiness.is_ready());
    assert_eq!(rig.take(Event::InitDone), [r#"reset ["a", "b"] kept "#]);
    assert!(rig.readiness.is_ready());
    assert_eq!(rig.take(Event::Apply(good("c"))), ["apply c"]);
    assert_eq!(rig.take(Event::Delete(good("a"))), ["delete VirtualService ns/a"]);
}

#[test]
fn an_interrupted_list_delivers_nothing() {
    let mut rig = Rig::new();
    rig.take(Event::Init);
    rig.take(Event::InitApply(good("a")));
    rig.take(Event::Init);
    rig.take(Event::InitApply(good("b")));
    assert_eq!(rig.take(Event::InitDone), [r#"reset ["b"] kept "#]);
}

#[test]
fn an_undecodable_object_is_kept_and_reported_until_it_is_fixed() {
    let mut rig = Rig::new();
    rig.take(Event::Init);
    rig.take(Event::InitApply(bad("a")));
    let lines = rig.take(Event::InitDone);
    assert_eq!(lines[0], "reset [] kept VirtualService ns/a");
    assert!(lines[1].starts_with("problem VirtualService ns/a: spec.hosts: invalid type: integer `7`"), "{lines:?}");
    let unreadable = "unreadable VirtualService ns/a u 7";
    assert_eq!(lines[2..], [unreadable], "after what is wrong with it");
    assert_eq!(rig.take(Event::Apply(bad("a"))), [unreadable], "what is wrong is said once");
    assert_eq!(rig.take(Event::Apply(good("a"))), ["gone spec.hosts", "apply a"]);
    let unknown = object("a", &json!({"hosts": ["a"], "hots": []}));
    assert_eq!(rig.take(Event::Apply(unknown)), ["problem VirtualService ns/a: spec.hots: unknown field", "apply a"]);
    assert_eq!(rig.take(Event::Delete(good("a"))), ["delete VirtualService ns/a", "gone spec.hots"]);
}

#[test]
fn what_is_forbidden_names_the_rule() {
    let mut rig = Rig::new();
    let rule = "forbidden: a rule must allow verb \"list\" on resource \"virtualservices\" of API group \
                \"networking.istio.io\"";
    for _ in 0..2 {
        assert!(!rig.watch.take(Ok(Event::Init)).is_absent());
        assert!(!rig.watch.take(Err(Error::InitialListFailed(api_error(403)))).is_absent());
    }
    assert_eq!(rig.lines(), [format!("problem watch of virtualservices.networking.istio.io: {rule}")]);
    assert_eq!(rig.readiness.waiting_for(), [format!("virtualservices.networking.istio.io: {rule}")]);
    rig.take(Event::Init);
    let gone = r#"gone Watch("virtualservices.networking.istio.io")"#;
    assert_eq!(rig.take(Event::InitDone), ["reset [] kept ", gone]);
    assert!(rig.readiness.is_ready());
}

#[test]
fn an_absent_or_expired_kind_is_no_problem() {
    let mut rig = Rig::new();
    assert!(rig.watch.take(Err(Error::InitialListFailed(api_error(404)))).is_absent());
    let expired = Status { code: 410, ..Status::default() };
    assert!(!rig.watch.take(Err(Error::WatchError(Box::new(expired)))).is_absent());
    assert!(rig.lines().is_empty());
}
