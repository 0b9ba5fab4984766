//! Carries what streams count, and the state that they are in, over to the metrics.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prometheus_client::metrics::{counter::Counter, family::Family};
use tokio_util::sync::CancellationToken;

use crate::{
    snapshot::{ResourceType, TypeMap},
    telemetry::metrics::{Metrics, Type, Version},
    xds::{clients, server::Shared},
};

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the shutdown.
///
/// # Errors
/// Never; it is a task among others.
pub(in crate::cli::core) async fn count(
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut versions: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        counters(&shared.clients.counters, &metrics);
        versions = states(&shared, &metrics, versions);
        shared.clients.forget_gone();
    }
    Ok(())
}

fn counters(counters: &clients::Counters, metrics: &Metrics) {
    by_type(&metrics.pushes, &counters.pushes);
    by_type(&metrics.resources, &counters.resources);
    by_type(&metrics.rejects, &counters.rejects);
    by_type(&metrics.expired_nonce, &counters.expired_nonces);
    carry(&metrics.internal_errors, &counters.internal_errors);
    carry(&metrics.barrier_timeouts, &counters.barrier_timeouts);
    carry(&metrics.denied_secrets, &counters.denied_secrets);
    carry(&metrics.refused_streams, &counters.refused_streams);
}

fn by_type(family: &Family<Type, Counter>, counted: &TypeMap<clients::Counter>) {
    for (t, counter) in counted.iter() {
        carry(&family.get_or_create(&Type::new(t.short_name())), counter);
    }
}

fn carry(metric: &Counter, counter: &clients::Counter) {
    metric.inc_by(counter.get().saturating_sub(metric.get()));
}

/// What streams are in now. `versions` are the proxies' versions at the last call: those that left count zero.
fn states(shared: &Shared, metrics: &Metrics, versions: BTreeMap<Arc<str>, i64>) -> BTreeMap<Arc<str>, i64> {
    let mut connected: BTreeMap<Arc<str>, i64> = versions.into_keys().map(|v| (v, 0)).collect();
    let mut held: TypeMap<i64> = TypeMap::default();
    let mut quarantined: TypeMap<i64> = TypeMap::default();
    for client in shared.clients.list() {
        *connected.entry(client.proxy.istio_version.clone()).or_insert(0) += 1;
        let machine = client.machine();
        for t in ResourceType::ALL {
            held[t] += machine.held_removals(t) as i64;
            quarantined[t] += machine.quarantined(t) as i64;
        }
    }
    for (version, count) in &connected {
        metrics.xds.get_or_create(&Version { version: version.clone() }).set(*count);
    }
    for t in ResourceType::ALL {
        let label = Type::new(t.short_name());
        metrics.held_removals.get_or_create(&label).set(held[t]);
        metrics.quarantined.get_or_create(&label).set(quarantined[t]);
    }
    connected
}
