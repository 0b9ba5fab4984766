//! What the graph can do with a node whose type it forgot.

use std::sync::Arc;

use super::{super::node::NodeId, Db};
use crate::{model::ObjectRef, snapshot::Resource};

/// What the engine can do with a node whose type it forgot.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) stage: u8,
    /// Brings a dirty node up to date.
    pub(super) run: fn(&mut Db, NodeId),
    /// Removes a node's row and undoes what it did to others, its reads excepted.
    pub(super) free: fn(&mut Db, u32),
    /// Whether it must stay although nobody reads it.
    pub(super) holds: fn(&Db, u32) -> bool,
    /// Tells a part which of its items changed.
    pub(super) item_changed: fn(&mut Db, NodeId, NodeId),
    /// The object that an input stands for.
    pub(super) object: fn(&Db, u32) -> Option<ObjectRef>,
    /// Whether something of an object is in what a node has.
    pub(super) has: fn(&Db, u32, &ObjectRef) -> bool,
    /// The resource that a query results in.
    pub(super) resource: fn(&Db, u32) -> Option<Arc<Resource>>,
    /// The resource of a name in the part that a query assembles.
    pub(super) assembled: fn(&Db, u32, &str) -> Option<Arc<Resource>>,
    /// The items of a part that have a name.
    pub(super) items: fn(&Db, u32, &str) -> Vec<NodeId>,
}

impl Kind {
    /// A kind whose nodes hold nothing, change nothing and stand for nothing.
    pub(super) fn inert(name: &'static str, stage: u8, free: fn(&mut Db, u32)) -> Self {
        Self {
            name,
            stage,
            run: |_, _| {},
            free,
            holds: |_, _| false,
            item_changed: |_, _, _| {},
            object: |_, _| None,
            has: |_, _, _| true,
            resource: |_, _| None,
            assembled: |_, _, _| None,
            items: |_, _, _| Vec::new(),
        }
    }
}
