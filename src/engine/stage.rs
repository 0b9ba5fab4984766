//! The order of evaluation: each stage reads lower ones only, which the compiler checks.

/// Emitters over inputs.
pub(super) const INDEX_EMIT: u8 = 1;
/// Sets of keys, found by what others look them up by.
pub(super) const INDEX: u8 = 2;
/// Facts about single objects: members of a slice, winners of a host.
pub(super) const FACT: u8 = 3;
/// Facts made of facts: members of a service, rules of a host.
pub(super) const FACT2: u8 = 4;
/// What a client namespace sees of a host.
pub(super) const OUTLOOK: u8 = 5;
/// What exists of a host for clients of a namespace.
pub(super) const PLAN: u8 = 6;
/// Emitters of what Sidecar objects import.
pub(super) const IMPORT_EMIT: u8 = 6;
/// Hosts that Sidecar objects import.
pub(super) const IMPORT: u8 = 7;
/// Emitters of the elements of layers.
pub(super) const LAYER_EMIT: u8 = 8;
/// Layers.
pub(super) const LAYER: u8 = 9;
/// Resources and pieces of resources.
pub(super) const ITEM: u8 = 10;
/// Resources that are made of parts or of other items; parts of items are one stage above [`ITEM`].
pub(super) const ASSEMBLY: u8 = 12;
/// Which parts a proxy has.
pub(super) const ENROL: u8 = 14;
/// What proxies with the same parts have.
pub(super) const CLASS: u8 = 15;
/// What one proxy has.
pub(super) const PROXY: u8 = 16;
