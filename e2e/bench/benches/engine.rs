//! The engine's spike (design §1): 10,000 services seen by 100 classes of proxies, each with a variant of its own.
//!
//! `cargo bench -p mizzen-bench --bench engine`

use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mizzen::{
    engine::graph::{Cx, Db, Emission, Emit, Input, Layer, Query, Set},
    snapshot::{Encoder, Name, PartState, Refs, ResourceType, Slot},
};

const SERVICES: u32 = 10_000;
const CLASSES: u32 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Endpoints(u32);
impl Input for Endpoints {
    type Value = Vec<u32>;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct All;
impl Set for All {
    type Elem = u32;
    const STAGE: u8 = 2;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitAll(u32);
impl Emit for EmitAll {
    type Into = All;
    const STAGE: u8 = 1;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(All, u32)> {
        vec![(All, self.0)]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Assignment {
    service: u32,
    class: u32,
}
impl Query for Assignment {
    type Value = Slot;
    const STAGE: u8 = 3;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        let endpoints = cx.input(&Endpoints(self.service)).unwrap_or_default();
        let body: Vec<u8> = endpoints.iter().flat_map(|e| (e ^ self.class).to_be_bytes()).collect();
        let name = self.service.to_string().into();
        Some(Arc::new(Encoder::bytes(ResourceType::Endpoint, name, body.into(), Refs::default())))
    }
}

impl Layer for All {
    type Facets = u32;
    type Item = Assignment;
    fn item(&self, elem: &u32, class: &u32) -> (Name, Assignment) {
        (elem.to_string().into(), Assignment { service: *elem, class: *class })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Class(u32);
#[derive(Clone)]
struct Part(PartState);
impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.0.map.ptr_eq(&other.0.map)
    }
}
impl Query for Class {
    type Value = Part;
    const STAGE: u8 = 5;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Part {
        Part(cx.part(&All, &self.0))
    }
}

fn filled(services: u32) -> Db {
    let mut db = Db::default();
    db.emit_for_input::<Endpoints, EmitAll>(|e| EmitAll(e.0));
    (0..services).for_each(|s| db.set_input(&Endpoints(s), Some(vec![s, 1, 2, 3, 4])));
    db.settle();
    db
}

fn spike(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    group.sample_size(20);
    for services in [100, 1_000, SERVICES] {
        let mut db = filled(services);
        (0..CLASSES).for_each(|class| drop(db.watch(&Class(class))));
        let mut turn = 0;
        group.bench_function(format!("one endpoint, {services} services x {CLASSES} classes"), |b| {
            b.iter(|| {
                turn += 1;
                db.set_input(&Endpoints(turn % services), Some(vec![turn, 7]));
                db.settle()
            });
        });
    }
    group.sample_size(10);
    group.bench_function(format!("one class of {SERVICES} services appears"), |b| {
        b.iter_batched_ref(|| filled(SERVICES), |db| drop(db.watch(&Class(1))), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, spike);
criterion_main!(benches);
