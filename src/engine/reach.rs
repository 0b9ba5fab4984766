//! Whom an object concerns: the classes of proxies that have something made of it. Asked for its status, not on the way of a
//! change.

use super::{
    classes::Classes,
    graph::{Db, Watched},
    inputs::{DestinationRules, Gateways, NamespacedName, VirtualServices},
};
use crate::{
    model::{ObjectRef, Problem},
    snapshot::{ClassId, Generation},
};

/// What the engine knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The object.
    pub object: ObjectRef,
    /// The round in which what it says changed last; `None` when it has no effect at all.
    pub changed: Option<Generation>,
    /// The classes of proxies that have something made of it, each with the generation of its newest snapshot.
    pub classes: Vec<(ClassId, Generation)>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// What is known of objects. Kinds whose objects have no status of this sort concern nobody.
pub(super) fn reach(db: &mut Db, classes: &Classes, objects: Vec<ObjectRef>) -> Vec<Reach> {
    let known = |object: ObjectRef| {
        let found = dependants(db, &object);
        let (changed, watched) = found.map_or((None, Vec::new()), |(changed, watched)| (Some(changed), watched));
        let classes = watched.into_iter().filter_map(|query| classes.newest(query)).collect();
        let problems = db.problems_of(&object).cloned().collect();
        Reach { object, changed, classes, problems }
    };
    objects.into_iter().map(known).collect()
}

fn dependants(db: &mut Db, object: &ObjectRef) -> Option<(Generation, Vec<Watched>)> {
    let key = NamespacedName::of(object);
    match object.kind {
        "Gateway" => db.dependants(&Gateways(key)),
        "VirtualService" => db.dependants(&VirtualServices(key)),
        "DestinationRule" => db.dependants(&DestinationRules(key)),
        _ => None,
    }
}
