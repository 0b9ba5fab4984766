//! The engine's thread: applies changes, runs rounds, publishes snapshots.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    classes::{Classes, Ticket},
    departed,
    graph::{Db, Stats},
    inputs::{Mesh, ServiceKey, VirtualServices},
    proxies::Enrol,
    reach::{self, Reach},
    register,
};
use crate::{
    model::{ObjectRef, Problem, Proxy},
    snapshot::{Generation, Name, Snapshot, Version},
};

/// A change of inputs, or a look at the graph.
type Task = Box<dyn FnOnce(&mut Db) + Send>;

/// How many commands one round takes in: bounds how long the first of them waits for its effect.
const COMMANDS_PER_ROUND: usize = 4096;

/// How many proxies one round lets in: a change waits for so many at the most, not for a herd of them…
const ARRIVALS_PER_ROUND: usize = 16;

/// …and for how long: the first proxy of a class takes as long as all that it has takes to be made.
const ARRIVING: Duration = Duration::from_millis(20);

/// An attached proxy.
#[derive(Debug)]
pub struct Attached {
    /// Its snapshots, the newest first.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// It is attached for as long as this lives.
    pub lease: Lease,
}

/// Detaches a proxy when dropped, wherever that is: with its stream, or on the way to a stream that has ended.
#[derive(Debug)]
pub struct Lease {
    ticket: Ticket,
    commands: mpsc::WeakUnboundedSender<Command>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // An engine that has stopped has forgotten all proxies.
        let _ = self.commands.upgrade().map(|commands| commands.send(Command::Detach(self.ticket)));
    }
}

enum Command {
    Change(Task),
    Attach(Arc<Proxy>, oneshot::Sender<Attached>),
    Detach(Ticket),
    Reach(Vec<ObjectRef>, oneshot::Sender<Vec<Reach>>),
}

/// What an observer is told after each round.
#[derive(Debug)]
pub struct Report<'a> {
    /// The number of the round.
    pub generation: Generation,
    /// Problems that appeared.
    pub appeared: &'a [Problem],
    /// Problems that vanished.
    pub vanished: &'a [Problem],
    /// All work so far.
    pub stats: Stats,
    /// Proxies whose snapshot changed.
    pub concerned: usize,
    /// Services that exist.
    pub services: usize,
    /// VirtualServices that exist.
    pub virtual_services: usize,
    /// The trust domain of the mesh; `None` before there is any configuration of the mesh.
    pub trust_domain: Option<Arc<str>>,
    /// The host by which proxies know the control plane; as above.
    pub discovery_host: Option<Arc<str>>,
}

/// Is told after each round, on the engine's thread: the next round begins when it returns, with all that came until then.
pub type Observer = Box<dyn FnMut(&Report<'_>) + Send>;

/// Errors of the engine's thread.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The thread could not be started.
    #[error("start the engine's thread")]
    Start(#[source] std::io::Error),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

/// A handle of the engine; it stops when all handles are gone.
#[derive(Clone)]
pub struct Engine {
    commands: mpsc::UnboundedSender<Command>,
}

impl Engine {
    /// Starts the engine on a thread of its own.
    ///
    /// # Errors
    /// [`EngineError::Start`] when the system gives no thread.
    pub fn start(observer: Observer) -> Result<(Self, JoinHandle<()>), EngineError> {
        let (commands, queue) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn({
                let commands = commands.downgrade();
                move || Worker::new(observer, commands).run(queue)
            })
            .map_err(EngineError::Start)?;
        Ok((Self { commands }, thread))
    }

    /// Changes inputs; takes effect with the next round, together with what else waits.
    pub fn change(&self, task: impl FnOnce(&mut Db) + Send + 'static) {
        // A stopped engine has nobody left to serve: the process is ending.
        let _ = self.commands.send(Command::Change(Box::new(task)));
    }

    /// Asks the graph something and waits for the answer.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Db) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.change(move |db| drop(reply.send(question(db))));
        answer.await.map_err(|_| EngineError::Stopped)
    }

    /// Attaches a proxy.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub async fn attach(&self, proxy: Arc<Proxy>) -> Result<Attached, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Attach(proxy, reply)).map_err(|_| EngineError::Stopped)?;
        answer.await.map_err(|_| EngineError::Stopped)
    }

    /// The objects that a resource of a proxy is made of, each with the round of its last change.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub async fn origins(
        &self,
        proxy: Arc<Proxy>,
        name: Name,
        version: Version,
    ) -> Result<BTreeMap<ObjectRef, Generation>, EngineError> {
        let explain = move |db: &mut Db| {
            let (enrolled, class) = db.watch(&Enrol(proxy));
            let (watched, _) = db.watch(&class);
            let objects = db.origins(watched, &name, version);
            [watched, enrolled].into_iter().for_each(|w| db.unwatch(w));
            objects
        };
        self.ask(explain).await
    }

    /// What is known of objects, and which proxies have something that is made of them, as of the last round.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub async fn reach(&self, objects: Vec<ObjectRef>) -> Result<Vec<Reach>, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Reach(objects, reply)).map_err(|_| EngineError::Stopped)?;
        answer.await.map_err(|_| EngineError::Stopped)
    }
}

