//! The table of names that the control plane tells (NDS; contract §6.3): taken from streams of configuration, read by the
//! server of names.

mod place;
mod table;

use std::sync::Arc;

use tokio::sync::watch;

pub use self::{
    place::Place,
    table::{Addresses, Found, Table},
};
use crate::pb::nds::NameTable;

/// A table as it came.
#[derive(Debug)]
pub struct Known {
    /// The name of its resource.
    pub resource: String,
    /// Its version; empty where the control plane gives resources none.
    pub version: String,
    /// What it says.
    pub names: NameTable,
    /// The same, to look names up in.
    pub table: Table,
}

/// Takes tables.
#[derive(Debug)]
pub struct Learner {
    place: Place,
    known: watch::Sender<Option<Arc<Known>>>,
}

/// Gives the newest table; none before the first one has come.
pub type Lookup = watch::Receiver<Option<Arc<Known>>>;

impl Learner {
    /// One that knows nothing yet, and where what it learns can be read.
    #[must_use]
    pub fn new(place: Place) -> (Self, Lookup) {
        let (known, lookup) = watch::channel(None);
        (Self { place, known }, lookup)
    }

    /// The newest table.
    #[must_use]
    pub fn known(&self) -> Option<Arc<Known>> {
        self.known.borrow().clone()
    }

    /// Takes a table in place of the last one.
    pub fn learn(&self, resource: String, version: String, names: NameTable) {
        let table = Table::new(&names, &self.place);
        self.known.send_replace(Some(Arc::new(Known { resource, version, names, table })));
    }
}
