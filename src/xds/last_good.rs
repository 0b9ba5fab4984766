//! Last-good bytes (design §2 truth 3): a version that several proxies refuse is not tried on those that have not seen
//! it; they get what the refusing ones kept.
//!
//! ```text
//!  refused by an identity ──► on trial ──► refused by a second identity ──► condemned: stood in for
//!                                 └──► accepted by anybody, before or after ──► acquitted as long as it lives
//! ```
//!
//! Only authenticated identities can condemn, so that nobody withholds configuration from others alone. A version is
//! forgotten when nothing has it any more, neither the engine nor a stream. Secrets are never stood in for: a name
//! means another secret in another namespace.

use std::sync::{Arc, Weak};

use imbl::OrdMap;

use super::{
    Machine,
    machine::Step,
    subscription::{Have, InFlight, Lag, Watch},
};
use crate::snapshot::{Name, Resource, ResourceType, Version};

/// How many identities must refuse a version before it is withheld from others.
const CONDEMNING: usize = 2;

type Key = (ResourceType, Name, Version);

/// The versions that were refused. A value, cheap to clone: every stream has the newest.
#[derive(Clone, Debug, Default)]
pub(super) struct LastGood {
    trials: OrdMap<Key, Trial>,
}

/// A version that somebody refused.
#[derive(Clone, Debug, Default)]
struct Trial {
    /// At most [`CONDEMNING`]: more change nothing.
    refused_by: Vec<Arc<str>>,
    accepted: bool,
    /// What those who refused it kept. Proxies that share the resource also shared what was before it; equal
    /// resources of other classes of proxies have entries of their own.
    kept: Vec<(Weak<Resource>, Option<Arc<Resource>>)>,
}

/// What a refusal changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing.
    Known,
    /// It is the first of its version: whether others accepted it before is not known here.
    First,
    /// It adds to others.
    Another,
}

impl LastGood {
    /// An identity refused a resource and kept what it had.
    pub(super) fn refuse(
        &mut self,
        t: ResourceType,
        bad: &Arc<Resource>,
        kept: Option<&Arc<Resource>>,
        by: &Arc<str>,
    ) -> Refusal {
        if t == ResourceType::Secret {
            return Refusal::Known;
        }
        let key = (t, Arc::clone(&bad.name), bad.version);
        let before = self.trials.get(&key);
        let mut trial = before.cloned().unwrap_or_default();
        if trial.accepted || !trial.add(bad, kept, by) {
            return Refusal::Known;
        }
        let refusal = if before.is_none() { Refusal::First } else { Refusal::Another };
        self.trials.insert(key, trial);
        refusal
    }

    /// Somebody accepted a version; returns whether that changed anything.
    pub(super) fn accept(&mut self, t: ResourceType, name: &Name, version: Version) -> bool {
        match self.trials.get_mut(&(t, Arc::clone(name), version)) {
            Some(trial) if !trial.accepted => {
                trial.accepted = true;
                trial.kept.iter_mut().for_each(|(_, kept)| *kept = None);
                true
            }
            _ => false,
        }
    }

    /// Whether it matters that somebody accepts a version.
    pub(super) fn is_on_trial(&self, t: ResourceType, name: &Name, version: Version) -> bool {
        !self.trials.is_empty() && self.trials.get(&(t, Arc::clone(name), version)).is_some_and(|trial| !trial.accepted)
    }

    /// What stands in for a condemned resource.
    pub(super) fn stand_in(&self, t: ResourceType, target: &Arc<Resource>) -> Option<&Arc<Resource>> {
        if self.trials.is_empty() {
            return None;
        }
        let trial = self.trials.get(&(t, Arc::clone(&target.name), target.version))?;
        let condemned = !trial.accepted && trial.refused_by.len() >= CONDEMNING;
        let kept = trial.kept.iter().filter(|_| condemned).find(|(bad, _)| bad.as_ptr() == Arc::as_ptr(target));
        kept.and_then(|(_, kept)| kept.as_ref())
    }

