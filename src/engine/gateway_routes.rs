//! Route configurations of gateways.
use super::{
    gateways::RouterClass,
    graph::{Cx, Query},
    stage,
};
use crate::{
    snapshot::{Name, Slot},
    translate::listeners::{gateway::MergedServer, tcp::TcpRoute},
};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GatewayRoute {
    pub(super) class: Arc<RouterClass>,
    pub(super) name: Name,
}
impl Query for GatewayRoute {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, _cx: &mut Cx<'_, Self>) -> Slot {
        None
    }
}
pub(super) fn tcp_routes<Q: Query>(_cx: &mut Cx<'_, Q>, _class: &RouterClass, _server: &MergedServer) -> Vec<TcpRoute> {
    Vec::new()
}
