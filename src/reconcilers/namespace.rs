//! Namespaces: network and defaults of what is in them.

use k8s_openapi::api::core::v1::Namespace;

use super::{Problems, annotation, service::traffic_distribution};
use crate::model::{
    Problem,
    workload::{NamespaceFacts, label},
};

/// What matters of a Namespace.
#[must_use]
pub fn convert(namespace: &Namespace) -> (NamespaceFacts, Vec<Problem>) {
    let mut problems = Problems::of("Namespace", &namespace.metadata);
    let labels = namespace.metadata.labels.clone().unwrap_or_default();
    let said = annotation(&namespace.metadata, super::service::TRAFFIC_DISTRIBUTION);
    let field = format!("metadata.annotations[{}]", super::service::TRAFFIC_DISTRIBUTION);
    let facts = NamespaceFacts {
        network: labels.get(label::NETWORK).map(String::as_str).unwrap_or_default().into(),
        traffic_distribution: said.and_then(|word| traffic_distribution(word, &field, &mut problems)),
        labels,
    };
    (facts, problems.into_vec())
}
