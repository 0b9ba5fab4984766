//! Looks at streams and engine, and has written what of it is status: of configuration objects and of workloads.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt;
use kube::Client;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{authority::Task, feedback::Refusals};
use crate::{
    cli::control_plane::{Parts, StatusSettings},
    engine::{Engine, Report},
    leader::{Lock, lead},
    model::{ObjectRef, Problem, Proxy},
    snapshot::{Generation, ResourceType},
    status::{
        Replica, alive,
        identities::{Identities, Identity},
        judge::{Facts, Fleet, Member, Refusal},
        lead,
        report::Reports,
        workloads::{State, Workload, Workloads},
    },
    telemetry::{problems::Problems, ready::Readiness},
    xds::{Blocked, Machine, clients, server::Shared},
};

/// The lock of the replica that writes for all.
const LOCK: &str = "mizzen-status-leader";
/// How often it is looked whether something moved.
const TICK: Duration = Duration::from_secs(1);
/// How many objects are looked at each time that were changed, or that proxies have not acknowledged yet.
const MOST_PENDING: usize = 1024;
/// How many of the others: something moved that may concern any of them.
const MOST_SWEPT: usize = 256;
/// About how many objects the engine is asked at once: meanwhile no change goes on.
const ASKED_AT_ONCE: usize = 64;
/// What is not acknowledged for so long is stale.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// What the engine tells after each round that matters for status. Without a cluster nobody listens.
#[derive(Clone, Default)]
pub(super) struct Moves {
    pub(super) identities: Arc<Identities>,
    edges: Arc<AtomicU64>,
}

impl Moves {
    /// A round is over.
    pub(super) fn tell(&self, report: &Report<'_>) {
        self.edges.store(report.stats.edges_moved, Ordering::Relaxed);
        report.appeared.iter().chain(report.vanished).for_each(|problem| self.identities.touch(&problem.object));
    }
}

/// The tasks that write status.
pub(super) fn tasks(
    parts: &Parts,
    client: &Client,
    how: StatusSettings,
    (engine, shared, refusals): (&Engine, &Arc<Shared>, &Arc<Refusals>),
    moves: Moves,
) -> Vec<Task> {
    let (settings, shutdown) = (&parts.settings, parts.shutdown.clone());
    let replica = Replica { name: settings.pod_name.clone(), namespace: settings.system_namespace.clone() };
    let lookout = Lookout {
        engine: engine.clone(),
        shared: shared.clone(),
        refusals: refusals.clone(),
        readiness: parts.readiness.clone(),
        problems: parts.problems.clone(),
        moves,
        reports: Reports::new(client.clone(), replica.clone()),
        workloads: Workloads::new(client.clone(), replica.clone()),
        pending: BTreeSet::new(),
        sweep: Sweep::default(),
        scanned: None,
        known: BTreeMap::new(),
    };
    let lock = Lock {
        namespace: replica.namespace.clone(),
        name: LOCK,
        identity: replica.name.clone(),
        revision: how.revision,
    };
    let (elect, leading) = (how.elect_leader, (client.clone(), replica.clone(), shutdown.clone()));
    let write = async move {
        let (client, replica, shutdown) = leading;
        let work = || lead::run(client.clone(), replica.clone());
        if elect {
            lead(client.clone(), lock, shutdown, work).await;
        } else {
            shutdown.run_until_cancelled(work()).await;
        }
        Ok(())
    };
    let (client, look, renew) = (client.clone(), lookout.run(shutdown.clone()), shutdown);
    let renew = async move {
        alive::renew(client, replica, renew).await;
        Ok(())
    };
    vec![
        ("status of proxies and configuration", look.boxed()),
        ("status of all replicas", write.boxed()),
        ("lease of this replica", renew.boxed()),
    ]
}

