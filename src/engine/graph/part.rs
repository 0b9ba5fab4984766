//! Layers and parts: one item per element of a set, collected in a persistent map.

use hashbrown::HashMap;

use super::{Key, Query, Set, node::NodeId};
use crate::snapshot::{Name, PartId, PartMap, Slot};

/// A set whose elements become resources.
pub trait Layer: Set {
    /// The facets of a proxy that the items need; equal facets share a part.
    type Facets: Key;
    /// Makes the resource of one element, or says that there is none.
    type Item: Query<Value = Slot>;
    /// The name and the query of an element. Elements of a set have distinct names.
    fn item(&self, elem: &Self::Elem, facets: &Self::Facets) -> (Name, Self::Item);
}

/// The key of a part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PartKey<L: Layer> {
    pub(super) layer: L,
    pub(super) facets: L::Facets,
}

/// The state of a part.
#[derive(Debug)]
pub(super) struct PartRow {
    pub(super) id: PartId,
    pub(super) map: PartMap,
    pub(super) names: HashMap<NodeId, Name, foldhash::fast::FixedState>,
    /// Items that changed or are new in this round.
    pub(super) pending: Vec<NodeId>,
    /// Names whose element is gone.
    pub(super) removed: Vec<Name>,
}
