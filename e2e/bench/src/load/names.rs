//! Names and versions as numbers: thousands of clients have the same thousands of resources, and a number takes four
//! bytes where two strings would take a hundred.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Stands for a string.
pub(super) type Id = NonZeroU32;

/// The strings of all clients. Never forgets one: runs are short.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<Arc<str>, Id>,
    texts: Vec<Arc<str>>,
}

impl Names {
    pub(super) fn id(&mut self, text: &str) -> Id {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        let id = u32::try_from(self.texts.len()).ok().and_then(Id::new).expect("there are fewer than 2^32 names");
        self.ids.insert(text, id);
        id
    }

    pub(super) fn text(&self, id: Id) -> &Arc<str> {
        &self.texts[id.get() as usize - 1]
    }
}

/// What clients share; locked once per response. Names are apart from versions, so that they are numbered densely.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    pub(super) names: Names,
    pub(super) versions: Names,
}

/// A [`Dictionary`] of many clients.
#[derive(Debug, Default)]
pub(super) struct SharedNames(Mutex<Dictionary>);

impl SharedNames {
    pub(super) fn lock(&self) -> MutexGuard<'_, Dictionary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A map from names to numbers that costs four bytes per name: every client has nearly all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    values: Vec<Option<Id>>,
}

impl Table {
    pub(super) fn insert(&mut self, name: Id, value: Id) -> Option<Id> {
        let index = name.get() as usize;
        if index >= self.values.len() {
            self.values.resize(index + 1, None);
        }
        self.values[index].replace(value)
    }

    pub(super) fn remove(&mut self, name: Id) -> Option<Id> {
        self.values.get_mut(name.get() as usize)?.take()
    }

    pub(super) fn contains(&self, name: Id) -> bool {
        self.values.get(name.get() as usize).is_some_and(Option::is_some)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, Id)> {
        (0u32..).zip(&self.values).filter_map(|(name, value)| Some((Id::new(name)?, (*value)?)))
    }
}
