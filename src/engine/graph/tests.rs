//! The engine alone, on a toy of endpoints: correctness, work done, memory given back.

use std::sync::Arc;

use super::*;
use crate::{
    model::{Code, ObjectRef, Problem},
    snapshot::{Encoder, Name, PartMap, PartState, Refs, ResourceType, Slot},
};

/// service → weights of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Endpoints(u32);
impl Input for Endpoints {
    type Value = Vec<u32>;
    fn object(&self) -> Option<ObjectRef> {
        Some(ObjectRef::new("Service", "", &self.0.to_string()))
    }
}

/// service → the class that it is private to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Private(u32);
impl Input for Private {
    type Value = u32;
}

/// All services that a class sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Visible(Option<u32>);
impl Set for Visible {
    type Elem = u32;
    const STAGE: u8 = 2;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitVisible(u32);
impl Emit for EmitVisible {
    type Into = Visible;
    const STAGE: u8 = 1;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Visible, u32)> {
        let private = cx.input(&Private(self.0));
        vec![(Visible(private.map(|p| *p)), self.0)]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sum(u32);
impl Query for Sum {
    type Value = u32;
    const STAGE: u8 = 1;
    fn run(&self, cx: &mut Cx<'_, Self>) -> u32 {
        let endpoints = cx.input(&Endpoints(self.0)).unwrap_or_default();
        if endpoints.contains(&0) {
            let reason = "weight 0".to_owned();
            cx.problem(Problem {
                object: ObjectRef::new("Service", "", &self.0.to_string()),
                field: String::new(),
                reason,
                code: Code::WeightsZero,
            });
        }
        endpoints.iter().sum()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Assignment {
    service: u32,
    zone: u32,
}
impl Query for Assignment {
    type Value = Slot;
    const STAGE: u8 = 3;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        let body = format!("{} {}", cx.get(&Sum(self.service)), self.zone);
        let name = self.service.to_string().into();
        Some(Arc::new(Encoder::bytes(ResourceType::Endpoint, name, body.into(), Refs::default())))
    }
}

impl Layer for Visible {
    type Facets = u32;
    type Item = Assignment;
    fn item(&self, elem: &u32, zone: &u32) -> (Name, Assignment) {
        (elem.to_string().into(), Assignment { service: *elem, zone: *zone })
    }
}

/// What a class of proxies has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Class(u32);
#[derive(Clone)]
struct Parts(Vec<PartState>);
impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a.id == b.id && a.map.ptr_eq(&b.map))
    }
}
impl Query for Class {
    type Value = Parts;
    const STAGE: u8 = 5;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Parts {
        Parts(vec![cx.part(&Visible(Some(self.0)), &self.0), cx.part(&Visible(None), &self.0)])
    }
}

