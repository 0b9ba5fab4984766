//! Nodes and the typed tables that hold their keys and values. A kind of node and its table come into being with the
//! first node.

use std::{
    any::{Any, TypeId},
    sync::Arc,
};

use super::{
    super::{
        Emit, Input, Key, OwnPart, Query, Set,
        node::{Node, NodeId},
        set::{Emission, SetRow},
        table::{Row, Table},
    },
    Db, InputTable, QueryTable, SetTable,
    kind::Kind,
};
use crate::snapshot::Slot;

impl Db {
    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id).expect("edges lead to live nodes")
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(id).expect("edges lead to live nodes")
    }

    pub(super) fn row(&self, id: NodeId) -> u32 {
        self.node(id).row
    }

    pub(super) fn table<T: Any>(&mut self) -> &mut T {
        let kind = self.kind_of[&TypeId::of::<T>()];
        self.tables[kind as usize].downcast_mut().expect("a kind has one table type")
    }

    pub(super) fn kind<T: Any + Send + Default>(&mut self, make: impl FnOnce() -> Kind) -> u16 {
        if let Some(kind) = self.kind_of.get(&TypeId::of::<T>()) {
            return *kind;
        }
        let kind = u16::try_from(self.kinds.len()).expect("there are fewer than 65,536 types of nodes");
        self.kinds.push(make());
        self.tables.push(Box::<T>::default());
        self.kind_of.insert(TypeId::of::<T>(), kind);
        kind
    }

    pub(super) fn new_node(&mut self, kind: u16) -> NodeId {
        self.nodes.insert(Node::new(kind, u32::MAX))
    }

    /// Takes a node's row out of its table. Another row moves into its place, so nobody may keep the number of a row
    /// beyond the end of a node; none ends during an evaluation.
    pub(super) fn remove_row<K: Key, P: Send + 'static>(&mut self, row: u32) -> Row<K, P> {
        let (removed, moved) = self.table::<Table<K, P>>().remove(row);
        if let Some(moved) = moved {
            self.node_mut(moved).row = row;
        }
        removed
    }

    pub(super) fn input_kind<I: Input>(&mut self) -> u16 {
        self.kind::<InputTable<I>>(|| Kind {
            holds: |db, row| db.peek_table::<InputTable<I>>().row(row).payload.is_some(),
            object: |db, row| db.peek_table::<InputTable<I>>().row(row).key.object(),
            ..Kind::inert(std::any::type_name::<I>(), 0, |db, row| drop(db.remove_row::<I, Option<Arc<I::Value>>>(row)))
        })
    }

    pub(super) fn input_node<I: Input>(&mut self, key: &I) -> NodeId {
        let kind = self.input_kind::<I>();
        if let Some(id) = self.table::<InputTable<I>>().find(key) {
            return id;
        }
        let id = self.new_node(kind);
        let row = self.table::<InputTable<I>>().insert(key.clone(), id, None);
        self.node_mut(id).row = row;
        id
    }

    pub(super) fn query_node<Q: Query>(&mut self, key: &Q) -> NodeId {
        let kind = self.kind::<QueryTable<Q>>(|| Kind {
            run: Self::run_query::<Q>,
            has: |db, row, object| {
                db.peek_table::<QueryTable<Q>>().row(row).payload.as_ref().is_none_or(|value| Q::has(value, object))
            },
            resource: |db, row| {
                let value = db.peek_table::<QueryTable<Q>>().row(row).payload.as_ref();
                value.and_then(|v| (v as &dyn Any).downcast_ref::<Slot>().cloned().flatten())
            },
            assembled: |db, row, name| {
                let value = db.peek_table::<QueryTable<Q>>().row(row).payload.as_ref()?;
                (value as &dyn Any).downcast_ref::<OwnPart>()?.0.map.get(name).cloned().flatten()
            },
            ..Kind::inert(std::any::type_name::<Q>(), Q::STAGE, |db, row| {
                drop(db.remove_row::<Q, Option<Q::Value>>(row));
            })
        });
        self.keyed_query_node::<Q>(kind, key)
    }

    pub(super) fn emission_node<E: Emit>(&mut self, key: &Emission<E>) -> NodeId {
        let kind = self.kind::<QueryTable<Emission<E>>>(|| Kind {
            run: Self::run_emission::<E>,
            ..Kind::inert(std::any::type_name::<E>(), E::STAGE, Self::free_emission::<E>)
        });
        self.keyed_query_node::<Emission<E>>(kind, key)
    }

    pub(super) fn keyed_query_node<Q: Query>(&mut self, kind: u16, key: &Q) -> NodeId {
        if let Some(id) = self.table::<QueryTable<Q>>().find(key) {
            return id;
        }
        let id = self.new_node(kind);
        let row = self.table::<QueryTable<Q>>().insert(key.clone(), id, None);
        self.node_mut(id).row = row;
        self.mark(id);
        id
    }

    pub(super) fn set_node<S: Set>(&mut self, key: &S) -> NodeId {
        let kind = self.kind::<SetTable<S>>(|| Kind {
            holds: |db, row| {
                let set = &db.peek_table::<SetTable<S>>().row(row).payload;
                !set.elems.is_empty() || !set.parts.is_empty()
            },
            ..Kind::inert(std::any::type_name::<S>(), S::STAGE, |db, row| drop(db.remove_row::<S, SetRow<S>>(row)))
        });
        if let Some(id) = self.table::<SetTable<S>>().find(key) {
            return id;
        }
        let id = self.new_node(kind);
        let row = self.table::<SetTable<S>>().insert(key.clone(), id, SetRow::default());
        self.node_mut(id).row = row;
        id
    }

    pub(super) fn peek_table<T: Any>(&self) -> &T {
        let kind = self.kind_of[&TypeId::of::<T>()];
        self.tables[kind as usize].downcast_ref().expect("a kind has one table type")
    }
}
