//! What proxies are given: encoded resources, the parts that proxies share, and the views made of them.
//!
//! ```text
//!  Resource ──name──► PartMap (persistent map, one per shared part)
//!                        │ layered: the first part that holds a name decides
//!                        ▼
//!                      View (one per xDS type) ──► Snapshot (one per class of proxies, generation n)
//! ```
//!
//! Everything here is immutable and shared by reference count. Comparing two states of a part costs what
//! differs between them, not what they hold: the maps share their unchanged nodes.

mod canonical;
mod encode;
mod map_fields;
mod resource;
mod types;
mod view;

pub use encode::{Encoder, canonical_bytes, canonical_bytes_of, canonical_field, pack_any};
pub use resource::{Name, Refs, Resource, Version, host_name_parts, host_resource_name};
pub use types::{ResourceType, TypeMap};
pub use view::{Changes, ClassId, Generation, PartId, PartMap, PartState, Slot, Snapshot, View};
