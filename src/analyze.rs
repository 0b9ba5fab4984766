//! What is wrong between objects: each may be right, and together they do not do what they say. What translation itself
//! runs into is told by the engine (`engine/checks.rs` and others); here is what would go unnoticed.
//!
//! ```text
//!  engine inputs ──────────────────────┐
//!                                      ├──► World ──► one file per subject ──► Problems
//!  Surroundings: Pods, templates,      │
//!  whom objects are for, Gateway API ──┘
//! ```

mod destination_rules;
mod gateways;
mod injection;
mod mtls;
mod references;
mod selectors;
mod services;
mod shadow;
mod workload;
mod world;

#[cfg(test)]
mod tests;

pub use self::{
    workload::{Workload, WorkloadKind},
    world::{GATEWAY_API, GATEWAY_API_KINDS, GatewayApi, Surroundings, World},
};
use crate::model::{Code, ObjectRef, Problem};

/// All that is wrong between the objects of a world, by object and field.
#[must_use]
pub fn analyze(world: &World) -> Vec<Problem> {
    let mut found = Found::default();
    let subjects = [
        gateways::check,
        shadow::check,
        destination_rules::check,
        services::check,
        selectors::check,
        references::check,
        mtls::check,
        injection::check,
    ];
    for check in subjects {
        check(world, &mut found);
    }
    found.0.sort();
    found.0.dedup();
    found.0
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, code: Code, object: &ObjectRef, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Problem { object: object.clone(), field: field.into(), reason: reason.into(), code });
    }
}
