//! Which members are sent by health (translation §5).

use crate::model::{EffectivePolicy, Service, service::Health, workload::label};

/// Whether members that are not ready are sent: Envoy then knows how many there are, and when to spill over.
/// Not with a panic threshold, which would send them traffic.
pub(in crate::translate) fn sends_unhealthy(service: &Service, policy: &EffectivePolicy) -> bool {
    let panics = policy.blocks.outlier_detection.as_ref().is_some_and(|o| o.min_health_percent > 0);
    service.traffic_distribution.is_some() || !panics
}

/// Whether sessions stay with a member that terminates.
pub(in crate::translate) fn keeps_sessions(service: &Service) -> bool {
    [label::PERSISTENT_SESSION, label::PERSISTENT_SESSION_HEADER]
        .into_iter()
        .any(|key| service.labels.get(key).is_some_and(|v| !v.is_empty()))
}

/// Whether a member of this health is sent.
pub(super) fn is_sent(health: Health, service: &Service, policy: &EffectivePolicy) -> bool {
    match health {
        Health::Healthy => true,
        Health::Unhealthy => sends_unhealthy(service, policy),
        Health::Draining => keeps_sessions(service),
        Health::Terminating => false,
    }
}
