//! What it costs to judge an object, by kind; and objects of a megabyte.
//!
//! `cargo bench -p mizzen-bench --bench validate`

use std::{cell::Cell, fs, hint::black_box, path::Path};

use criterion::{Criterion, criterion_group, criterion_main};
use mizzen::{
    api::Kind,
    validate::{Context, validate},
};
use mizzen_e2e::large_objects;
use serde::Deserialize;
use serde_json::Value;

/// Objects of a kind as users write them: those that its definition is tested with.
fn samples(kind: Kind) -> Vec<Value> {
    let file = format!("../fixtures/crds/accept/{}.yaml", kind.plural());
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the objects of a kind");
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|document| Value::deserialize(document).expect("an object")).filter(Value::is_object).collect()
}

fn kinds(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate an object");
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_custom()) {
        let (samples, next) = (samples(kind), Cell::new(0));
        group.bench_function(kind.kind(), |b| {
            b.iter(|| {
                next.set((next.get() + 1) % samples.len());
                black_box(validate(&samples[next.get()], &Context::default()))
            });
        });
    }
}

fn large(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate a megabyte");
    group.sample_size(10);
    for (what, object) in large_objects() {
        group.bench_function(what, |b| b.iter(|| black_box(validate(&object, &Context::default()))));
    }
}

criterion_group!(benches, kinds, large);
criterion_main!(benches);