/// The classes that see something of their own, and `None` when there is something that everybody sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Classes;
impl Set for Classes {
    type Elem = Option<u32>;
    const STAGE: u8 = 4;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitClass(Visible);
impl Emit for EmitClass {
    type Into = Classes;
    const STAGE: u8 = 3;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(Classes, Option<u32>)> {
        vec![(Classes, self.0.0)]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AllClasses;
impl Query for AllClasses {
    type Value = Arc<[Option<u32>]>;
    const STAGE: u8 = 5;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        cx.set(&Classes)
    }
}

fn db() -> Db {
    let mut db = Db::default();
    db.emit_for_input::<Endpoints, EmitVisible>(|e| EmitVisible(e.0));
    db
}

fn fill(db: &mut Db, services: u32) {
    (0..services).for_each(|s| db.set_input(&Endpoints(s), Some(vec![s, 1, 2])));
    db.settle();
}

fn bodies(map: &PartMap) -> Vec<String> {
    map.values().flatten().map(|r| String::from_utf8_lossy(&r.body_bytes()).into_owned()).collect()
}

#[test]
fn origins_are_objects_that_exist_with_their_last_change() {
    let mut db = db();
    fill(&mut db, 3);
    let (watched, _) = db.watch(&Class(7));
    db.set_input(&Endpoints(1), Some(vec![9]));
    let changed = db.settle().generation;
    let all = db.value::<Class>(watched).0[1].map.clone();
    let of = |db: &mut Db, nth: usize| {
        let resource = all.values().flatten().nth(nth).expect("a resource").clone();
        db.origins(watched, &resource.name, resource.version).into_iter().collect::<Vec<_>>()
    };
    let service = |n: u32| ObjectRef::new("Service", "", &n.to_string());
    assert_eq!(of(&mut db, 1), [(service(1), changed)]);
    assert_eq!(of(&mut db, 2), [(service(2), 1)]);
    assert_eq!(db.input_count::<Endpoints>(), 3);
    db.set_input(&Endpoints(2), None);
    assert_eq!(of(&mut db, 2), [], "it is gone");
    assert_eq!(db.input_count::<Endpoints>(), 2);
}

#[test]
fn a_change_travels_to_those_who_read_it_and_no_further() {
    let mut db = db();
    fill(&mut db, 3);
    let (watched, before) = db.watch(&Class(7));
    assert_eq!(bodies(&before.0[1].map), ["3 7", "4 7", "5 7"]);
    let at_rest = db.stats();

    db.set_input(&Endpoints(1), Some(vec![9]));
    assert_eq!(db.settle().watched, [watched]);
    assert_eq!(bodies(&db.value::<Class>(watched).0[1].map), ["3 7", "9 7", "5 7"]);
    let changed = db.stats();
    assert_eq!(changed.queries_run - at_rest.queries_run, 3, "the sum, the assignment, the class");
    assert_eq!(changed.parts_patched - at_rest.parts_patched, 1);

    db.set_input(&Endpoints(1), Some(vec![4, 5]));
    assert_eq!(db.settle().watched, [], "an equal sum stops the change");
    assert_eq!(db.stats().queries_run - changed.queries_run, 1);

    db.set_input(&Endpoints(1), Some(vec![4, 5]));
    db.settle();
    assert_eq!(db.stats().queries_run - changed.queries_run, 1, "an equal input costs nothing");
}

#[test]
fn an_element_moves_between_sets() {
    let mut db = db();
    fill(&mut db, 2);
    let (watched, before) = db.watch(&Class(7));
    assert_eq!((before.0[0].map.len(), before.0[1].map.len()), (0, 2));
    db.set_input(&Private(1), Some(7));
    db.settle();
    let after = db.value::<Class>(watched);
    assert_eq!((bodies(&after.0[0].map), bodies(&after.0[1].map)), (vec!["4 7".into()], vec!["3 7".into()]));
    db.set_input(&Private(1), None);
    db.set_input(&Endpoints(0), None);
    db.settle();
    let after = db.value::<Class>(watched);
    assert_eq!((after.0[0].map.len(), bodies(&after.0[1].map)), (0, vec!["4 7".into()]));
}

#[test]
fn a_set_has_an_emitter_as_long_as_it_has_elements() {
    let mut db = db();
    db.emit_for_sets::<Visible, EmitClass>(|set| EmitClass(set.clone()));
    fill(&mut db, 3);
    let (watched, all) = db.watch(&AllClasses);
    assert_eq!(*all, [None]);
    let at_rest = db.stats();
    db.set_input(&Endpoints(3), Some(vec![1]));
    assert_eq!(db.settle().watched, [], "one more element tells nothing new");
    assert_eq!(db.stats().queries_run - at_rest.queries_run, 1, "the emitter of the element");
    for (private, classes) in [(Some(7), &[None, Some(7)][..]), (Some(8), &[None, Some(8)]), (None, &[None])] {
        db.set_input(&Private(1), private);
        db.settle();
        assert_eq!(*db.value::<AllClasses>(watched), *classes, "{private:?}");
    }
    (0..4).for_each(|service| db.set_input(&Endpoints(service), None));
    db.settle();
    assert_eq!(*db.value::<AllClasses>(watched), []);
    db.unwatch(watched);
    db.settle();
    assert_eq!(db.stats().nodes, 0, "{:?}", db.census());
}

#[test]
fn problems_appear_once_and_vanish() {
    let mut db = db();
    fill(&mut db, 1);
    let _ = (db.watch(&Class(1)), db.watch(&Class(2)));
    db.set_input(&Endpoints(0), Some(vec![0]));
    assert_eq!(db.settle().appeared.len(), 1);
    db.set_input(&Endpoints(0), Some(vec![0, 1]));
    let round = db.settle();
    assert!(round.appeared.is_empty() && round.vanished.is_empty());
    db.set_input(&Endpoints(0), None);
    assert_eq!(db.settle().vanished.len(), 1);
    assert_eq!(db.problems().count(), 0);
}

/// The spike of design §1: 10,000 services × 100 classes with an own variant of each (1,000,000 items). Its time is
/// measured in `e2e/benches/engine.rs`; here the work and the memory.
#[test]
fn work_follows_the_change_and_nodes_are_freed() {
    for services in [100, 1_000] {
        let mut db = db();
        fill(&mut db, services);
        let empty = db.stats().nodes;
        let watched: Vec<_> = (0..100).map(|class| db.watch(&Class(class)).0).collect();
        db.settle();
        let at_rest = db.stats();
        db.set_input(&Endpoints(5), Some(vec![1_000_000]));
        assert_eq!(db.settle().watched.len(), 100);
        assert_eq!(db.stats().queries_run - at_rest.queries_run, 1 + 100 + 100, "whatever the number of services");
        watched.into_iter().for_each(|w| db.unwatch(w));
        db.settle();
        assert_eq!(db.stats().nodes, empty);
        (0..services).for_each(|s| db.set_input(&Endpoints(s), None));
        db.settle();
        assert_eq!(db.stats().nodes, 0, "{:?}", db.census());
    }
}
