//! Routes of sidecars.
use super::{
    graph::{Cx, Query},
    scope::Scope,
};
use crate::{
    model::{Proxy, mesh::OutboundPolicy},
    snapshot::PartState,
};
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RouteFacts {
    policy: OutboundPolicy,
}
impl RouteFacts {
    pub(super) fn of<Q: Query>(_cx: &mut Cx<'_, Q>, _proxy: &Proxy, policy: OutboundPolicy) -> Self {
        Self { policy }
    }
}
pub(super) fn parts<Q: Query>(_cx: &mut Cx<'_, Q>, _s: &[Scope], _f: &RouteFacts) -> Vec<PartState> {
    Vec::new()
}
