//! Which version of each object was read: a side table, as none of it changes what proxies have (design §2 truth 6).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    api::{Kind, Object},
    model::ObjectRef,
};

/// The kinds of whose objects it is known which proxies have them.
pub const PROGRAMMED: [Kind; 3] = [Kind::Gateway, Kind::VirtualService, Kind::DestinationRule];

/// The kinds whose objects have conditions.
pub fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| kind.is_custom())
}

/// One of them, by its name.
#[must_use]
pub fn kind_of(name: &str) -> Option<Kind> {
    kinds().find(|kind| kind.kind() == name)
}

/// Whether it is known of objects of a kind which proxies have them.
#[must_use]
pub fn is_programmed(kind: &str) -> bool {
    PROGRAMMED.iter().any(|programmed| programmed.kind() == kind)
}

/// Which version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `metadata.uid`: an object of the same name that was made anew has another one.
    pub uid: Arc<str>,
    /// `metadata.generation`, which the API server raises when the object says something else.
    pub generation: i64,
    /// Whether it could be read; if not, what is known of the object is of an earlier version, if anything is.
    pub is_read: bool,
}

impl Identity {
    /// Of an object that has conditions.
    #[must_use]
    pub fn of(object: &Object) -> Option<Self> {
        let meta = object.meta();
        let uid = meta.uid.as_deref().filter(|_| object.kind().is_custom())?;
        Some(Self { uid: uid.into(), generation: meta.generation.unwrap_or_default(), is_read: true })
    }
}

/// What a source told of an object.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is new or has changed.
    Seen(ObjectRef, Identity),
    /// Something else is wrong with it, or nothing any more.
    Touched(ObjectRef),
    /// It is gone.
    Gone(ObjectRef),
    /// The full list of a kind; those that are kept cannot be read now.
    Reset(Kind, Vec<(ObjectRef, Identity)>, Vec<ObjectRef>),
}

/// The objects that have conditions.
#[derive(Debug, Default)]
pub struct Identities(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    known: BTreeMap<ObjectRef, Identity>,
    /// Those of which something may have to be told.
    touched: BTreeSet<ObjectRef>,
}

impl Identities {
    /// Takes what a source told. To be called when the engine takes the same.
    pub fn take(&self, event: Event) {
        let mut table = self.table();
        match event {
            Event::Seen(object, identity) => table.put(object, identity),
            Event::Touched(object) => drop(table.touched.insert(object)),
            Event::Gone(object) => table.remove(object),
            Event::Reset(kind, live, kept) => {
                let stays: BTreeSet<&ObjectRef> = live.iter().map(|(object, _)| object).chain(&kept).collect();
                let of_kind = table.known.keys().filter(|object| object.kind == kind.kind());
                let gone: Vec<ObjectRef> = of_kind.filter(|object| !stays.contains(object)).cloned().collect();
                gone.into_iter().for_each(|object| table.remove(object));
                live.into_iter().for_each(|(object, identity)| table.put(object, identity));
            }
        }
    }

    /// Something else is to be told of an object, if it has conditions.
    pub fn touch(&self, object: &ObjectRef) {
        if kind_of(object.kind).is_some() {
            self.table().touched.insert(object.clone());
        }
    }

    /// The objects touched since the last call.
    #[must_use]
    pub fn take_touched(&self) -> BTreeSet<ObjectRef> {
        std::mem::take(&mut self.table().touched)
    }

    /// Which version of an object was read last; `None` when it is gone.
    #[must_use]
    pub fn get(&self, object: &ObjectRef) -> Option<Identity> {
        self.table().known.get(object).cloned()
    }

    /// The first objects after one, or of all, of which proxies may have come to have more or less.
    #[must_use]
    pub fn after(&self, object: Option<&ObjectRef>, most: usize) -> Vec<ObjectRef> {
        let from = object.map_or(Bound::Unbounded, Bound::Excluded);
        let table = self.table();
        let after = table.known.range::<ObjectRef, _>((from, Bound::Unbounded)).map(|(object, _)| object);
        after.filter(|object| is_programmed(object.kind)).take(most).cloned().collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn put(&mut self, object: ObjectRef, identity: Identity) {
        if self.known.get(&object) != Some(&identity) {
            self.touched.insert(object.clone());
            self.known.insert(object, identity);
        }
    }

    fn remove(&mut self, object: ObjectRef) {
        if self.known.remove(&object).is_some() {
            self.touched.insert(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(generation: i64) -> Identity {
        Identity { uid: "u".into(), generation, is_read: true }
    }

    #[test]
    fn only_what_says_something_else_is_touched() {
        let all = Identities::default();
        let [a, b] = ["a", "b"].map(|name| ObjectRef::new("Gateway", "ns", name));
        all.take(Event::Reset(Kind::Gateway, vec![(a.clone(), identity(1)), (b.clone(), identity(1))], Vec::new()));
        assert_eq!(all.take_touched(), BTreeSet::from([a.clone(), b.clone()]));
        all.take(Event::Seen(a.clone(), identity(1)));
        assert!(all.take_touched().is_empty(), "its metadata was edited, or its status");
        all.take(Event::Seen(a.clone(), identity(2)));
        assert_eq!((all.take_touched().len(), all.get(&a)), (1, Some(identity(2))));
        let unread = Identity { is_read: false, ..identity(2) };
        all.take(Event::Seen(a.clone(), unread.clone()));
        assert_eq!((all.take_touched().len(), all.get(&a)), (1, Some(unread)), "the same can be read no more");
        all.take(Event::Touched(a.clone()));
        assert_eq!(all.take_touched(), BTreeSet::from([a.clone()]));
        all.take(Event::Reset(Kind::Gateway, Vec::new(), vec![a.clone()]));
        assert_eq!((all.take_touched(), all.get(&b)), (BTreeSet::from([b]), None));
        all.touch(&ObjectRef::new("Service", "ns", "s"));
        assert!(all.take_touched().is_empty());
        let entry = ObjectRef::new("ServiceEntry", "ns", "e");
        all.take(Event::Seen(entry.clone(), identity(1)));
        assert_eq!(all.take_touched(), BTreeSet::from([entry]), "which is not swept");
        assert_eq!((all.after(None, 9), all.after(Some(&a), 9)), (vec![a], Vec::new()));
    }
}