    /// Forgets what nothing has any more; returns whether there was any.
    pub(super) fn forget_gone(&mut self) -> bool {
        let is_gone = |(bad, _): &(Weak<Resource>, _)| bad.strong_count() == 0;
        let concerned: Vec<Key> = self
            .trials
            .iter()
            .filter(|(_, trial)| trial.kept.iter().any(is_gone))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &concerned {
            if let Some(trial) = self.trials.get_mut(key) {
                trial.kept.retain(|entry| !is_gone(entry));
                if trial.kept.is_empty() {
                    self.trials.remove(key);
                }
            }
        }
        !concerned.is_empty()
    }

    /// Whether nobody refuses anything.
    pub(super) fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    fn is(&self, other: &Self) -> bool {
        self.trials.ptr_eq(&other.trials)
    }
}

impl Trial {
    /// Returns whether it says anything new.
    fn add(&mut self, bad: &Arc<Resource>, kept: Option<&Arc<Resource>>, by: &Arc<str>) -> bool {
        let is_new = self.refused_by.len() < CONDEMNING && !self.refused_by.contains(by);
        if is_new {
            self.refused_by.push(Arc::clone(by));
        }
        let at = self.kept.iter().position(|(of, _)| of.as_ptr() == Arc::as_ptr(bad)).unwrap_or_else(|| {
            self.kept.push((Arc::downgrade(bad), None));
            self.kept.len() - 1
        });
        let entry = &mut self.kept[at].1;
        let learnt = kept.filter(|k| entry.is_none() && k.version != bad.version);
        if let Some(kept) = learnt {
            *entry = Some(Arc::clone(kept));
        }
        is_new || learnt.is_some()
    }
}

/// What a stream found out that matters to others.
#[derive(Clone, Debug)]
pub(super) enum Evidence {
    /// A resource was isolated as the one that the client refuses.
    Refused { resource_type: ResourceType, resource: Arc<Resource>, kept: Option<Arc<Resource>> },
    /// The client took a version that others refused.
    Accepted { resource_type: ResourceType, name: Name, version: Version },
}

impl Machine {
    /// Takes the newest knowledge of what others refused.
    pub(super) fn set_last_good(&mut self, newest: &LastGood) {
        if !self.last_good.is(newest) {
            self.last_good = newest.clone();
        }
    }

    /// What this stream found out since the last call.
    pub(super) fn take_evidence(&mut self) -> Vec<Evidence> {
        std::mem::take(&mut self.evidence)
    }

    /// Whether the client has this version and took it.
    pub(super) fn has_accepted(&self, t: ResourceType, name: &Name, version: Version) -> bool {
        let Some(watch) = &self.watches[t] else { return false };
        let at_rest = !watch.lagging.contains_key(name) && !watch.is_in_flight(name);
        at_rest && watch.subscribed(name) && self.target(t, name).is_some_and(|r| r.version == version)
    }

    pub(super) fn note_refused(&mut self, resource_type: ResourceType, resource: &Arc<Resource>, have: &Have) {
        let kept = match have {
            Have::Resource(kept) => Some(Arc::clone(kept)),
            Have::Nothing | Have::Unknown => None,
        };
        self.evidence.push(Evidence::Refused { resource_type, resource: Arc::clone(resource), kept });
    }

    pub(super) fn note_accepted(&mut self, t: ResourceType, response: &InFlight) {
        if !self.last_good.is_empty() {
            let resources = response.items.iter().filter_map(|i| i.resource.as_ref());
            resources.for_each(|r| self.note_has(t, &r.name, r.version));
        }
    }

    /// The client has a version for good.
    pub(super) fn note_has(&mut self, resource_type: ResourceType, name: &Name, version: Version) {
        if self.last_good.is_on_trial(resource_type, name, version) {
            self.evidence.push(Evidence::Accepted { resource_type, name: Arc::clone(name), version });
        }
    }

    /// The next step of a name whose resource is stood in for.
    pub(super) fn step_stand_in(&self, watch: &Watch, lag: &Lag, good: Arc<Resource>, held_back: bool) -> Step {
        let has_it = !lag.forced && lag.have.version() == Some(good.version);
        let refuses_it = watch.refused.get(&good.name) == Some(&good.version);
        if has_it || refuses_it || held_back && self.barriers.holds(&good) { Step::Wait } else { Step::StandIn(good) }
    }
}

#[cfg(test)]
mod tests;
