//! Clusters that every proxy of a kind has (translation §4.1).

use std::sync::Arc;

use super::{
    graph::{Cx, OwnPart, Query},
    services::mesh,
    stage,
};
use crate::{
    model::IpFamilies,
    translate::clusters::{black_hole, inbound_passthrough, passthrough},
};

/// The built-in clusters of gateways (`None`), or of sidecars with these IP families.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BuiltinClusters(pub(super) Option<IpFamilies>);

impl Query for BuiltinClusters {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let mesh = mesh(cx);
        let clusters = match self.0 {
            None => vec![black_hole(&mesh)],
            Some(families) => {
                vec![black_hole(&mesh), passthrough(&mesh), inbound_passthrough(&mesh, families)]
            }
        };
        let items = clusters.into_iter().map(|cluster| {
            let resource = cluster.resource();
            (resource.name.clone(), Some(Arc::new(resource)))
        });
        OwnPart::of(self, items)
    }
}
