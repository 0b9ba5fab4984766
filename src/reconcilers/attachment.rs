//! Whom objects are for, of all kinds that say so in the same way.

use super::age;
use crate::{
    api::{
        Object,
        common::{MatchLabels, PolicyTargetReference, WorkloadSelector},
    },
    model::{Attachment, Labels, attachment::Target},
    reconcilers::intake::object_ref,
};

/// Of policies and of what extends proxies.
const SELECTOR: &str = "spec.selector";
/// Of the kinds for traffic.
const WORKLOAD_SELECTOR: &str = "spec.workloadSelector";

/// Whom an object is for; `None` when its kind is not for workloads. Gateways have rules of their own.
#[must_use]
pub fn of(object: &Object) -> Option<Attachment> {
    let (field, selector, targets) = match object {
        Object::AuthorizationPolicy(o) => {
            policy(o.spec.selector.as_ref(), o.spec.target_ref.as_ref(), &o.spec.target_refs)
        }
        Object::RequestAuthentication(o) => {
            policy(o.spec.selector.as_ref(), o.spec.target_ref.as_ref(), &o.spec.target_refs)
        }
        Object::Telemetry(o) => policy(o.spec.selector.as_ref(), o.spec.target_ref.as_ref(), &o.spec.target_refs),
        Object::WasmPlugin(o) => policy(o.spec.selector.as_ref(), o.spec.target_ref.as_ref(), &o.spec.target_refs),
        Object::TrafficExtension(o) => policy(o.spec.selector.as_ref(), None, &o.spec.target_refs),
        Object::PeerAuthentication(o) => policy(o.spec.selector.as_ref(), None, &[]),
        Object::ProxyConfig(o) => policy(o.spec.selector.as_ref(), None, &[]),
        Object::DestinationRule(o) => {
            (WORKLOAD_SELECTOR, o.spec.workload_selector.as_ref().map(|s| s.match_labels.clone()), Vec::new())
        }
        Object::EnvoyFilter(o) => traffic(o.spec.workload_selector.as_ref(), &o.spec.target_refs),
        Object::Sidecar(o) => traffic(o.spec.workload_selector.as_ref(), &[]),
        Object::ServiceEntry(o) => traffic(o.spec.workload_selector.as_ref(), &[]),
        _ => return None,
    };
    Some(Attachment { object: object_ref(object), age: age(object.meta()), field, selector, targets })
}

type Parts = (&'static str, Option<Labels>, Vec<Target>);

fn policy(
    selector: Option<&MatchLabels>,
    target: Option<&PolicyTargetReference>,
    targets: &[PolicyTargetReference],
) -> Parts {
    let single = target.map(|target| attached("spec.targetRef".to_owned(), target));
    let targets = single.into_iter().chain(listed(targets)).collect();
    (SELECTOR, selector.map(|s| s.match_labels.clone()), targets)
}

fn traffic(selector: Option<&WorkloadSelector>, targets: &[PolicyTargetReference]) -> Parts {
    (WORKLOAD_SELECTOR, selector.map(|s| s.labels.clone()), listed(targets).collect())
}

fn listed(targets: &[PolicyTargetReference]) -> impl Iterator<Item = Target> {
    targets.iter().enumerate().map(|(n, target)| attached(format!("spec.targetRefs[{n}]"), target))
}

fn attached(field: String, target: &PolicyTargetReference) -> Target {
    let PolicyTargetReference { group, kind, name, .. } = target.clone();
    Target { field, group: if group == "core" { String::new() } else { group }, kind, name }
}
