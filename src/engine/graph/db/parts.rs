//! Parts: one item per element of a layer, patched into a persistent map when one changes.

use hashbrown::HashMap;

use super::{
    super::{Layer, Query, node::NodeId, part::PartKey, part::PartRow},
    Db, PartTable, QueryTable, SetTable,
    kind::Kind,
};
use crate::snapshot::PartMap;

impl Db {
    pub(super) fn part_element<L: Layer>(db: &mut Self, part: NodeId, elem: &L::Elem, present: bool) {
        let row = db.row(part);
        let key = db.table::<PartTable<L>>().row(row).key.clone();
        let (name, item) = key.layer.item(elem, &key.facets);
        let child = db.query_node(&item);
        let state = &mut db.table::<PartTable<L>>().row_mut(row).payload;
        if present {
            state.names.insert(child, name);
            state.pending.push(child);
            db.node_mut(child).readers.insert(part);
        } else {
            state.names.remove(&child);
            if state.names.len() * 8 < state.names.capacity() {
                state.names.shrink_to(state.names.len() * 2);
            }
            state.removed.push(name);
            db.node_mut(child).readers.remove(part);
            db.collect_later(child);
        }
        db.stats.edges_moved += 1;
        db.mark(part);
    }

    pub(super) fn run_part<L: Layer>(db: &mut Self, id: NodeId) {
        let row = db.row(id);
        let state = &mut db.table::<PartTable<L>>().row_mut(row).payload;
        let (pending, removed) = (std::mem::take(&mut state.pending), std::mem::take(&mut state.removed));
        let mut map = state.map.clone();
        let mut patched = 0;
        for name in removed {
            patched += u64::from(map.remove(&name).is_some());
        }
        for child in pending {
            let Some(name) = db.table::<PartTable<L>>().row(row).payload.names.get(&child).cloned() else { continue };
            db.refresh(child);
            let child_row = db.row(child);
            let slot = db.table::<QueryTable<L::Item>>().row(child_row).payload.clone();
            let slot = slot.expect("a refreshed query has a value");
            if map.get(&name) != Some(&slot) {
                map.insert(name, slot);
                patched += 1;
            }
        }
        db.table::<PartTable<L>>().row_mut(row).payload.map = map;
        db.stats.parts_patched += patched;
        if patched > 0 {
            db.mark_readers(id);
        }
    }

    pub(super) fn item_changed<L: Layer>(db: &mut Self, part: NodeId, item: NodeId) {
        let row = db.row(part);
        db.table::<PartTable<L>>().row_mut(row).payload.pending.push(item);
    }

    pub(super) fn free_part<L: Layer>(db: &mut Self, row: u32) {
        let removed = db.remove_row::<PartKey<L>, PartRow>(row);
        for child in removed.payload.names.keys() {
            db.node_mut(*child).readers.remove(removed.id);
            db.collect_later(*child);
        }
        let set = db.set_node(&removed.key.layer);
        let set_row = db.row(set);
        db.table::<SetTable<L>>().row_mut(set_row).payload.parts.retain(|(p, _)| *p != removed.id);
        db.collect_later(set);
    }

    pub(super) fn part_node<L: Layer>(&mut self, layer: &L, facets: &L::Facets) -> NodeId {
        const { assert!(L::STAGE < L::Item::STAGE, "items are made of elements") };
        let kind = self.kind::<PartTable<L>>(|| Kind {
            run: Self::run_part::<L>,
            item_changed: Self::item_changed::<L>,
            items: |db, row, name| {
                let part = &db.peek_table::<PartTable<L>>().row(row).payload;
                part.names.iter().filter(|(_, n)| &***n == name).map(|(id, _)| *id).collect()
            },
            ..Kind::inert(std::any::type_name::<PartKey<L>>(), L::Item::STAGE + 1, Self::free_part::<L>)
        });
        let key = PartKey { layer: layer.clone(), facets: facets.clone() };
        if let Some(id) = self.table::<PartTable<L>>().find(&key) {
            return id;
        }
        let id = self.new_node(kind);
        self.next_part += 1;
        let state = PartRow {
            id: self.next_part,
            map: PartMap::new(),
            names: HashMap::default(),
            pending: Vec::new(),
            removed: Vec::new(),
        };
        let row = self.table::<PartTable<L>>().insert(key, id, state);
        self.node_mut(id).row = row;
        let set = self.set_node(layer);
        let set_row = self.row(set);
        let set = &mut self.table::<SetTable<L>>().row_mut(set_row).payload;
        set.parts.push((id, Self::part_element::<L>));
        let elems = set.list();
        for elem in elems.iter() {
            Self::part_element::<L>(self, id, elem, true);
        }
        // Layers are large and never read as lists again: do not keep the copy.
        self.table::<SetTable<L>>().row_mut(set_row).payload.listed = None;
        id
    }
}
