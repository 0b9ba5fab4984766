//! WorkloadEntries, and the endpoints inside of ServiceEntries, which have the same form (translation §1.4).

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

use super::{
    Flaw, Problems, annotation, checks, host,
    rules::{self, check_label_syntax, is_dns_label},
};
use crate::{
    api::{self, workload_entry::WorkloadEntrySpec},
    model::{
        Code, Labels, Locality, Problem,
        service::EndpointAddress,
        workload::{WorkloadFacts, label, parse_locality},
    },
};

/// Set by the control plane on workloads whose agents report health.
const HEALTH_CHECKED: &str = "proxy.istio.io/health-checks-enabled";
const SOCKET_SCHEME: &str = "unix://";

/// What a WorkloadEntry says; `None` while it takes no part: its agent has not reported it healthy, or it has no
/// address.
#[must_use]
pub fn convert(entry: &api::WorkloadEntry) -> (Option<WorkloadFacts>, Vec<Problem>) {
    let mut problems = Problems::of("WorkloadEntry", &entry.metadata);
    let mut labels = entry.spec.labels.clone();
    labels.extend(entry.metadata.labels.clone().unwrap_or_default());
    let made = facts(&entry.spec, labels, "spec", &mut problems);
    (made.filter(|_| is_healthy(entry)), problems.into_vec())
}

fn is_healthy(entry: &api::WorkloadEntry) -> bool {
    if annotation(&entry.metadata, HEALTH_CHECKED) != Some("true") {
        return true;
    }
    let conditions = entry.status.iter().flat_map(|s| &s.conditions);
    conditions.into_iter().any(|c| c.condition_type == "Healthy" && c.status == "True")
}

/// What an endpoint says, with its labels; `None` when it cannot be reached.
pub(super) fn facts(
    spec: &WorkloadEntrySpec,
    labels: Labels,
    field: &str,
    problems: &mut Problems,
) -> Option<WorkloadFacts> {
    check_label_syntax(&format!("{field}.labels"), &spec.labels, problems);
    let ports = spec.ports.iter().filter_map(|(name, number)| port(name, *number, field, problems)).collect();
    let address = match address(&spec.address) {
        Ok(address) => address,
        Err(flaw) => {
            problems.flaw(format!("{field}.address"), flaw);
            return None;
        }
    };
    if let Some(EndpointAddress::Hostname(_)) = &address
        && let Err(flaw) = rules::domain(&spec.address)
    {
        problems.flaw(format!("{field}.address"), flaw);
    }
    if address.is_none() && spec.network.is_empty() {
        problems.add(Code::WorkloadAddressMissing, format!("{field}.address"), "address or network is required");
        return None;
    }
    if address.is_none() {
        problems.add(
            Code::NetworkUnreachable,
            format!("{field}.network"),
            "endpoints that are reached through a network's gateway: not honoured yet",
        );
    }
    if let Some(EndpointAddress::Pipe(path)) = &address {
        check_socket(path, spec, field, problems);
    }
    let label_of = |key: &str| labels.get(key).map(String::as_str).filter(|v| !v.is_empty());
    let tls_istio = label_of(label::TLS_MODE).map_or(!spec.service_account.is_empty(), |mode| mode == "istio");
    let place = [spec.locality.as_str(), label_of(label::LOCALITY).unwrap_or_default()];
    let place = place.into_iter().find(|text| !text.is_empty());
    let locality = place.map_or_else(Locality::default, parse_locality);
    Some(WorkloadFacts {
        object: problems.object().clone(),
        address,
        ports,
        network: spec.network.as_str().into(),
        locality,
        weight: spec.weight.max(1),
        service_account: spec.service_account.as_str().into(),
        tls_istio,
        labels,
    })
}

/// What an API server would have refused.
fn check_socket(path: &str, spec: &WorkloadEntrySpec, field: &str, problems: &mut Problems) {
    if path.ends_with('/') {
        problems.add(
            Code::SocketInvalid,
            format!("{field}.address"),
            format!("{path:?} is a directory, not a Unix socket"),
        );
    }
    if !spec.ports.is_empty() {
        problems.add(Code::SocketInvalid, format!("{field}.ports"), "have no effect with a Unix socket");
    }
}

fn address(text: &str) -> Result<Option<EndpointAddress>, Flaw> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(path) = text.strip_prefix(SOCKET_SCHEME) {
        return match path.starts_with(['/', '@']) {
            true => Ok(Some(EndpointAddress::Pipe(path.into()))),
            false => {
                let reason = format!("{text:?}: the path of a Unix socket must start with '/' or '@'");
                Err(Flaw::new(Code::SocketInvalid, reason))
            }
        };
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Some(EndpointAddress::Ip(ip)));
    }
    match host::parse(text) {
        Ok(name) if !name.starts_with('*') => Ok(Some(EndpointAddress::Hostname(name))),
        _ => {
            let reason = format!("{text:?} is not an IP address, a host name or a path with {SOCKET_SCHEME}");
            Err(Flaw::new(Code::AddressInvalid, reason))
        }
    }
}

pub(super) fn port(name: &str, number: u32, field: &str, problems: &mut Problems) -> Option<(Arc<str>, u16)> {
    let at = || format!("{field}.ports[{name}]");
    if !is_dns_label(name) {
        let reason = format!("{name:?} is not the name of a port: use letters, digits and inner '-'");
        problems.add(Code::PortNameInvalid, at(), reason);
    }
    checks::port(at, number.into(), problems).map(|number| (name.into(), number))
}