/// What was looked at, and what is to be.
struct Lookout {
    engine: Engine,
    shared: Arc<Shared>,
    refusals: Arc<Refusals>,
    readiness: Readiness,
    problems: Arc<Problems>,
    moves: Moves,
    reports: Reports,
    workloads: Workloads,
    /// Objects that were changed, or that proxies have not acknowledged yet.
    pending: BTreeSet<ObjectRef>,
    sweep: Sweep,
    /// What had moved when workloads were looked at last and all was acknowledged.
    scanned: Option<(u64, u64)>,
    /// The workload of each connection.
    known: BTreeMap<String, Workload>,
}

/// A round through all objects, after something moved that may concern any of them.
#[derive(Default)]
struct Sweep {
    /// What had moved when it began: edges of the engine, connections, refusals.
    of: (u64, u64, u64),
    runs: bool,
    last: Option<ObjectRef>,
}

impl Lookout {
    async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            // What is known of objects before all of them are known is not worth telling.
            if self.readiness.is_ready() && shutdown.run_until_cancelled(self.look()).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn look(&mut self) {
        let objects = self.due();
        if !objects.is_empty() {
            self.judge(objects).await;
        }
        self.reports.write().await;
        self.scan();
        self.workloads.write().await;
    }

    /// The objects to look at now.
    fn due(&mut self) -> Vec<ObjectRef> {
        let identities = &self.moves.identities;
        self.pending.append(&mut identities.take_touched());
        let mut due: Vec<ObjectRef> = Vec::new();
        while due.len() < MOST_PENDING
            && let Some(object) = self.pending.pop_first()
        {
            due.push(object);
        }
        let moved = (self.moves.edges.load(Ordering::Relaxed), self.shared.clients.moves(), self.refusals.moves());
        if !self.sweep.runs && self.sweep.of != moved {
            self.sweep = Sweep { of: moved, runs: true, last: None };
        }
        if self.sweep.runs {
            let swept = identities.after(self.sweep.last.as_ref(), MOST_SWEPT);
            self.sweep.runs = swept.len() == MOST_SWEPT;
            self.sweep.last = swept.last().cloned();
            due.extend(swept);
        }
        due
    }

    async fn judge(&mut self, objects: Vec<ObjectRef>) {
        let mut facts = Vec::with_capacity(objects.len());
        for some in objects.chunks(ASKED_AT_ONCE) {
            // Their versions first: what the engine says then is at least of these.
            let identities: HashMap<&ObjectRef, _> =
                some.iter().filter_map(|object| Some((object, self.moves.identities.get(object)?))).collect();
            let Ok(found) = self.engine.reach(some.to_vec()).await else { return };
            for reach in found {
                match identities.get(&reach.object) {
                    None => self.reports.put(&reach.object, None),
                    Some(identity) => facts.push(Facts {
                        identity: identity.clone(),
                        changed: reach.changed,
                        classes: reach.classes,
                        problems: self.problems_of(&reach.object, identity, reach.problems),
                        object: reach.object,
                    }),
                }
            }
        }
        // Streams after the engine: what they have is compared with snapshots that exist.
        let fleet = self.fleet();
        for facts in facts {
            let report = fleet.judge(&facts);
            if facts.identity.is_read && report.programmed + report.rejected < report.proxies {
                self.pending.insert(facts.object.clone());
            }
            self.reports.put(&facts.object, Some(report));
        }
    }

    /// All that is wrong with an object, as its source and the engine tell. What the engine knows may be of an earlier
    /// version.
    fn problems_of(&self, object: &ObjectRef, identity: &Identity, of_engine: Vec<Problem>) -> Vec<Problem> {
        let mut all = self.problems.of_source(object);
        all.extend(of_engine.into_iter().filter(|_| identity.is_read));
        all
    }

