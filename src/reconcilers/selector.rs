//! Selectors of workloads by label.

use super::Problems;
use crate::model::Labels;

/// Reports labels that no workload can have: an API server would have refused the object, a file is taken as it is.
pub(super) fn check_labels(field: &str, labels: &Labels, problems: &mut Problems) {
    for (name, value) in labels {
        if name.is_empty() || name.contains('*') || value.contains('*') {
            let reason = format!("\"{name}: {value}\" selects nothing: labels are compared as they are written");
            problems.add(field, reason);
        }
    }
}

/// Reports several ways of saying whom an object is for, where one is allowed.
pub(super) fn check_target(fields: &[(&str, bool)], problems: &mut Problems) {
    let set: Vec<&str> = fields.iter().filter(|(_, set)| *set).map(|(field, _)| *field).collect();
    if set.len() > 1 {
        problems.add("spec", format!("only one of {} can be set", set.join(", ")));
    }
}
