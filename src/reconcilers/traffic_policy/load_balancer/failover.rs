//! Rules of localities and of failover between them.

use std::collections::HashSet;

use super::Reader;
use crate::{api::load_balancer as spec, model::Code};

/// Labels that say where a machine is.
const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(super) fn is_topology(label: &str) -> bool {
    TOPOLOGY.contains(&label)
}

/// Failover goes from one region to another.
pub(super) fn check(reader: &mut Reader<'_>, failover: &[spec::LocalityFailover]) {
    for (i, entry) in failover.iter().enumerate() {
        let field = format!("failover[{i}]");
        if entry.from == entry.to {
            let reason = format!("{:?}: it leads to another region", entry.to);
            reader.wrong(Code::FailoverInvalid, &format!("{field}.to"), reason);
        }
        for (name, text) in [("from", &entry.from), ("to", &entry.to)] {
            if text.contains(['/', '*']) {
                let reason = format!("{text:?} is no region: name one in full, without zone");
                reader.wrong(Code::FailoverInvalid, &format!("{field}.{name}"), reason);
            }
        }
    }
}

/// Localities of a list have parts, a wildcard at the end only, and none lies within another one.
pub(super) fn check_list(reader: &mut Reader<'_>, field: &str, localities: &[&str]) {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut within: HashSet<&str> = HashSet::new();
    for (i, locality) in localities.iter().enumerate() {
        let at = format!("{field}[{i}]");
        let stars = locality.matches('*').count();
        if locality.splitn(3, '/').any(str::is_empty) {
            reader.wrong(Code::LocalityInvalid, &at, format!("{locality:?} has an empty part"));
        } else if stars > 1 || (stars == 1 && !locality.ends_with('*')) {
            reader.wrong(Code::LocalityInvalid, &at, format!("{locality:?}: \"*\" stands once, at the end"));
        }
        let ends = locality.match_indices('/').take(2).map(|(end, _)| &locality[..end]);
        let ends: Vec<&str> = ends.collect();
        if seen.contains(locality) || within.contains(locality) || ends.iter().any(|outer| seen.contains(outer)) {
            reader.wrong(Code::LocalityOverlap, &at, format!("{locality:?} overlaps with another entry"));
        }
        within.extend(ends);
        seen.insert(locality);
    }
}
