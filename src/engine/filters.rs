//! EnvoyFilters: compiled once, chosen per proxy.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    checks::Checked,
    graph::{Cx, Db, Emission, Emit, Query},
    index::FiltersIn,
    inputs::{EnvoyFilters, NamespacedName},
    services::mesh,
    stage,
};
use crate::{
    model::{Labels, ObjectRef, Proxy},
    translate::filters::envoy_filter::{CompiledFilter, PatchSet, compile},
};

/// An EnvoyFilter with its values read as messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Compiled(NamespacedName);

impl Query for Compiled {
    type Value = Option<Arc<CompiledFilter>>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let filter = cx.input(&EnvoyFilters(self.0.clone()))?;
        let (compiled, problems) = compile(&filter);
        problems.into_iter().for_each(|p| cx.problem(p));
        Some(Arc::new(compiled))
    }
}

/// Reads an EnvoyFilter whether a proxy has it or not: what is wrong with it is told either way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CheckFilter(EnvoyFilters);

impl Emit for CheckFilter {
    type Into = Checked;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Checked, ())> {
        cx.get(&Compiled(self.0.0.clone()));
        Vec::new()
    }
}

/// Registers the check.
pub(super) fn register(db: &mut Db) {
    db.emit_for_input::<EnvoyFilters, CheckFilter>(|key| CheckFilter(key.clone()));
}

/// Notes what a listener was patched by: the patches come as an argument, which an explanation cannot follow.
pub(super) fn note_patches<Q: Query>(cx: &mut Cx<'_, Q>, by: &BTreeSet<ObjectRef>) {
    for object in by {
        cx.input(&EnvoyFilters(NamespacedName::of(object)));
    }
}

/// The patches for a proxy with these labels (translation §9.1).
pub(super) fn patches_for<Q: Query>(cx: &mut Cx<'_, Q>, proxy: &Proxy, labels: &Labels) -> PatchSet {
    let root = mesh(cx).root_namespace.clone();
    let mut keys = cx.set(&FiltersIn(root.clone())).to_vec();
    if root != proxy.namespace {
        keys.extend_from_slice(&cx.set(&FiltersIn(proxy.namespace.clone())));
    }
    let filters: Vec<_> = keys.into_iter().filter_map(|key| cx.get(&Compiled(key))).collect();
    if filters.is_empty() {
        return PatchSet::default();
    }
    let known = Proxy { labels: labels.clone(), ..proxy.clone() };
    PatchSet::select(filters.iter().map(AsRef::as_ref), &known, &root)
}
