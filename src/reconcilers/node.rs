//! Nodes: where workloads run.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use crate::model::{
    Locality,
    workload::{NodeFacts, label},
};

/// What matters of a Node. Nothing in it can be wrong.
#[must_use]
pub fn convert(node: &Node) -> NodeFacts {
    let first = |keys: &[&str]| -> Arc<str> {
        let labels = node.metadata.labels.as_ref();
        let found = keys.iter().find_map(|key| labels?.get(*key)).map(String::as_str);
        found.unwrap_or_default().into()
    };
    let region = first(&[label::REGION, label::OLD_REGION]);
    let zone = first(&[label::ZONE, label::OLD_ZONE]);
    NodeFacts { locality: Locality { region, zone, subzone: first(&[label::SUBZONE]) } }
}
