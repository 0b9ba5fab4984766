//! What proxies refuse: in the log with the objects it came from, in metrics, and for `/debug`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    snapshot::ResourceType,
    telemetry::metrics::{Metrics, Rejection, Type, Version},
    xds::{Feedback, Verdict, server::Shared},
};

/// How often counts of streams are carried over to the metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Proxy, type and name of a refused resource.
type Refused = (Arc<str>, ResourceType, Arc<str>);

/// The refusals that stand.
pub(super) struct Refusals {
    metrics: Arc<Metrics>,
    current: Mutex<BTreeMap<Refused, Arc<str>>>,
}

impl Refusals {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, current: Mutex::default() }
    }

    fn gauge(&self, t: ResourceType, proxy: &Arc<str>, reason: &Arc<str>, by: i64) {
        let family = match t {
            ResourceType::Cluster => &self.metrics.cds_reject,
            ResourceType::Endpoint => &self.metrics.eds_reject,
            ResourceType::Listener => &self.metrics.lds_reject,
            ResourceType::Route => &self.metrics.rds_reject,
            ResourceType::Secret | ResourceType::ExtensionConfig | ResourceType::NameTable => return,
        };
        family.get_or_create(&Rejection { node: proxy.clone(), err: reason.clone() }).inc_by(by);
    }
}

impl Feedback for Refusals {
    fn verdict(&self, verdict: Verdict) {
        let Verdict { proxy, resource_type: t, name, version, refused } = verdict;
        let key = (proxy.clone(), t, name.clone());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &refused {
            Some(reason) => current.insert(key, reason.clone()),
            None => current.remove(&key),
        };
        drop(current);
        if let Some(reason) = &before {
            self.gauge(t, &proxy, reason, -1);
        }
        match &refused {
            Some(reason) => {
                self.gauge(t, &proxy, reason, 1);
                tracing::warn!(%proxy, r#type = t.short_name(), resource = %name, %version, %reason, "refused by proxy");
            }
            None if before.is_some() => {
                tracing::info!(%proxy, r#type = t.short_name(), resource = %name, "no longer refused");
            }
            None => {}
        }
    }
}

/// Carries what streams count over to the metrics.
///
/// # Errors
/// Never; it is a task among others.
pub(super) async fn count(
    shared: Arc<Shared>,
    _refusals: Arc<Refusals>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(COUNT_INTERVAL);
    let mut versions: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let counters = &shared.clients.counters;
        for t in ResourceType::ALL {
            let label = Type::new(t.short_name());
            let families = [
                (&metrics.pushes, &counters.pushes),
                (&metrics.rejects, &counters.rejects),
                (&metrics.expired_nonce, &counters.expired_nonces),
            ];
            for (family, counter) in families {
                let metric = family.get_or_create(&label);
                metric.inc_by(counter[t].get().saturating_sub(metric.get()));
            }
        }
        let errors = counters.internal_errors.get();
        metrics.internal_errors.inc_by(errors.saturating_sub(metrics.internal_errors.get()));
        let denied = counters.denied_secrets.get();
        metrics.denied_secrets.inc_by(denied.saturating_sub(metrics.denied_secrets.get()));
        let timeouts = metrics.barrier_timeouts.get_or_create(&Type::new("cds"));
        timeouts.inc_by(counters.barrier_timeouts.get().saturating_sub(timeouts.get()));
        let mut connected: BTreeMap<Arc<str>, i64> = versions.keys().map(|v| (v.clone(), 0)).collect();
        for client in shared.clients.list() {
            *connected.entry(client.proxy.istio_version.clone()).or_insert(0) += 1;
        }
        for (version, count) in &connected {
            metrics.xds.get_or_create(&Version { version: version.clone() }).set(*count);
        }
        versions = connected;
    }
    Ok(())
}