    fn fleet(&self) -> Fleet {
        let mut fleet = Fleet::default();
        let mut known: HashMap<Blocked, Option<usize>> = HashMap::new();
        for client in self.shared.clients.list() {
            let (class, generation, mut outstanding, blocked) = {
                let machine = client.machine();
                if !is_proxy(&machine) {
                    continue;
                }
                (machine.class(), machine.generation(), machine.outstanding(), machine.blocked())
            };
            let mut refusals = Vec::new();
            for blocked in blocked {
                let since: Generation = blocked.since;
                let number = known
                    .entry(blocked)
                    .or_insert_with_key(|blocked| Some(fleet.refusal(self.refusal(blocked, &client.proxy)?)));
                match number {
                    Some(number) => refusals.push(*number),
                    // Whose fault it is will be known in a moment.
                    None => outstanding = Some(outstanding.unwrap_or(since).min(since)),
                }
            }
            fleet.add(Member { class, generation, outstanding, refusals });
        }
        fleet
    }

    fn refusal(&self, blocked: &Blocked, proxy: &Proxy) -> Option<Refusal> {
        let Blocked { resource_type: t, name, version, since } = blocked;
        let (objects, reason) = self.refusals.lacking(&(*t, name.clone(), *version), *since)?;
        let reason = format!("{} refuses {} {name:?}: {reason}", proxy.id, t.short_name().to_uppercase()).into();
        Some(Refusal { objects, reason })
    }

    /// Looks at all proxies, if something was sent to one, or one came or left.
    fn scan(&mut self) {
        let clients = &self.shared.clients;
        let moved = (clients.counters.pushes.iter().map(|(_, pushes)| pushes.get()).sum(), clients.moves());
        if self.scanned == Some(moved) {
            return;
        }
        let (mut all, mut known, mut is_settled) = (Vec::new(), BTreeMap::new(), true);
        for client in clients.list() {
            let state = {
                let machine = client.machine();
                if !is_proxy(&machine) {
                    continue;
                }
                is_settled &= unacknowledged(&machine).next().is_none();
                state(&machine)
            };
            let workload = self.known.remove(&client.id).unwrap_or_else(|| workload_of(&client));
            known.insert(client.id.clone(), workload.clone());
            all.push((workload, client.proxy.id.to_string(), state));
        }
        self.known = known;
        self.scanned = is_settled.then_some(moved);
        self.workloads.put(all);
    }
}

/// Those who ask for clusters; tools ask for debug pages only.
fn is_proxy(machine: &Machine) -> bool {
    machine.status(ResourceType::Cluster).is_some()
}

fn unacknowledged(machine: &Machine) -> impl Iterator<Item = ResourceType> {
    ResourceType::ALL.into_iter().filter(|t| {
        machine.status(*t).is_some_and(|status| status.last_error.is_some() || status.nonce_sent != status.nonce_acked)
    })
}

fn state(machine: &Machine) -> State {
    let name = |t: ResourceType| t.short_name().to_uppercase();
    let (mut refused, mut stale, mut reason) = (Vec::new(), Vec::new(), None);
    for t in unacknowledged(machine) {
        let Some(status) = machine.status(t) else { continue };
        if let Some(error) = &status.last_error {
            refused.push(name(t));
            reason.get_or_insert_with(|| error.trim().to_owned());
        } else if status.last_sent.is_some_and(|at| Instant::now().duration_since(at) >= STALE_AFTER) {
            stale.push(name(t));
        }
    }
    match (reason, stale.is_empty()) {
        (Some(reason), _) => State::Rejected(refused, reason),
        (None, false) => State::Stale(stale),
        (None, true) => State::Synced,
    }
}

fn workload_of(client: &clients::Client) -> Workload {
    let proxy = &client.proxy;
    let metadata: Value = serde_json::from_str(&proxy.metadata).unwrap_or_default();
    let text = |key: &str| metadata[key].as_str().unwrap_or_default();
    let pod = proxy.id.rsplit_once('.').map_or(&*proxy.id, |(pod, _)| pod);
    Workload::of(&proxy.namespace, pod, text("WORKLOAD_NAME"), text("OWNER"))
}
