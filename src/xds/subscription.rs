//! What one stream knows of one type: what the client asked for, what it has, what is on its way.
//!
//! The client has what the snapshot says, save for the names in [`Watch::lagging`]. A stream at rest therefore
//! costs its list of names and nothing per resource.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Instant,
};

use super::{
    batch::Batch,
    names::{NameSet, NameSets},
};
use crate::snapshot::{Generation, Name, Resource, Version, View, host_name_parts};

/// What the client has under a name.
#[derive(Clone, Debug, Default)]
pub(super) enum Have {
    /// Nothing that this stream knows of.
    #[default]
    Nothing,
    /// This resource: it was sent, though perhaps not acknowledged yet.
    Resource(Arc<Resource>),
    /// Something from an earlier stream, with a version that is not the current one.
    Unknown,
}

impl Have {
    pub(super) fn of(resource: Option<&Arc<Resource>>) -> Self {
        resource.map_or(Self::Nothing, |r| Self::Resource(Arc::clone(r)))
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::Resource(resource) => Some(resource.version),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// A name under which the client does not have what the snapshot says.
#[derive(Clone, Debug, Default)]
pub(super) struct Lag {
    pub(super) have: Have,
    /// Must be answered even when nothing differs: the client asked by name, or what it has is void.
    pub(super) forced: bool,
    /// The last generation in which the client had what the snapshot said; 0 when it is not known.
    pub(super) since: Generation,
}

/// The names that lag, each with how. A client that lags behind by what all of its class do shares their list, until it
/// changes its own.
#[derive(Debug, Default)]
pub(super) struct Lagging {
    own: BTreeMap<Name, Lag>,
    /// Counts instead of `own`.
    shared: Option<Arc<Batch>>,
}

impl Lagging {
    /// The batch that the client lags behind by, if that is all.
    pub(super) fn batch(&self) -> Option<&Arc<Batch>> {
        self.shared.as_ref()
    }

    pub(super) fn is_empty(&self) -> bool {
        // A batch never is.
        self.shared.is_none() && self.own.is_empty()
    }

    pub(super) fn into_map(mut self) -> BTreeMap<Name, Lag> {
        std::mem::take(&mut *self)
    }
}

impl From<Arc<Batch>> for Lagging {
    fn from(batch: Arc<Batch>) -> Self {
        Self { own: BTreeMap::new(), shared: Some(batch) }
    }
}

impl FromIterator<(Name, Lag)> for Lagging {
    fn from_iter<I: IntoIterator<Item = (Name, Lag)>>(all: I) -> Self {
        Self { own: all.into_iter().collect(), shared: None }
    }
}

impl Deref for Lagging {
    type Target = BTreeMap<Name, Lag>;

    fn deref(&self) -> &Self::Target {
        self.shared.as_ref().map_or(&self.own, |batch| batch.lags())
    }
}

impl DerefMut for Lagging {
    fn deref_mut(&mut self) -> &mut Self::Target {
        if let Some(batch) = self.shared.take() {
            self.own = batch.lags().clone();
        }
        &mut self.own
    }
}

/// One resource of a response.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) name: Name,
    /// What was sent; `None` is a removal.
    pub(super) resource: Option<Arc<Resource>>,
    /// What the client had before.
    pub(super) have: Have,
    /// What it had is not certain, or it asked: see [`Lag::forced`].
    pub(super) forced: bool,
    /// As [`Lag::since`].
    pub(super) since: Generation,
}

impl Sent {
    /// The client does not have it: what it lags behind by again.
    pub(super) fn not_had(&self, forced: bool) -> Lag {
        Lag { have: self.have.clone(), forced, since: self.since }
    }
}

/// A response that is not acknowledged yet, or several in a row that count as one.
#[derive(Debug)]
pub(super) struct InFlight {
    /// The oldest of them.
    pub(super) first: u64,
    /// The newest.
    pub(super) seq: u64,
    /// Shared by all who were sent the same.
    pub(super) items: Arc<[Sent]>,
    /// Whether a refusal can only be about these items. Not so for a full set sent while an earlier set was not
    /// acknowledged: it repeats what that one held.
    pub(super) conclusive: bool,
}

impl InFlight {
    pub(super) fn holds(&self, seq: u64) -> bool {
        (self.first..=self.seq).contains(&seq)
    }

    /// Makes this stand for a later response too: what the client had before both, and what it has after both.
    fn absorb(&mut self, later: &Self) {
        let mut items: BTreeMap<Name, Sent> = self.items.iter().map(|i| (Arc::clone(&i.name), i.clone())).collect();
        for item in later.items.iter() {
            let item = match items.remove(&item.name) {
                Some(Sent { have, forced, since, .. }) => {
                    Sent { have, since, forced: forced || item.forced, ..item.clone() }
                }
                None => item.clone(),
            };
            items.insert(Arc::clone(&item.name), item);
        }
        (self.seq, self.items, self.conclusive) = (later.seq, items.into_values().collect(), false);
    }
}

/// The state of one type on one stream.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) wildcard: bool,
    /// The names are those of route configurations, and stand for all virtual hosts of these.
    pub(super) by_config: bool,
    pub(super) names: NameSet,
    pub(super) lagging: Lagging,
    /// Oldest first.
    pub(super) in_flight: VecDeque<InFlight>,
    /// Isolated refusals: this version is not sent again on this stream.
    pub(super) refused: BTreeMap<Name, Version>,
    /// Parts of refused responses, each to be sent in a response of its own.
    pub(super) suspects: VecDeque<BTreeSet<Name>>,
    /// The next response is due even without resources.
    pub(super) answer_due: bool,
    /// Nothing was sent yet and the client said that it has nothing: what is sent first is never held or split.
    pub(super) fresh: bool,
    /// Nothing was sent yet, and the client has something from an earlier stream; it is not known what (state of the
    /// world).
    pub(super) resumes: bool,
    pub(super) created: Instant,
    pub(super) status: Status,
}

