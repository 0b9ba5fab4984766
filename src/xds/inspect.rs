//! What debug surfaces and metrics see of a stream's state.

use super::{Machine, Status, subscription::Watch};
use crate::snapshot::{ClassId, Generation, Name, ResourceType, Version};

/// A resource that the client does not have for a reason that does not go by itself: it refuses it, or something else stands
/// in for it as others refuse it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blocked {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its name.
    pub name: Name,
    /// The version that the client should have.
    pub version: Version,
    /// The last generation in which it had what it should have; 0 when it is not known.
    pub since: Generation,
}

impl Machine {
    /// The generation of the snapshot.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.snapshot.generation
    }

    /// The class of proxies that the snapshot is of.
    #[must_use]
    pub fn class(&self) -> ClassId {
        self.snapshot.class
    }

    /// The last generation of which the client has acknowledged everything, when that is not the snapshot's: what is on its
    /// way to it, or waits to be sent, is of a later one, and 0 when it has not asked for all types yet that there is
    /// something of. What is [`Blocked`], and what waits to be removed, does not count. Costs what is on the way.
    #[must_use]
    pub fn outstanding(&self) -> Option<Generation> {
        let asked_later = [ResourceType::Endpoint, ResourceType::Listener, ResourceType::Route];
        if asked_later.into_iter().any(|t| self.watches[t].is_none() && self.snapshot.views[t].entries() > 0) {
            return Some(0);
        }
        self.watches.iter().filter_map(|(t, watch)| self.outstanding_of(t, watch.as_ref()?)).min()
    }

    fn outstanding_of(&self, t: ResourceType, watch: &Watch) -> Option<Generation> {
        let sent = watch.in_flight.iter().flat_map(|response| response.items.iter());
        let sent = sent.filter(|item| item.resource.is_some()).map(|item| item.since);
        let lagging = watch.lagging.iter().filter(|(name, _)| match self.target(t, name) {
            Some(target) => !self.is_blocked(t, watch, name, target.version),
            None => false,
        });
        sent.chain(lagging.map(|(_, lag)| lag.since)).min()
    }

    /// What the client does not have, and does not get before something changes. Costs what it lags behind by.
    #[must_use]
    pub fn blocked(&self) -> Vec<Blocked> {
        let mut all = Vec::new();
        for (t, watch) in self.watches.iter() {
            let Some(watch) = watch else { continue };
            if watch.refused.is_empty() && self.last_good.is_empty() {
                continue;
            }
            for (name, lag) in watch.lagging.iter() {
                let Some(target) = self.target(t, name) else { continue };
                if self.is_blocked(t, watch, name, target.version) {
                    let (name, version) = (Name::clone(name), target.version);
                    all.push(Blocked { resource_type: t, name, version, since: lag.since });
                }
            }
        }
        all
    }

    fn is_blocked(&self, t: ResourceType, watch: &Watch, name: &Name, version: Version) -> bool {
        let stands_in = || self.snapshot.views[t].get(name).is_some_and(|r| self.last_good.stand_in(t, r).is_some());
        watch.refused.get(name) == Some(&version) || !self.last_good.is_empty() && stands_in()
    }

    /// The status of a type, `None` when the client does not watch it.
    #[must_use]
    pub fn status(&self, t: ResourceType) -> Option<&Status> {
        self.watches[t].as_ref().map(|w| &w.status)
    }

    /// How many names the client asked for, and whether it asked for everything.
    #[must_use]
    pub fn subscription(&self, t: ResourceType) -> Option<(usize, bool)> {
        self.watches[t].as_ref().map(|w| (w.names.len(), w.wildcard))
    }

    /// How many resources of a type are gone but not taken from the client yet.
    #[must_use]
    pub fn held_removals(&self, t: ResourceType) -> usize {
        let Some(watch) = &self.watches[t] else { return 0 };
        let view = &self.snapshot.views[t];
        watch.lagging.iter().filter(|(name, lag)| !lag.have.is_nothing() && view.get(name).is_none()).count()
    }

    /// How many resources of a type the client refuses and is not sent again.
    #[must_use]
    pub fn quarantined(&self, t: ResourceType) -> usize {
        self.watches[t].as_ref().map_or(0, |watch| watch.refused.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        snapshot::Snapshot,
        xds::{
            Protocol,
            testing::{Script, snapshot},
        },
    };

    /// A snapshot of a generation.
    fn of(generation: u64, text: &str) -> Arc<Snapshot> {
        Arc::new(Snapshot::new(generation, snapshot(text).views))
    }

    /// A client that has asked for all.
    fn connected() -> Script {
        let mut script = Script::new(Protocol::Delta);
        script.machine.set_snapshot(&of(3, "cds a@1 | lds l@1 | rds r@1"));
        script.run("> cds\n< cds a\n> lds\n< lds l\n> rds r\n< rds r\nack cds\nack lds\nack rds");
        script
    }

    #[test]
    fn what_is_on_its_way_is_outstanding_since_the_client_had_all() {
        let mut script = Script::new(Protocol::Delta);
        script.machine.set_snapshot(&of(3, "cds a@1 | lds l@1 | rds r@1"));
        script.run("> cds\n< cds a\n> lds\n< lds l\nack cds\nack lds");
        assert_eq!(script.machine.outstanding(), Some(0), "it asks for routes when it has read the listener");
        script.run("> rds r\n< rds r");
        assert_eq!(script.machine.outstanding(), Some(0));
        script.run("ack rds");
        assert_eq!((script.machine.outstanding(), script.machine.generation()), (None, 3));

        script.machine.set_snapshot(&of(5, "cds a@1 | lds l@1 | rds r@2"));
        assert_eq!(script.machine.outstanding(), Some(3), "not sent yet");
        script.run("< rds r");
        script.machine.set_snapshot(&of(8, "cds a@2 | lds l@1 | rds r@2"));
        script.run("< cds a\nack cds");
        assert_eq!(script.machine.outstanding(), Some(3));
        script.run("ack rds");
        assert_eq!(script.machine.outstanding(), None);
        // What is taken away concerns no object that is there.
        script.machine.set_snapshot(&of(9, "lds l@1 | rds r@2"));
        assert_eq!(script.machine.outstanding(), None);
    }

    #[test]
    fn what_is_refused_is_blocked_and_holds_nothing_else_up() {
        let mut script = connected();
        script.machine.set_snapshot(&of(5, "cds a@1 | lds l@2 | rds r@1"));
        script.run("< lds l\nnack lds no\n! lds l refused no");
        let blocked = script.machine.blocked();
        let [only] = &blocked[..] else { panic!("{blocked:?}") };
        assert_eq!((&*only.name, only.since, script.machine.outstanding()), ("l", 3, None));
        script.machine.set_snapshot(&of(7, "cds a@1 | lds l@2 | rds r@2"));
        script.run("< rds r");
        assert_eq!((script.machine.outstanding(), script.machine.blocked().len()), (Some(5), 1));
        script.run("ack rds");
        script.machine.set_snapshot(&of(8, "cds a@1 | lds l@1 | rds r@2"));
        script.run("! lds l withdrawn");
        assert!(script.machine.blocked().is_empty() && script.machine.outstanding().is_none());
    }
}
