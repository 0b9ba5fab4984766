//! Reconnects: what proxies of a class say that they have is the same, thousands of versions, and right. It is compared with
//! the snapshot once, and known again by its hash.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use foldhash::quality::RandomState;

use super::{Request, names::NameSet};
use crate::snapshot::{ResourceType, Snapshot};

/// A snapshot is known by its address, which stays taken as long as somebody refers to it, even weakly.
type Key = (ResourceType, usize);

/// What a request asks for and claims, in short: in any order, as clients keep both in hash maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    names: (usize, u64),
    versions: (usize, u64),
}

impl Mark {
    /// That of a request without names which means those of another type.
    pub(super) fn of(self, names: &NameSet) -> Self {
        Self { names: (names.len(), names.sum()), ..self }
    }
}

#[derive(Debug)]
struct Resumption {
    _snapshot: Weak<Snapshot>,
    mark: Mark,
    names: NameSet,
    /// Since the last sweep.
    used: AtomicBool,
}

/// The last request of each type by which a client came back that had all that a snapshot says.
#[derive(Debug, Default)]
pub struct Resumptions {
    /// Whoever sends requests may be hostile: hashes differ from process to process.
    hasher: RandomState,
    all: Mutex<HashMap<Key, Arc<Resumption>>>,
}

impl Resumptions {
    /// What is remembered of a request; nothing where it has to be looked at each time.
    pub(super) fn mark(&self, t: ResourceType, request: &Request<'_>) -> Option<Mark> {
        // Each client has secrets of its own.
        let is_usual = t != ResourceType::Secret && !request.versions.is_empty() && request.unsubscribed.is_empty();
        is_usual.then(|| Mark {
            names: (request.names.len(), self.sum(&request.names)),
            versions: (request.versions.len(), self.sum(&request.versions)),
        })
    }

    fn sum<T: std::hash::Hash>(&self, all: &[T]) -> u64 {
        all.iter().fold(0, |sum, one| sum.wrapping_add(self.hasher.hash_one(one)))
    }

    /// The names of a watch whose client has all that the snapshot says, if such a request was found right before.
    pub(super) fn recall(&self, t: ResourceType, snapshot: &Arc<Snapshot>, mark: Mark) -> Option<NameSet> {
        let known = self.all().get(&key(t, snapshot)).filter(|known| known.mark == mark).cloned()?;
        known.used.store(true, Ordering::Relaxed);
        Some(known.names.clone())
    }

    /// A client that sent such a request is owed nothing.
    pub(super) fn keep(&self, t: ResourceType, snapshot: &Arc<Snapshot>, mark: Mark, names: &NameSet) {
        let (names, used) = (names.clone(), AtomicBool::new(true));
        let resumption = Resumption { _snapshot: Arc::downgrade(snapshot), mark, names, used };
        self.all().insert(key(t, snapshot), resumption.into());
    }