struct Worker {
    db: Db,
    observer: Observer,
    classes: Classes,
    /// For leases: as long as only these are left, the engine stops.
    commands: mpsc::WeakUnboundedSender<Command>,
}

impl Worker {
    fn new(observer: Observer, commands: mpsc::WeakUnboundedSender<Command>) -> Self {
        let mut db = Db::default();
        register(&mut db);
        Self { db, observer, classes: Classes::default(), commands }
    }

    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Command>) {
        let (mut batch, mut arrivals, mut questions) = (Vec::new(), VecDeque::new(), Vec::new());
        // While somebody waits to be let in, nothing is waited for.
        while !arrivals.is_empty() || queue.blocking_recv_many(&mut batch, COMMANDS_PER_ROUND) > 0 {
            while batch.len() < COMMANDS_PER_ROUND
                && let Ok(command) = queue.try_recv()
            {
                batch.push(command);
            }
            for command in batch.drain(..) {
                match command {
                    Command::Change(task) => task(&mut self.db),
                    Command::Attach(proxy, reply) => {
                        self.classes.announce(&mut self.db, &proxy);
                        arrivals.push_back((proxy, reply));
                    }
                    Command::Detach(ticket) => self.classes.detach(&mut self.db, ticket),
                    Command::Reach(objects, reply) => questions.push((objects, reply)),
                }
            }
            let mut round = self.db.settle();
            if departed::sweep(&mut self.db) {
                round.absorb(self.db.settle());
            }
            let mut concerned = self.classes.publish(&mut self.db, &round);
            self.let_in(&mut arrivals, round.generation);
            if self.db.is_unsettled() {
                // What only proxies have that arrived, or are of another class, was made just now: tell of its problems
                // with this round.
                let settled = self.db.settle();
                concerned += self.classes.publish(&mut self.db, &settled);
                round.absorb(settled);
            }
            for (objects, reply) in questions.drain(..) {
                // Whoever asked may be gone.
                let _ = reply.send(reach::reach(&mut self.db, &self.classes, objects));
            }
            (self.observer)(&Report {
                generation: round.generation,
                appeared: &round.appeared,
                vanished: &round.vanished,
                stats: self.db.stats(),
                concerned,
                services: self.db.input_count::<ServiceKey>(),
                virtual_services: self.db.input_count::<VirtualServices>(),
                trust_domain: self.db.input_value(&Mesh(())).map(|mesh| mesh.trust_domain.clone()),
                discovery_host: self.db.input_value(&Mesh(())).map(|mesh| mesh.discovery_host.clone()),
            });
        }
    }

    /// Attaches those who wait, as many as one round may.
    fn let_in(&mut self, arrivals: &mut VecDeque<(Arc<Proxy>, oneshot::Sender<Attached>)>, generation: Generation) {
        let (mut let_in, began) = (0, Instant::now());
        while let_in < ARRIVALS_PER_ROUND
            && (let_in == 0 || began.elapsed() < ARRIVING)
            && let Some((proxy, reply)) = arrivals.pop_front()
        {
            if reply.is_closed() {
                // The stream ended while it waited.
                self.classes.turn_away(&mut self.db, &proxy);
                continue;
            }
            let (ticket, snapshots) = self.classes.attach(&mut self.db, proxy, generation);
            let lease = Lease { ticket, commands: self.commands.clone() };
            // If nobody takes it, it ends here.
            let _ = reply.send(Attached { snapshots, lease });
            let_in += 1;
        }
    }
}
