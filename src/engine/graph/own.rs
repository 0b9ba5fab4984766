//! Parts that are assembled by a query: few resources, of one class of proxies.

use std::hash::{BuildHasher, Hash};

use crate::snapshot::{Name, PartMap, PartState, Slot};

/// The result of such a query.
#[derive(Clone, Debug)]
pub struct OwnPart(pub PartState);

impl OwnPart {
    /// Collects resources; a name without a resource is left out. The identity of the part is its query's.
    #[must_use]
    pub fn of(query: &(impl Hash + 'static), items: impl Iterator<Item = (Name, Slot)>) -> Self {
        let id = foldhash::fast::FixedState::default().hash_one((std::any::type_name_of_val(query), query));
        let map: PartMap = items.filter(|(_, slot)| slot.is_some()).collect();
        Self(PartState { id, map })
    }
}

impl PartialEq for OwnPart {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id && self.0.map == other.0.map
    }
}