    /// Forgets what nobody came back with since the last call. To be called now and then.
    pub(super) fn sweep(&self) {
        let mut all = self.all();
        all.retain(|_, known| known.used.swap(false, Ordering::Relaxed));
        all.shrink_to_fit();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Arc<Resumption>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(t: ResourceType, snapshot: &Arc<Snapshot>) -> Key {
    (t, Arc::as_ptr(snapshot).addr())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

    use super::*;
    use crate::xds::{
        Machine, Protocol,
        testing::{Script, give, snapshot},
    };

    const CONTENT: &str = "cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | eds c@1";
    const CLUSTER: ResourceType = ResourceType::Cluster;
    const ENDPOINT: ResourceType = ResourceType::Endpoint;

    struct House {
        resumptions: Arc<Resumptions>,
        snapshot: Arc<Snapshot>,
    }

    impl House {
        fn new(content: &str) -> Self {
            Self { resumptions: Arc::default(), snapshot: Arc::new(snapshot(content)) }
        }

        /// A client that comes back with names, some of which (`!`) with a version that is not right.
        fn resume(&self, t: ResourceType, names: &[&str]) -> Machine {
            let mut machine = Script::new(Protocol::Delta).machine;
            machine.resumptions = Arc::clone(&self.resumptions);
            machine.set_snapshot(&self.snapshot);
            let version = |name: &str| match name.strip_suffix('!') {
                Some(name) => (name.to_owned(), "0".to_owned()),
                None => {
                    let resource = self.snapshot.views[t].get(name);
                    (name.to_owned(), resource.map_or("0".into(), |r| r.version.to_string()))
                }
            };
            let request = DeltaDiscoveryRequest {
                resource_names_subscribe: match t.is_wildcard() {
                    true => Vec::new(),
                    false => names.iter().map(|n| n.trim_end_matches('!').to_owned()).collect(),
                },
                initial_resource_versions: names.iter().map(|name| version(name)).collect(),
                ..DeltaDiscoveryRequest::default()
            };
            give(&mut machine, t, &request, Instant::now());
            machine
        }

        fn owed(&self, t: ResourceType, names: &[&str]) -> String {
            let response = self.resume(t, names).next_response(Instant::now());
            response.map_or_else(String::new, |response| {
                let sent = response.resources.iter().map(|r| r.name.to_string());
                sent.chain(response.removed.iter().map(|n| format!("-{n}"))).collect::<Vec<_>>().join(" ")
            })
        }

        fn known(&self) -> usize {
            self.resumptions.all().len()
        }
    }

    #[test]
    fn who_has_everything_is_known_again_and_is_served_what_changes() {
        let house = House::new(CONTENT);
        let [one, other] = [0, 1].map(|_| house.resume(ENDPOINT, &["a", "b"]));
        assert_eq!(house.known(), 1);
        assert_eq!(one.subscription(ENDPOINT), other.subscription(ENDPOINT));
        let new = Arc::new(Snapshot::new(1, snapshot("eds a@1 | eds b@2 | eds c@2").views));
        for mut machine in [one, other] {
            assert!(machine.next_response(Instant::now()).is_none());
            machine.set_snapshot(&new);
            let response = machine.next_response(Instant::now()).expect("b has changed");
            assert_eq!(response.resources.iter().map(|r| &*r.name).collect::<Vec<_>>(), ["b"]);
        }
    }

    #[test]
    fn each_is_owed_what_it_lacks() {
        let house = House::new(CONTENT);
        for (names, owed) in [
            (&["a", "b"][..], ""),
            (&["a", "b!"], "b"),
            (&["a", "b"], ""),
            (&["a", "c"], ""),
            (&["a", "gone"], "-gone"),
            (&["b", "a"], ""),
        ] {
            assert_eq!(house.owed(ENDPOINT, names), owed, "{names:?}");
        }
        let removing = house.resume(CLUSTER, &["a", "b", "gone"]);
        assert_eq!((removing.held_removals(CLUSTER), house.known()), (1, 1), "it is owed a removal");
        for (names, owed) in [(&["a", "b"][..], ""), (&["a"], "b"), (&["a", "b!"], "b"), (&["a", "b"], "")] {
            assert_eq!(house.owed(CLUSTER, names), owed, "{names:?}");
        }
    }

    #[test]
    fn another_snapshot_is_compared_again() {
        let mut house = House::new(CONTENT);
        let versions = house.resume(ENDPOINT, &["a", "b"]).contents(ENDPOINT);
        let mut changed = House::new("eds a@1 | eds b@2");
        changed.resumptions = Arc::clone(&house.resumptions);
        assert_eq!(changed.owed(ENDPOINT, &["a", "b"]), "");
        // The former versions, to a server that has the new ones.
        std::mem::swap(&mut house.snapshot, &mut changed.snapshot);
        assert_eq!(versions.len(), 2);
        assert_eq!(house.known(), 2);
        house.resumptions.sweep();
        assert_eq!(house.known(), 2, "they were used since");
        house.resumptions.sweep();
        assert_eq!(house.known(), 0);
    }
}
