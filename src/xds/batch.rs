//! What all streams of a class lag behind by when their snapshot changes, and the response that follows: made once.
//!
//! Only for assignments: these change most, and nothing holds them back. A stream at rest neither looks at their names nor
//! keeps any of its own, whether one has changed or a thousand.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    send::version_of,
    subscription::{Have, Lag, Sent, Watch},
};
use crate::snapshot::{Changes, Name, Resource, ResourceType, Snapshot, Version};

/// Assignments that changed together. Each is there before and after.
#[derive(Debug)]
pub(super) struct Batch {
    /// What a client lags behind by.
    pub(super) lags: BTreeMap<Name, Lag>,
    /// The same, as a response that was sent.
    pub(super) items: Arc<[Sent]>,
    /// What the response holds.
    pub(super) resources: Arc<[Arc<Resource>]>,
    /// The hash of names and versions.
    pub(super) version: Version,
}

impl Batch {
    /// The batch of a change, unless some assignment has appeared or is gone: then each stream has to look.
    pub(super) fn of(changes: &Changes, old: &Snapshot, new: &Snapshot) -> Option<Arc<Self>> {
        changes.derive(|| Self::new(changes, old, new).map(Arc::new))?.clone()
    }

    fn new(changes: &Changes, old: &Snapshot, new: &Snapshot) -> Option<Self> {
        const ASSIGNMENT: ResourceType = ResourceType::Endpoint;
        let (before, after) = (&old.views[ASSIGNMENT], &new.views[ASSIGNMENT]);
        let sent = |name: &Name| {
            let (had, resource) = (before.get(name)?, Arc::clone(after.get(name)?));
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
        let lags = items.iter().map(|item| (Arc::clone(&item.name), item.not_had(false))).collect();
        let resources: Arc<[_]> = items.iter().filter_map(|item| item.resource.clone()).collect();
        let version = version_of(&resources, &[]);
        (!items.is_empty()).then_some(Self { lags, items, resources, version })
    }

    /// Whether the client had asked for all of it, and lags behind by nothing else.
    pub(super) fn is_for(&self, watch: &Watch) -> bool {
        watch.lagging.is_empty() && (watch.wildcard || self.lags.keys().all(|name| watch.subscribed(name)))
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
        let new = Arc::new(Snapshot::after(&old, 1, snapshot(after).views));
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
