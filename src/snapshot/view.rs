//! Parts (what proxies share), views (what one class of proxies sees of a type) and snapshots (all types).

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use imbl::{OrdMap, ordmap::DiffItem};

use super::{Name, Resource, TypeMap};

/// Numbers the engine's rounds within this process. Never compared across replicas.
pub type Generation = u64;

/// Identifies a part for as long as it exists; never reused.
pub type PartId = u64;

/// What a part says of a name: a resource, or that there is none (which hides that of a part below).
pub type Slot = Option<Arc<Resource>>;

/// The content of a part.
pub type PartMap = OrdMap<Name, Slot>;

/// A part at one moment. Cloning is free, and two states of one part share what did not change.
#[derive(Clone, Debug)]
pub struct PartState {
    /// Which part it is.
    pub id: PartId,
    /// What it held.
    pub map: PartMap,
}

/// The resources of one type that a class of proxies sees: parts in layers, the first that holds a name
/// decides.
#[derive(Clone, Debug, Default)]
pub struct View {
    layers: Arc<[PartState]>,
}

impl View {
    /// A view of layers, the deciding one first.
    #[must_use]
    pub fn new(layers: Vec<PartState>) -> Self {
        Self { layers: layers.into() }
    }

    /// Of which parts it is made, the deciding one first.
    pub fn parts(&self) -> impl Iterator<Item = PartId> {
        self.layers.iter().map(|layer| layer.id)
    }

    /// The resource of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.layers.iter().find_map(|l| l.map.get(name)).and_then(Option::as_ref)
    }

    /// How many names its layers hold, one that several hold counted each time.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.layers.iter().map(|l| l.map.len()).sum()
    }

    /// All resources by name. Costs what the view holds.
    #[must_use]
    pub fn resources(&self) -> BTreeMap<Name, Arc<Resource>> {
        let mut all: BTreeMap<Name, Slot> = BTreeMap::new();
        for layer in self.layers.iter().rev() {
            all.extend(layer.map.iter().map(|(n, s)| (n.clone(), s.clone())));
        }
        all.into_iter().filter_map(|(n, s)| s.map(|r| (n, r))).collect()
    }

    /// The virtual hosts of a route configuration. Costs what it has.
    pub fn hosts_of<'a>(&'a self, route_configuration: &str) -> impl Iterator<Item = &'a Arc<Resource>> {
        let prefix = format!("{route_configuration}/");
        self.layers.iter().enumerate().flat_map(move |(i, layer)| {
            let (uppers, prefix) = (&self.layers[..i], prefix.clone());
            let from = (Bound::Included(&*prefix), Bound::Unbounded);
            let of_it: Vec<_> = layer.map.range::<_, str>(from).take_while(|(n, _)| n.starts_with(&*prefix)).collect();
            let hidden = move |name: &Name| uppers.iter().any(|upper| upper.map.contains_key(name));
            of_it.into_iter().filter_map(move |(n, slot)| slot.as_ref().filter(|_| !hidden(n)))
        })
    }

    /// Calls `visit` with each resource once, in no particular order.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<Resource>)) {
        for (i, layer) in self.layers.iter().enumerate() {
            for (name, slot) in &layer.map {
                let hidden = self.layers[..i].iter().any(|upper| upper.map.contains_key(name));
                if let (false, Some(resource)) = (hidden, slot) {
                    visit(resource);
                }
            }
        }
    }

    /// The names whose resource differs between `older` and this view. Costs what differs while both are made
    /// of the same parts, else the size of the parts that are not in both.
    #[must_use]
    pub fn changed_since(&self, older: &Self) -> BTreeSet<Name> {
        let mut touched = BTreeSet::new();
        for new in self.layers.iter() {
            match older.layers.iter().find(|old| old.id == new.id) {
                Some(old) => touched.extend(old.map.diff(&new.map).map(|item| match item {
                    DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => {
                        name.clone()
                    }
                })),
                None => touched.extend(new.map.keys().cloned()),
            }
        }
        for old in older.layers.iter().filter(|old| !self.layers.iter().any(|new| new.id == old.id)) {
            touched.extend(old.map.keys().cloned());
        }
        touched.retain(|name| {
            self.get(name).map(|r| (r.version, &r.refs)) != older.get(name).map(|r| (r.version, &r.refs))
        });
        touched
    }

    /// Whether both are the same states of the same parts (cheap; `false` does not say that they differ).
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.layers, &other.layers)
            || self.layers.len() == other.layers.len()
                && self.layers.iter().zip(other.layers.iter()).all(|(a, b)| a.id == b.id && a.map.ptr_eq(&b.map))
    }
}

/// Proxies that have the same. Numbers are not used again.
pub type ClassId = u64;

/// Everything a class of proxies sees, consistent across types: the result of one engine round.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The round that made it.
    pub generation: Generation,
    /// One view per type.
    pub views: TypeMap<View>,
    /// Of which class of proxies it is; 0 where there are no classes.
    pub class: ClassId,
    /// What differs in newer ones, the last that were asked for: streams of a class go on to few. It is kept here, because
    /// it holds what only this snapshot has, and so ends when the last stream has gone on.
    changes: Mutex<VecDeque<Compared>>,
}

/// What differs in a newer snapshot: compared once, by the first stream that asks.
#[derive(Debug)]
struct Compared {
    /// Its address stays taken as long as this refers to it.
    newer: Weak<Snapshot>,
    changes: Arc<OnceLock<Arc<Changes>>>,
}

