//! Listeners of sidecars.
use super::{
    graph::{Cx, Query},
    own::OwnPart,
    scope::{Scope, SidecarScope},
};
use crate::{
    model::{Labels, Proxy, Sidecar},
    snapshot::ResourceType,
};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListenerClass {
    scopes: Vec<Scope>,
}
impl ListenerClass {
    pub(super) fn of<Q: Query>(
        _cx: &mut Cx<'_, Q>,
        _proxy: &Proxy,
        _labels: &Labels,
        scopes: Vec<Scope>,
        _s: Option<(SidecarScope, Arc<Sidecar>)>,
    ) -> Self {
        Self { scopes }
    }
    pub(super) fn own_part<Q: Query>(self: &Arc<Self>, _cx: &mut Cx<'_, Q>, _t: ResourceType) -> Option<OwnPart> {
        None
    }
}
