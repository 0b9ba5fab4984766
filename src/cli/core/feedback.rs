//! What proxies refuse and what they are sent: in the log, in metrics, and as problems of objects.
//!
//! ```text
//!  streams ──verdict──► Refusals ──► task: origins (engine) ──► Ledger ──► log, gauges, Problems, configz
//!          ──pushed───► histograms        streams' counters ──► task: counts ──► metrics
//! ```

mod changes;
mod counts;
mod ledger;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::ledger::{Ledger, Origin, Refusal, RefusedVersion};
pub(super) use self::{changes::ChangeTimes, counts::count};
use crate::{
    engine::Engine,
    model::{ObjectRef, Problem},
    snapshot::{Generation, Name, ResourceType, TypeMap, Version},
    telemetry::{
        metrics::{Metrics, Rejection, Type},
        problems::Problems,
    },
    xds::{Feedback, Push, Verdict},
};

/// How many objects of a refused resource are named in the log.
const NAMED: usize = 8;

/// The refusals that stand, and what was sent.
pub(super) struct Refusals {
    verdicts: mpsc::UnboundedSender<Verdict>,
    ledger: Mutex<Ledger>,
    changes: Arc<ChangeTimes>,
    metrics: Arc<Metrics>,
    /// How many verdicts were taken.
    taken: AtomicU64,
    /// Seconds to make responses and their sizes, by type: looked up once, as each push adds to them.
    pushed: TypeMap<OnceLock<(Histogram, Histogram)>>,
}

/// Verdicts that [`follow`] has not seen yet.
pub(super) struct Verdicts(mpsc::UnboundedReceiver<Verdict>);

impl Refusals {
    pub(super) fn new(metrics: Arc<Metrics>, changes: Arc<ChangeTimes>) -> (Self, Verdicts) {
        let (verdicts, queue) = mpsc::unbounded_channel();
        let (ledger, taken, pushed) = Default::default();
        (Self { verdicts, ledger, changes, metrics, taken, pushed }, Verdicts(queue))
    }

    /// The problems that refusals are, each with the proxies that refuse.
    pub(super) fn problems(&self) -> BTreeMap<Problem, Vec<String>> {
        self.with(|ledger| ledger.problems())
    }

    /// See [`Ledger::lacking`].
    pub(super) fn lacking(
        &self,
        version: &(ResourceType, Name, Version),
        since: Generation,
    ) -> Option<(BTreeSet<ObjectRef>, Arc<str>)> {
        self.with(|ledger| ledger.lacking(version, since))
    }

    /// Grows whenever a refusal comes or goes.
    pub(super) fn moves(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Ledger) -> T) -> T {
        f(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn gauge(&self, refusal: &Refusal, t: ResourceType, by: i64) {
        let family = match t {
            ResourceType::Cluster => &self.metrics.cds_reject,
            ResourceType::Endpoint => &self.metrics.eds_reject,
            ResourceType::Listener => &self.metrics.lds_reject,
            ResourceType::Route | ResourceType::VirtualHost => &self.metrics.rds_reject,
            ResourceType::Secret | ResourceType::ExtensionConfig | ResourceType::NameTable => return,
        };
        let labels = Rejection { node: refusal.proxy.clone(), err: refusal.reason.clone() };
        let value = family.get_or_create(&labels).inc_by(by);
        if value + by <= 0 {
            // Reasons are many; those of the past are of no use.
            family.remove(&labels);
        }
    }
}

impl Feedback for Refusals {
    fn verdict(&self, verdict: Verdict) {
        // After the end of the task the process is ending.
        let _ = self.verdicts.send(verdict);
    }

    fn pushed(&self, push: &Push) {
        let t = push.resource_type;
        let (time, size) = self.pushed[t].get_or_init(|| {
            let time = self.metrics.push_time.get_or_create_owned(&Type::new(t.short_name()));
            (time, self.metrics.config_size.get_or_create_owned(&Type::new(t.type_url())))
        });
        time.observe(push.took.as_secs_f64());
        size.observe(push.bytes as f64);
        if let Some(since) = push.follows.and_then(|before| self.changes.since(before)) {
            self.metrics.convergence_time.observe(Instant::now().duration_since(since).as_secs_f64());
        }
    }
}

/// Finds the objects that refused resources came from, and tells.
///
/// # Errors
/// Never; it is a task among others.
pub(super) async fn follow(
    refusals: Arc<Refusals>,
    mut verdicts: Verdicts,
    engine: Engine,
    problems: Arc<Problems>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    while let Some(Some(verdict)) = shutdown.run_until_cancelled(verdicts.0.recv()).await {
        let Verdict { connection, proxy, resource_type: t, name, version, since, refused } = verdict;
        let place = (connection, t, name.clone());
        let Some(reason) = refused else {
            let gone = refusals.with(|ledger| ledger.withdraw(&place));
            if let Some(refusal) = gone.refusal {
                refusals.gauge(&refusal, t, -1);
                tracing::info!(proxy = %proxy.id, r#type = t.short_name(), resource = %name, "no longer refused");
            }
            gone.vanished.iter().for_each(|p| problems.gone(p));
            refusals.taken.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let key: RefusedVersion = (t, name.clone(), version);
        let known = refusals.with(|ledger| ledger.objects(&key));
        let objects: Arc<[Origin]> = match known {
            Some(objects) => objects,
            // A stopped engine has no answer, and nobody to tell it to.
            None => {
                engine.origins(proxy.clone(), name.clone(), version).await.unwrap_or_default().into_iter().collect()
            }
        };
        // Envoy ends some reasons with a line break.
        let reason: Arc<str> = reason.trim().into();
        let made_of = list(&objects);
        tracing::warn!(proxy = %proxy.id, r#type = t.short_name(), resource = %name, %version, made_of, %reason,
            "refused by proxy");
        let refusal = Refusal { version, since, proxy: proxy.id.clone(), reason };
        refusals.gauge(&refusal, t, 1);
        let changed = refusals.with(|ledger| ledger.refuse(place, refusal, objects));
        if let Some(before) = changed.refusal {
            refusals.gauge(&before, t, -1);
        }
        changed.appeared.iter().for_each(|p| problems.appeared(p));
        changed.vanished.iter().for_each(|p| problems.gone(p));
        refusals.taken.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn list(objects: &[Origin]) -> String {
    let named: Vec<String> = objects.iter().take(NAMED).map(|(object, _)| object.to_string()).collect();
    let more = objects.len() - named.len();
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}