/// With how many newer ones a snapshot remembers to have been compared.
const COMPARED: usize = 16;

/// What differs between two snapshots.
#[derive(Debug)]
pub struct Changes {
    /// The names whose resources differ, ascending, each with what the older snapshot says.
    pub names: TypeMap<Vec<(Name, Slot)>>,
    derived: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Changes {
    /// What a reader makes of them, made once for all who share them. There can be one kind of reader: another one gets
    /// `None`.
    pub fn derive<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.derived.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl Snapshot {
    /// The snapshot of a class.
    #[must_use]
    pub fn new(generation: Generation, views: TypeMap<View>) -> Self {
        Self { generation, views, ..Self::default() }
    }

    /// The same, of a class of proxies.
    #[must_use]
    pub fn of_class(self, class: ClassId) -> Self {
        Self { class, ..self }
    }

    /// What differs between `older` and this snapshot. All streams of a class that come from the same one share the
    /// answer.
    #[must_use]
    pub fn changed_since(self: &Arc<Self>, older: &Self) -> Arc<Changes> {
        let changes = older.compared(self);
        Arc::clone(changes.get_or_init(|| Arc::new(self.compare(older))))
    }

    fn compared(&self, newer: &Arc<Self>) -> Arc<OnceLock<Arc<Changes>>> {
        let mut all = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| std::ptr::eq(known.newer.as_ptr(), Arc::as_ptr(newer))) {
            return Arc::clone(&known.changes);
        }
        if all.len() == COMPARED {
            all.pop_front();
        }
        let new = Compared { newer: Arc::downgrade(newer), changes: Arc::default() };
        let changes = Arc::clone(&new.changes);
        all.push_back(new);
        changes
    }

    fn compare(&self, older: &Self) -> Changes {
        let names = TypeMap::from_fn(|t| {
            let (new, old) = (&self.views[t], &older.views[t]);
            let names = if new.same_as(old) { BTreeSet::new() } else { new.changed_since(old) };
            names.into_iter().map(|name| (Arc::clone(&name), old.get(&name).cloned())).collect()
        });
        Changes { names, derived: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Encoder, Refs, ResourceType};

    fn resource(name: &str, body: &str) -> Slot {
        Some(Arc::new(Encoder::bytes(ResourceType::Cluster, name.into(), body.to_owned().into(), Refs::default())))
    }

    fn part(id: PartId, entries: &[(&str, Slot)]) -> PartState {
        PartState { id, map: entries.iter().map(|(n, s)| (Name::from(*n), s.clone())).collect() }
    }

    #[test]
    fn upper_layers_override_and_hide() {
        let base = part(1, &[("a", resource("a", "1")), ("b", resource("b", "1"))]);
        let view = View::new(vec![part(2, &[("a", None), ("b", resource("b", "2"))]), base]);
        assert!(view.get("a").is_none());
        assert_eq!(view.get("b").map(|r| r.version), resource("b", "2").map(|r| r.version));
        assert_eq!(view.resources().len(), 1);
        let mut visited = 0;
        view.for_each(|_| visited += 1);
        assert_eq!(visited, 1);
    }

    #[test]
    fn a_change_below_an_override_is_no_change() {
        let top = part(2, &[("a", resource("a", "top"))]);
        let old = View::new(vec![top.clone(), part(1, &[("a", resource("a", "1"))])]);
        let new = View::new(vec![top, part(1, &[("a", resource("a", "2")), ("c", resource("c", "1"))])]);
        assert_eq!(new.changed_since(&old).into_iter().collect::<Vec<_>>(), [Name::from("c")]);
        assert!(old.changed_since(&old.clone()).is_empty());
    }

    #[test]
    fn streams_that_go_on_to_the_same_snapshot_share_what_differs() {
        let make = |generation, body: &str| {
            let view = View::new(vec![part(1, &[("a", resource("a", body)), ("b", resource("b", "1"))])]);
            Arc::new(Snapshot::new(generation, TypeMap::from_fn(|_| view.clone())))
        };
        let old = make(0, "old");
        let news: Vec<_> = (1..=COMPARED as u64).map(|n| make(n, &n.to_string())).collect();
        let first: Vec<_> = news.iter().map(|new| new.changed_since(&old)).collect();
        for (new, first) in news.iter().zip(&first) {
            assert!(Arc::ptr_eq(first, &new.changed_since(&old)));
            let [(name, before)] = &*first.names[ResourceType::Cluster] else { panic!("{first:?}") };
            let expected = old.views[ResourceType::Cluster].get("a").map(|r| r.version);
            assert_eq!((&**name, before.as_ref().map(|r| r.version)), ("a", expected));
        }
        // One more drops the one that was asked for longest ago.
        drop(make(99, "another").changed_since(&old));
        assert!(!Arc::ptr_eq(&first[0], &news[0].changed_since(&old)));
    }

    #[test]
    fn what_differs_ends_with_the_older_one() {
        let of = |body| {
            let view = View::new(vec![part(1, &[("a", resource("a", body))])]);
            Arc::new(Snapshot::new(1, TypeMap::from_fn(|_| view.clone())))
        };
        let (old, new) = (of("old"), of("new"));
        let changes = Arc::downgrade(&new.changed_since(&old));
        assert!(changes.upgrade().is_some());
        drop(old);
        assert!(changes.upgrade().is_none(), "the old resources are free");
    }
}
