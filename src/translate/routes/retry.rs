//! Retries (translation §6.4).

use std::sync::{Arc, LazyLock};

use envoy_types::pb::envoy::{
    config::route::v3::{
        RetryPolicy,
        retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority},
    },
    extensions::retry::{
        host::previous_hosts::v3::PreviousHostsPredicate, priority::previous_priorities::v3::PreviousPrioritiesConfig,
    },
};

use crate::{model::virtual_service::Retries, snapshot::pack_any, translate::listeners::wire};

const STATUS_CODES: &str = "retriable-status-codes";
const DEFAULT_CONDITIONS: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const DEFAULT_ATTEMPTS: u32 = 2;
/// How often Envoy draws another host when it drew one that was tried.
const HOST_SELECTION_ATTEMPTS: i64 = 5;
/// After how many tries priorities are looked at again.
const PRIORITY_UPDATE_FREQUENCY: i32 = 2;

/// The retry policy of a rule; `None` for the rule is Istio's default, no policy means no retries. `hashed`: the
/// single destination uses consistent hashing, whose host should not change.
#[must_use]
pub fn retry_policy(retries: Option<&Retries>, hashed: bool) -> Option<RetryPolicy> {
    let mut policy = RetryPolicy {
        retry_on: DEFAULT_CONDITIONS.to_owned(),
        num_retries: wire::uint32(DEFAULT_ATTEMPTS),
        host_selection_retry_max_attempts: HOST_SELECTION_ATTEMPTS,
        ..RetryPolicy::default()
    };
    let ignore_previous = retries.and_then(|r| r.ignore_previous_hosts).unwrap_or(!hashed);
    policy.retry_host_predicate = ignore_previous.then(|| PREVIOUS_HOSTS.clone()).into_iter().collect();
    let Some(retries) = retries else { return Some(policy) };
    if retries.attempts == 0 {
        return None;
    }
    policy.num_retries = wire::uint32(retries.attempts);
    if !retries.conditions.is_empty() || !retries.status_codes.is_empty() {
        policy.retry_on = conditions(retries);
        policy.retriable_status_codes.clone_from(&retries.status_codes);
    }
    policy.per_try_timeout = retries.per_try_timeout.and_then(wire::duration);
    policy.retry_priority = retries.remote_localities.then(previous_priorities);
    policy.retry_back_off =
        retries.backoff.map(|pause| RetryBackOff { base_interval: wire::duration(pause), ..RetryBackOff::default() });
    Some(policy)
}

/// Status codes are only looked at when a condition says so.
fn conditions(retries: &Retries) -> String {
    let mut words: Vec<&str> = retries.conditions.iter().map(Arc::as_ref).collect();
    if !retries.status_codes.is_empty() && !words.contains(&STATUS_CODES) {
        words.push(STATUS_CODES);
    }
    words.join(",")
}

/// The same in every policy.
static PREVIOUS_HOSTS: LazyLock<RetryHostPredicate> = LazyLock::new(make_previous_hosts);

fn make_previous_hosts() -> RetryHostPredicate {
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pack_any(&PreviousHostsPredicate {}))),
    }
}

fn previous_priorities() -> RetryPriority {
    let config = PreviousPrioritiesConfig { update_frequency: PRIORITY_UPDATE_FREQUENCY };
    RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(pack_any(&config))),
    }
}
