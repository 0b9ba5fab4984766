//! Selectors of workloads by label.

use super::Problems;
use crate::model::{Code, Labels};

/// Reports labels that no workload can have: an API server would have refused the object, a file is taken as it is.
pub(super) fn check_labels(field: &str, labels: &Labels, problems: &mut Problems) {
    for (name, value) in labels {
        if name.is_empty() || name.contains('*') || value.contains('*') {
            let reason = format!("\"{name}: {value}\" selects nothing: labels are compared as they are written");
            problems.add(Code::SelectorLabelInvalid, field, reason);
        }
    }
}
