//! Attached proxies by class: a snapshot is made once for all of a class, and a change costs a proxy that has it no more
//! than a wake.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    graph::{Db, Round, Watched},
    inputs::Clients,
    proxies::{Class, Enrol},
};
use crate::{
    model::{Namespace, Proxy},
    snapshot::{ClassId, Generation, Snapshot},
};

/// An attached proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

struct Attached {
    namespace: Namespace,
    /// The query for its class.
    enrolled: Watched,
    /// The query for what its class has.
    class: Watched,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

struct Members {
    id: ClassId,
    snapshot: Arc<Snapshot>,
    tickets: BTreeSet<Ticket>,
}

/// All attached proxies.
#[derive(Default)]
pub(super) struct Classes {
    attached: HashMap<Ticket, Attached>,
    /// Equal proxies have one query.
    by_enrolment: HashMap<Watched, BTreeSet<Ticket>>,
    classes: HashMap<Watched, Members>,
    clients: BTreeMap<Namespace, u32>,
    next: u64,
    next_class: ClassId,
}

impl Classes {
    /// A proxy arrives: what only it reads becomes of interest with the next round.
    pub(super) fn announce(&mut self, db: &mut Db, proxy: &Proxy) {
        self.count(db, &proxy.namespace, true);
    }

    /// A proxy that was announced is gone before it was attached.
    pub(super) fn turn_away(&mut self, db: &mut Db, proxy: &Proxy) {
        self.count(db, &proxy.namespace, false);
    }

    /// Attaches a proxy that was announced.
    pub(super) fn attach(
        &mut self,
        db: &mut Db,
        proxy: Arc<Proxy>,
        generation: Generation,
    ) -> (Ticket, watch::Receiver<Arc<Snapshot>>) {
        let ticket = Ticket(self.next);
        self.next += 1;
        let namespace = proxy.namespace.clone();
        let (enrolled, class) = db.watch(&Enrol(proxy));
        let class = self.join(db, ticket, &class, generation);
        let key = db.key(class);
        db.unify::<Enrol>(enrolled, key);
        let (snapshots, receiver) = watch::channel(Arc::clone(&self.classes[&class].snapshot));
        self.by_enrolment.entry(enrolled).or_default().insert(ticket);
        self.attached.insert(ticket, Attached { namespace, enrolled, class, snapshots });
        (ticket, receiver)
    }

    pub(super) fn detach(&mut self, db: &mut Db, ticket: Ticket) {
        let Some(attached) = self.attached.remove(&ticket) else { return };
        self.count(db, &attached.namespace, false);
        self.leave(db, ticket, attached.class);
        if let Some(tickets) = self.by_enrolment.get_mut(&attached.enrolled) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.by_enrolment.remove(&attached.enrolled);
            }
        }
        db.unwatch(attached.enrolled);
    }

    /// Hands out what a round changed; how many proxies that concerns. Proxies that are of another class now make its
    /// queries anew: the next round tells of their problems.
    pub(super) fn publish(&mut self, db: &mut Db, round: &Round) -> usize {
        let moved: Vec<Ticket> =
            round.watched.iter().filter_map(|w| self.by_enrolment.get(w)).flatten().copied().collect();
        for ticket in &moved {
            self.enrol_anew(db, *ticket, round.generation);
        }
        let mut concerned = 0;
        for watched in &round.watched {
            let Some(class) = self.classes.get_mut(watched) else { continue };
            let views = db.value::<Class>(*watched).to_views();
            class.snapshot = Arc::new(Snapshot::new(round.generation, views).of_class(class.id));
            for ticket in &class.tickets {
                self.attached[ticket].snapshots.send_replace(Arc::clone(&class.snapshot));
            }
            concerned += class.tickets.len();
        }
        for attached in moved.iter().filter_map(|ticket| self.attached.get(ticket)) {
            let newest = &self.classes[&attached.class].snapshot;
            concerned += usize::from(attached.snapshots.send_if_modified(|has| {
                let differs = !Arc::ptr_eq(has, newest);
                has.clone_from(newest);
                differs
            }));
        }
        concerned
    }

    /// The class that a query is of, and the generation of its newest snapshot; `None` for queries of other things.
    pub(super) fn newest(&self, watched: Watched) -> Option<(ClassId, Generation)> {
        self.classes.get(&watched).map(|class| (class.id, class.snapshot.generation))
    }

    fn enrol_anew(&mut self, db: &mut Db, ticket: Ticket, generation: Generation) {
        let Some(Attached { enrolled, class: old, .. }) = self.attached.get(&ticket) else { return };
        let (enrolled, old) = (*enrolled, *old);
        let class = db.value::<Enrol>(enrolled);
        let new = self.join(db, ticket, &class, generation);
        let key = db.key(new);
        db.unify::<Enrol>(enrolled, key);
        if new != old {
            self.leave(db, ticket, old);
        }
        if let Some(attached) = self.attached.get_mut(&ticket) {
            attached.class = new;
        }
    }

    fn join(&mut self, db: &mut Db, ticket: Ticket, class: &Class, generation: Generation) -> Watched {
        let (watched, views) = db.watch(class);
        if let Some(members) = self.classes.get_mut(&watched) {
            // One watch for all members.
            db.unwatch(watched);
            members.tickets.insert(ticket);
        } else {
            self.next_class += 1;
            let id = self.next_class;
            let snapshot = Arc::new(Snapshot::new(generation, views.to_views()).of_class(id));
            self.classes.insert(watched, Members { id, snapshot, tickets: BTreeSet::from([ticket]) });
        }
        watched
    }

    fn leave(&mut self, db: &mut Db, ticket: Ticket, class: Watched) {
        let Some(members) = self.classes.get_mut(&class) else { return };
        members.tickets.remove(&ticket);
        if members.tickets.is_empty() {
            self.classes.remove(&class);
            db.unwatch(class);
        }
    }

    fn count(&mut self, db: &mut Db, namespace: &Namespace, arrives: bool) {
        let count = self.clients.entry(namespace.clone()).or_insert(0);
        *count = if arrives { *count + 1 } else { *count - 1 };
        let present = *count > 0;
        if !present {
            self.clients.remove(namespace);
        }
        db.set_input(&Clients(namespace.clone()), present.then_some(()));
    }
}
