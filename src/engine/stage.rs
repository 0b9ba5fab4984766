//! The order of evaluation: each stage reads lower ones only, which the compiler checks.

/// Settings of the mesh and of namespaces that many queries look at.
pub(super) const SETTING: u8 = 1;
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
/// Hosts and rules that Sidecar objects import.
pub(super) const IMPORT: u8 = 7;
/// Emitters over imported rules.
pub(super) const RULE_EMIT: u8 = 8;
/// What imported rules name; what exists of an imported host.
pub(super) const RULE: u8 = 9;
/// Emitters of the elements of layers.
pub(super) const LAYER_EMIT: u8 = 10;
/// Layers of clusters and virtual hosts; contributions to listeners.
pub(super) const LAYER: u8 = 11;
/// Resources and pieces of resources; parts of them are one stage above.
pub(super) const ITEM: u8 = 12;
/// Emitters that tell which layers there are.
pub(super) const LAYERS_EMIT: u8 = 12;
/// Which layers there are, and what they distinguish.
pub(super) const LAYERS: u8 = 13;
/// Emitters of listeners, over the contributions to them.
pub(super) const LISTENER_EMIT: u8 = 12;
/// Layers of listeners.
pub(super) const LISTENER_LAYER: u8 = 13;
/// Listeners; parts of them are one stage above. Resources that are assembled of other items.
pub(super) const LISTENER: u8 = 14;
/// See [`LISTENER`].
pub(super) const ASSEMBLY: u8 = 14;
/// Which parts a proxy has.
pub(super) const ENROL: u8 = 16;
/// What proxies with the same parts have.
pub(super) const CLASS: u8 = 17;
