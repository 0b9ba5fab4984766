//! How much a ServiceEntry may stand for. Each of its hosts is a service of its own for proxies, with each of the ports and
//! each of the addresses and endpoints: a small object may ask for more than a control plane and its proxies can hold.

use super::super::Problems;
use crate::{api::service_entry::ServiceEntrySpec, model::Code};

/// Entries that proxies get of one object, at most: some ten megabytes.
const MOST_ENTRIES: usize = 250_000;

/// Whether it is small enough.
pub(super) fn check(spec: &ServiceEntrySpec, problems: &mut Problems) -> bool {
    let (hosts, ports, addresses) = (spec.hosts.len(), spec.ports.len(), spec.addresses.len());
    let each = addresses + spec.endpoints.len() + spec.subject_alt_names.len() + spec.export_to.len();
    let services = hosts.saturating_mul(ports.max(1));
    let entries = services.saturating_mul(each + 1);
    if entries > MOST_ENTRIES {
        let reason = format!(
            "{hosts} hosts with {ports} ports, and {each} addresses, endpoints, subjectAltNames and namespaces of exportTo \
             for each, are {entries} entries for proxies: more than {MOST_ENTRIES}; the object is left out"
        );
        problems.add(Code::EntryTooLarge, "spec", reason);
    }
    entries <= MOST_ENTRIES
}