/// What a type's watch shows on debug surfaces (contract §2.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Nonce of the last response.
    pub nonce_sent: String,
    /// Nonce of the last acknowledged response.
    pub nonce_acked: String,
    /// When the last response was made.
    pub last_sent: Option<Instant>,
    /// Why a response was refused; cleared by an acknowledgement when nothing is refused any more.
    pub last_error: Option<Arc<str>>,
}

impl Watch {
    pub(super) fn new(now: Instant, sets: &Arc<NameSets>) -> Self {
        Self {
            wildcard: false,
            by_config: false,
            names: NameSet::new(sets),
            lagging: Lagging::default(),
            in_flight: VecDeque::new(),
            refused: BTreeMap::new(),
            suspects: VecDeque::new(),
            answer_due: false,
            fresh: true,
            resumes: false,
            created: now,
            status: Status::default(),
        }
    }

    pub(super) fn subscribed(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(if self.by_config { host_name_parts(name).0 } else { name })
    }

    /// Whether the client has taken all that there is.
    pub(super) fn at_rest(&self) -> bool {
        !self.resumes && !self.answer_due && self.lagging.is_empty() && self.in_flight.is_empty()
    }

    /// A response is on its way. Where so many are that a client that never answers would cost more and more, it counts
    /// as one with the one before it.
    pub(super) fn await_answer(&mut self, response: InFlight, unanswered: usize) {
        let full = self.in_flight.len() >= unanswered;
        match self.in_flight.back_mut().filter(|_| full) {
            Some(newest) => newest.absorb(&response),
            None => self.in_flight.push_back(response),
        }
    }

    /// Where a name stands in responses that are not acknowledged yet.
    pub(super) fn in_flight_as(&self, name: &str) -> impl Iterator<Item = &Sent> {
        self.in_flight.iter().flat_map(|f| f.items.iter()).filter(move |i| &*i.name == name)
    }

    /// Whether a response with this name is not acknowledged yet.
    pub(super) fn is_in_flight(&self, name: &str) -> bool {
        self.in_flight_as(name).next().is_some()
    }

    /// A response was refused: what was sent since must not take for granted that the client did what an item says.
    pub(super) fn not_taken(&mut self, item: &Sent) {
        let correct = |have: &mut Have, forced: &mut bool| {
            let was_taken_for_granted = match &item.resource {
                Some(resource) => have.version() == Some(resource.version),
                None => have.is_nothing() && !item.have.is_nothing(),
            };
            if was_taken_for_granted {
                *have = item.have.clone();
                *forced = true;
            }
        };
        let has_it = |f: &&mut InFlight| f.items.iter().any(|i| i.name == item.name);
        for later in self.in_flight.iter_mut().filter(has_it) {
            let again = Arc::make_mut(&mut later.items).iter_mut().filter(|i| i.name == item.name);
            again.for_each(|i| correct(&mut i.have, &mut i.forced));
        }
        if let Some(lag) = self.lagging.get_mut(&item.name) {
            correct(&mut lag.have, &mut lag.forced);
        }
    }

    /// The client asks for a name and must get an answer.
    pub(super) fn ask(&mut self, name: Name) {
        self.lagging.entry(name).or_default().forced = true;
    }

    /// The client asks for everything and says that it has nothing.
    pub(super) fn ask_all(&mut self, view: &View) {
        view.for_each(|r| {
            self.lagging.entry(Arc::clone(&r.name)).or_default();
        });
    }

    /// The snapshot changed under a name; `before` is what it said until now, in generation `since`.
    pub(super) fn note_change(&mut self, name: Name, before: Option<&Arc<Resource>>, since: Generation) {
        self.lagging.entry(name).or_insert_with(|| Lag { have: Have::of(before), forced: false, since });
    }

    /// A name lags again as it did when it was put off, unless nothing asks for it any more.
    pub(super) fn take_up(&mut self, name: Name, lag: Lag) {
        if self.subscribed(&name) {
            self.lagging.entry(name).or_insert(lag);
        }
    }

    /// What the client has under a name, given what the snapshot says.
    pub(super) fn held<'a>(&'a self, name: &str, current: Option<&'a Arc<Resource>>) -> Option<&'a Arc<Resource>> {
        match self.lagging.get(name) {
            None => current,
            Some(Lag { have: Have::Resource(resource), .. }) => Some(resource),
            Some(_) => None,
        }
    }

    /// Forgets names that nothing asks for any more; returns the isolated refusals among them.
    pub(super) fn forget_unsubscribed(&mut self) -> Vec<(Name, Version)> {
        let (wildcard, names) = (self.wildcard, &self.names);
        let kept = |n: &Name| wildcard || names.contains(n);
        self.lagging.retain(|n, _| kept(n));
        for group in &mut self.suspects {
            group.retain(|n| kept(n));
        }
        let gone: Vec<_> = self.refused.extract_if(.., |n, _| !kept(n)).collect();
        if !gone.is_empty() {
            self.forget_error();
        }
        gone
    }

    /// The last refusal is of the past, unless some resource is refused still: what was sent is settled then, also when
    /// the cause is gone and nothing had to be sent again.
    pub(super) fn forget_error(&mut self) {
        let status = &mut self.status;
        if self.refused.is_empty() {
            status.last_error = None;
            if self.in_flight.is_empty() && status.nonce_acked != status.nonce_sent {
                status.nonce_acked.clone_from(&status.nonce_sent);
            }
        }
    }
}
