//! The streams that are connected, by class: what concerns a resource concerns the streams of the classes that have it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::clients::Client;
use crate::snapshot::{ClassId, ResourceType, Snapshot, Version};

/// Streams that have the same.
struct Class {
    /// The newest that one of them was given.
    newest: Arc<Snapshot>,
    members: BTreeMap<u64, Arc<Client>>,
}

/// All classes that somebody is of. A stream is entered when it is attached, and changes over when its proxy does.
#[derive(Default)]
pub(super) struct Classes {
    all: Mutex<HashMap<ClassId, Class>>,
}

impl Classes {
    /// A stream is given a snapshot: its first one, or one in the place of one of class `before`.
    pub(super) fn follow(&self, number: u64, client: &Arc<Client>, before: Option<ClassId>, newest: &Arc<Snapshot>) {
        let mut all = self.all();
        if let Some(before) = before.filter(|before| *before != newest.class) {
            remove(&mut all, before, number);
        }
        let new = || Class { newest: Arc::clone(newest), members: BTreeMap::new() };
        let class = all.entry(newest.class).or_insert_with(new);
        if class.newest.generation <= newest.generation {
            class.newest = Arc::clone(newest);
        }
        if before != Some(newest.class) {
            class.members.insert(number, Arc::clone(client));
        }
    }

    /// A stream of this class ends.
    pub(super) fn leave(&self, number: u64, class: ClassId) {
        remove(&mut self.all(), class, number);
    }

    /// The streams to which this version of a resource is, or is to be, sent. Costs a lookup for each class, and the
    /// streams.
    pub(super) fn having(&self, t: ResourceType, name: &str, version: Version) -> Vec<Arc<Client>> {
        let all = self.all();
        let has = |class: &&Class| class.newest.views[t].get(name).is_some_and(|r| r.version == version);
        all.values().filter(has).flat_map(|class| class.members.values().cloned()).collect()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ClassId, Class>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(all: &mut HashMap<ClassId, Class>, class: ClassId, number: u64) {
    let Some(left) = all.get_mut(&class) else { return };
    left.members.remove(&number);
    if left.members.is_empty() {
        all.remove(&class);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Proxy,
        xds::{
            Machine, Peer, Permission, Protocol, Settings,
            clients::Clients,
            last_good::Evidence,
            node,
            signal::Signal,
            testing::{self, snapshot},
        },
    };

    const LISTENER: ResourceType = ResourceType::Listener;

    fn proxy() -> Arc<Proxy> {
        Arc::new(node::parse(Some(&testing::node("shop", "web"))).expect("a node"))
    }

    /// A stream that has just begun.
    fn enter(clients: &Clients, snapshot: &Arc<Snapshot>) -> (u64, Arc<Signal>, Arc<Client>) {
        let (number, signal) = clients.begin();
        let gate = Box::new(|_: &str| Permission::Granted);
        let machine = Machine::new(Protocol::Delta, Arc::clone(snapshot), gate, Settings::default(), "n".to_owned());
        let client = clients.enter(
            number,
            &signal,
            proxy(),
            &Peer { address: None, identities: Vec::new(), tls: false },
            machine,
        );
        (number, signal, client)
    }

    /// Streams of a class that has a listener, and `others` of a class that has another version of it.
    fn refusals(others: usize) -> (usize, usize) {
        let clients = Clients::default();
        let [concerned, other] =
            [("lds l@2", 1), ("lds l@1", 2)].map(|(text, class)| Arc::new(snapshot(text).of_class(class)));
        let own: Vec<_> = (0..3).map(|_| enter(&clients, &concerned)).collect();
        let rest: Vec<_> = (0..others).map(|_| enter(&clients, &other)).collect();
        let bad = concerned.views[LISTENER].get("l").expect("it is there").clone();
        let having = clients.having(LISTENER, &bad.name, bad.version).len();
        for identity in ["a", "b"] {
            let refused = Evidence::Refused { resource_type: LISTENER, resource: Arc::clone(&bad), kept: None };
            clients.hear(Some(&identity.into()), vec![refused]);
        }
        assert!(own.iter().all(|(_, signal, _)| signal.take()), "those whom it concerns are woken");
        (having, rest.iter().filter(|(_, signal, _)| signal.take()).count())
    }

    #[test]
    fn a_refusal_costs_nothing_to_those_whom_it_does_not_concern() {
        for others in [100, 10_000] {
            assert_eq!(refusals(others), (3, 0), "{others}");
        }
    }

    #[test]
    fn streams_that_change_class_or_end_are_found_where_they_are() {
        let clients = Clients::default();
        let [one, two] = ["lds l@1", "lds l@2"].map(|text| Arc::new(snapshot(text)));
        let version = |of: &Snapshot| of.views[LISTENER].get("l").expect("it is there").version;
        let (one_version, two_version) = (version(&one), version(&two));
        let [one, two] =
            [(one, 1), (two, 2)].map(|(s, class)| Arc::new(Arc::into_inner(s).expect("the only one").of_class(class)));
        let (number, _, client) = enter(&clients, &one);
        let count = |version| clients.having(LISTENER, "l", version).len();
        assert_eq!((count(one_version), count(two_version)), (1, 0));
        clients.follow(number, &client, 1, &two);
        assert_eq!((count(one_version), count(two_version)), (0, 1));
        clients.leave(number, 2);
        assert_eq!((count(one_version), count(two_version)), (0, 0));
    }
}
