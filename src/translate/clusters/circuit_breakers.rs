//! Circuit breakers: limits of connections, requests and retries (translation §4.3).

use envoy_types::pb::envoy::{
    config::cluster::v3::{
        CircuitBreakers,
        circuit_breakers::{Thresholds, thresholds::RetryBudget as EnvoyBudget},
    },
    r#type::v3::Percent,
};

use super::convert::{duration, uint32};
use crate::model::destination_rule::{ConnectionPool, RetryBudget};

/// Envoy's defaults are low: a mesh limits nothing that the user does not limit.
const UNLIMITED: u32 = u32::MAX;
const BUDGET_PERCENT: f64 = 20.0;
const BUDGET_MIN_CONCURRENCY: u32 = 3;

pub(super) fn circuit_breakers(pool: &ConnectionPool, budget: Option<&RetryBudget>) -> CircuitBreakers {
    let limit = |value: u32| Some(uint32(if value == 0 { UNLIMITED } else { value }));
    let thresholds = Thresholds {
        max_connections: limit(pool.max_connections),
        max_pending_requests: limit(pool.max_pending_requests),
        max_requests: limit(pool.max_requests),
        max_retries: limit(pool.max_retries),
        retry_budget: budget.map(retry_budget),
        ..Thresholds::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], ..CircuitBreakers::default() }
}

fn retry_budget(budget: &RetryBudget) -> EnvoyBudget {
    EnvoyBudget {
        budget_percent: Some(Percent { value: budget.percent.map_or(BUDGET_PERCENT, |p| p.to_f64()) }),
        min_retry_concurrency: Some(uint32(budget.min_concurrency.unwrap_or(BUDGET_MIN_CONCURRENCY))),
        budget_interval: budget.interval.map(duration),
    }
}
