//! Secrets that a client asked for and is not given.

use std::{collections::BTreeMap, sync::Arc};

use super::{Permission, SecretGate, subscription::Lag};
use crate::snapshot::Name;

/// Those of one stream, as long as what is known of them is the same.
#[derive(Default)]
pub(super) struct Withheld {
    all: BTreeMap<Name, Entry>,
    denied: Vec<Name>,
}

struct Entry {
    /// What the client has.
    lag: Lag,
    /// Whether it was told that it is denied.
    told: bool,
}

impl Withheld {
    /// A secret is not sent.
    pub(super) fn put(&mut self, name: Name, lag: Lag, permission: Permission) {
        self.keep(name, Entry { lag, told: false }, permission);
    }

    fn keep(&mut self, name: Name, mut entry: Entry, permission: Permission) {
        if permission == Permission::Denied && !entry.told {
            entry.told = true;
            self.denied.push(Arc::clone(&name));
        }
        self.all.insert(name, entry);
    }

    /// A secret changed: it is looked at again.
    pub(super) fn take(&mut self, name: &str) -> Option<Lag> {
        self.all.remove(name).map(|entry| entry.lag)
    }

    /// Those that the client may have now.
    pub(super) fn release(&mut self, gate: &SecretGate) -> Vec<(Name, Lag)> {
        let mut released = Vec::new();
        for (name, entry) in std::mem::take(&mut self.all) {
            match gate(&name) {
                Permission::Granted => released.push((name, entry.lag)),
                permission => self.keep(name, entry, permission),
            }
        }
        released
    }

    /// Those that were found to be denied since the last call.
    pub(super) fn take_denied(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.denied)
    }
}
