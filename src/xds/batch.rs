//! What many streams of a class lag behind by, and the response that follows: made once for all of them.
//!
//! - When their snapshot changes: assignments, since these change most and nothing holds them back. A stream at rest
//!   neither looks at their names nor keeps any of its own, whether one has changed or a thousand.
//! - When they connect: all that they ask for ([`super::openings`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use super::{
    names::NameSet,
    send::version_of,
    subscription::{Have, Lag, Sent, Watch},
};
use crate::snapshot::{Changes, Name, Resource, ResourceType, Slot, Snapshot, Version, View};

/// Resources that are to be sent together.
#[derive(Debug)]
pub(super) struct Batch {
    /// By name.
    pub(super) items: Arc<[Sent]>,
    /// What the response holds.
    pub(super) resources: Arc<[Arc<Resource>]>,
    /// The hash of names and versions.
    pub(super) version: Version,
    /// What a client lags behind by: made when one lags behind by something else besides, which is rare.
    lags: OnceLock<BTreeMap<Name, Lag>>,
    /// The names that the first client asked for which asked for all of it: most others have that very list.
    asked: OnceLock<NameSet>,
}

impl Batch {
    fn new(items: Arc<[Sent]>) -> Self {
        let resources: Arc<[_]> = items.iter().filter_map(|item| item.resource.clone()).collect();
        let version = version_of(&resources, &[]);
        Self { items, resources, version, lags: OnceLock::new(), asked: OnceLock::new() }
    }

    /// All that a client without anything asks for, unless some of it does not exist.
    pub(super) fn of_all(asked: &BTreeMap<Name, Lag>, view: &View) -> Option<Self> {
        let sent = |(name, lag): (&Name, &Lag)| {
            let resource = Some(Arc::clone(view.get(name)?));
            Some(Sent { name: Arc::clone(name), resource, have: Have::Nothing, forced: lag.forced, since: lag.since })
        };
        asked.iter().map(sent).collect::<Option<_>>().map(Self::new)
    }

    /// The batch of a change, unless some assignment has appeared or is gone: then each stream has to look.
    pub(super) fn of(changes: &Changes, old: &Snapshot, new: &Snapshot) -> Option<Arc<Self>> {
        changes.derive(|| Self::of_assignments(changes, old, new).map(Arc::new))?.clone()
    }

    fn of_assignments(changes: &Changes, old: &Snapshot, new: &Snapshot) -> Option<Self> {
        const ASSIGNMENT: ResourceType = ResourceType::Endpoint;
        let after = &new.views[ASSIGNMENT];
        let sent = |(name, had): &(Name, Slot)| {
            let (had, resource) = (had.as_ref()?, Arc::clone(after.get(name)?));
            let have = Have::Resource(Arc::clone(had));
            // What differs in what it refers to only is not sent.
            (had.version != resource.version).then(|| Sent {
                name: Arc::clone(name),
                resource: Some(resource),
                have,
                forced: false,
                since: old.generation,
            })
        };
        let items: Arc<[Sent]> = changes.names[ASSIGNMENT].iter().map(sent).collect::<Option<_>>()?;
        (!items.is_empty()).then(|| Self::new(items))
    }

    /// Whether the client has asked for all of it.
    pub(super) fn is_for(&self, watch: &Watch) -> bool {
        if watch.wildcard || self.asked.get().is_some_and(|names| names.is_one_with(&watch.names)) {
            return true;
        }
        let all = self.items.iter().all(|item| watch.subscribed(&item.name));
        if all {
            self.asked.get_or_init(|| watch.names.clone());
        }
        all
    }

    /// What a client lags behind by.
    pub(super) fn lags(&self) -> &BTreeMap<Name, Lag> {
        let lag = |item: &Sent| (Arc::clone(&item.name), item.not_had(item.forced));
        self.lags.get_or_init(|| self.items.iter().map(lag).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::xds::{
        Protocol, Response,
        testing::{Script, snapshot},
    };

    /// Streams of a class, each of which has what it asks for, and then the next snapshot.
    fn streams(names: &[&str], after: &str) -> (Vec<Script>, Vec<Response>) {
        let old = Arc::new(snapshot("eds a@1 | eds b@1 | eds c@1"));
        let new = Arc::new(Snapshot::new(1, snapshot(after).views));
        let connect = |names: &&str| {
            let mut script = Script::new(Protocol::Delta);
            script.machine.set_snapshot(&old);
            script.run(&format!("> eds {names}\n< eds {names}\nack eds"));
            script.machine.set_snapshot(&new);
            script
        };
        let mut streams: Vec<Script> = names.iter().map(connect).collect();
        let answer = |script: &mut Script| script.machine.next_response(Instant::now()).expect("a response");
        let responses = streams.iter_mut().map(answer).collect();
        (streams, responses)
    }

    fn said(response: &Response) -> String {
        let names = response.resources.iter().map(|r| r.name.to_string());
        names.chain(response.removed.iter().map(|n| format!("-{n}"))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_a_class_is_sent_is_one_in_memory() {
        let (mut streams, responses) = streams(&["a b c", "a b", "b c"], "eds a@2 | eds b@2 | eds c@1");
        assert_eq!(responses.iter().map(said).collect::<Vec<_>>(), ["a b", "a b", "b"]);
        assert!(Arc::ptr_eq(&responses[0].resources, &responses[1].resources));
        assert_eq!((responses[0].version, &*responses[0].nonce), (responses[1].version, &*responses[1].nonce));
        // One refuses it: what is found out then concerns nobody else.
        let [first, second, _] = &mut streams[..] else { panic!("three streams") };
        first.answer(ResourceType::Endpoint, &responses[0].nonce, Some("no"));
        second.answer(ResourceType::Endpoint, &responses[1].nonce, None);
        first.run("< eds a\n< eds b\nack eds\nnack eds no\n! eds b refused no");
        second.run("= eds a@2 | eds b@3 | eds c@1\n< eds b\nack eds");
    }

    #[test]
    fn where_one_is_gone_or_new_each_looks_for_itself() {
        let (_, responses) = streams(&["a b", "c"], "eds a@2 | eds b@1 | eds d@1");
        assert_eq!(responses.iter().map(said).collect::<Vec<_>>(), ["a", "-c"]);
    }
}
