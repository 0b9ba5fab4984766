//! Selectors of workloads by label.

use super::Problems;
use crate::{
    api::common::PolicyTargetReference,
    model::{Code, Labels},
};

/// Reports labels that no workload can have: an API server would have refused the object, a file is taken as it is.
pub(super) fn check_labels(field: &str, labels: &Labels, problems: &mut Problems) {
    for (name, value) in labels {
        if name.is_empty() || name.contains('*') || value.contains('*') {
            let reason = format!("\"{name}: {value}\" selects nothing: labels are compared as they are written");
            problems.add(Code::SelectorLabelInvalid, field, reason);
        }
    }
}

/// What a policy can attach to.
const TARGETS: [(&str, &str); 4] = [
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

/// Reports what is wrong with what a policy attaches to.
pub(super) fn check_target(field: &str, target: &PolicyTargetReference, problems: &mut Problems) {
    let group = if target.group == "core" { "" } else { &target.group };
    if !TARGETS.contains(&(group, &target.kind)) {
        let known: Vec<String> = TARGETS.iter().map(|(group, kind)| format!("{group}/{kind}")).collect();
        let reason = format!("\"{}/{}\" is not one of {}", target.group, target.kind, known.join(", "));
        problems.add(Code::TargetKindInvalid, format!("{field}.kind"), reason);
    }
    if target.name.is_empty() {
        problems.add(Code::FieldMissing, format!("{field}.name"), "is empty: name what the policy is for");
    }
    if !target.namespace.is_empty() {
        let reason = format!("{:?}: a policy attaches to objects of its own namespace", target.namespace);
        problems.add(Code::TargetNamespaceForeign, format!("{field}.namespace"), reason);
    }
}
