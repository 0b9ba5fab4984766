//! The incremental engine: inputs, tracked queries, sets and parts, recomputed by pushing changes forward.
//!
//! ```text
//!  Input ──read by──► Query ──read by──► Query …          a change marks its readers, stage by stage,
//!    │                                                    and stops where a result is equal
//!    └─one per key──► Emit ──insert/remove──► Set ──one item per element──► Part (name -> Resource)
//! ```
//!
//! - An **input** ([`Input`]) is a relation: key → value, set from outside.
//! - A **query** ([`Query`]) is a pure function of its key and of what it reads through [`Cx`]. Every read is
//!   recorded, that of an absent key too, so nobody declares dependencies by hand.
//! - An **emitter** ([`Emit`]) is a query whose result is elements of sets. A set holds an element as long as
//!   somebody emits it; only what was inserted or removed travels on. Sets are never compared or rebuilt.
//! - A **layer** ([`Layer`]) is a set whose elements are turned into resources; a **part** is a layer seen with
//!   some facets of a proxy. A change of one element patches one entry of a persistent map.
//!
//! Each type of node has a *stage*, and may only read what has a lower stage. The compiler checks it (a `const`
//! assertion in each read), so cycles cannot be written down; processing stage by stage evaluates each node at
//! most once per round, after everything that it reads. Nodes of one stage are independent of each other.
//! Nodes that nobody reads or pins any more are freed at the end of the round.

mod cx;
mod db;
mod elems;
mod node;
mod nodes;
mod own;
mod part;
mod set;
mod table;
#[cfg(test)]
mod tests;

pub use cx::{Cx, Input, Key, Query};
pub use db::{Db, Round, Stats, Watched};
pub use own::OwnPart;
pub use part::Layer;
pub use set::{Emission, Emit, Set};
