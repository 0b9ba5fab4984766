//! ServiceEntries: one service per host, and their members (translation §1.4).

mod ports;
mod rules;
mod size;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{
    Problems, age, annotation, host, name, namespace, service::CONNECT_STRATEGY, target::check_workload_selector,
    visibility, workload_entry,
};
use crate::{
    api::{self, service_entry as spec},
    model::{
        Code, Host, Problem, Service,
        service::{EndpointAddress, Registry, Resolution},
        workload::{ExternalMembers, WorkloadFacts},
    },
};

/// What a ServiceEntry stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// One service per host.
    pub services: Vec<Service>,
    /// The members that they share.
    pub members: ExternalMembers,
}

/// The services and members of an object; `None` when nothing of it can be used.
#[must_use]
pub fn convert(entry: &api::ServiceEntry) -> (Option<Converted>, Vec<Problem>) {
    let mut problems = Problems::of("ServiceEntry", &entry.metadata);
    let made = converted(entry, &mut problems);
    (made, problems.into_vec())
}

fn converted(entry: &api::ServiceEntry, problems: &mut Problems) -> Option<Converted> {
    let honoured = resolution(&entry.spec, problems);
    let fits = size::check(&entry.spec, problems);
    // The rest is read all the same, for what is wrong with it.
    let resolution = honoured.unwrap_or(Resolution::Passthrough);
    rules::check(entry, problems);
    if annotation(&entry.metadata, CONNECT_STRATEGY).is_some() {
        problems.not_honoured(format!("metadata.annotations[{CONNECT_STRATEGY}]"));
    }
    check_workload_selector(entry.spec.workload_selector.as_ref(), problems);
    let endpoints = endpoints(entry, resolution, problems);
    let selector = entry.spec.workload_selector.as_ref().map(|s| s.labels.clone()).filter(|s| !s.is_empty());
    let template = template(entry, resolution, problems);
    let own_host_resolves = endpoints.is_empty() && selector.is_none();
    let by_name = matches!(resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    let mut services = Vec::new();
    for (index, host) in hosts(&entry.spec, problems) {
        if by_name && own_host_resolves && host.starts_with('*') {
            problems.add(
                Code::HostUnresolvable,
                format!("spec.hosts[{index}]"),
                format!("{host:?} cannot be resolved: resolution DNS of a wildcard needs endpoints"),
            );
            continue;
        }
        services.push(Service { host, ..template.clone() });
    }
    let host = services.first().map(|service| service.host.clone())?;
    let members = ExternalMembers { object: problems.object().clone(), host, endpoints, selector };
    honoured.filter(|_| fits).map(|_| Converted { services, members })
}

fn resolution(entry: &spec::ServiceEntrySpec, problems: &mut Problems) -> Option<Resolution> {
    Some(match entry.resolution {
        spec::Resolution::None => Resolution::Passthrough,
        spec::Resolution::Static => Resolution::ClientSideLb,
        spec::Resolution::Dns => Resolution::Dns,
        spec::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
        spec::Resolution::DynamicDns => {
            problems.add(Code::ResolutionUnsupported, "spec.resolution", "DYNAMIC_DNS: not honoured yet");
            return None;
        }
    })
}

fn hosts(entry: &spec::ServiceEntrySpec, problems: &mut Problems) -> Vec<(usize, Host)> {
    let mut seen = HashSet::new();
    let mut hosts = Vec::with_capacity(entry.hosts.len());
    if entry.hosts.is_empty() {
        problems.add(Code::HostsMissing, "spec.hosts", "at least one host is required");
    }
    for (index, text) in entry.hosts.iter().enumerate() {
        let field = || format!("spec.hosts[{index}]");
        match rules::host(text).and_then(|()| host::parse(text)) {
            Ok(host) if seen.insert(host.clone()) => hosts.push((index, host)),
            Ok(host) => problems.add(Code::FieldWithoutEffect, field(), format!("{host:?} is there already")),
            Err(flaw) => problems.flaw(field(), flaw),
        }
    }
    hosts
}

/// The service, but for its host.
fn template(entry: &api::ServiceEntry, resolution: Resolution, problems: &mut Problems) -> Service {
    let namespace = namespace(&entry.metadata);
    let (vips, cidrs) = addresses(&entry.spec, resolution, problems);
    Service {
        host: "".into(),
        visibility: visibility(&entry.spec.export_to, &namespace, "spec.exportTo", problems).map(Arc::new),
        namespace,
        name: name(&entry.metadata),
        object: problems.object().clone(),
        age: age(&entry.metadata),
        registry: Registry::ServiceEntry,
        resolution,
        ports: ports::read(&entry.spec.ports, problems).into(),
        vips: vips.into(),
        cidrs: cidrs.into(),
        primary_ipv6: false,
        mesh_external: entry.spec.location == spec::Location::MeshExternal,
        headless: false,
        node_local: false,
        traffic_distribution: None,
        external_name: None,
        service_accounts: Vec::new(),
        subject_alt_names: entry.spec.subject_alt_names.iter().map(|n| n.as_str().into()).collect(),
        labels: entry.metadata.labels.clone().unwrap_or_default().into(),
        selector: None,
    }
}

fn addresses(
    entry: &spec::ServiceEntrySpec,
    resolution: Resolution,
    problems: &mut Problems,
) -> (Vec<IpAddr>, Vec<IpNet>) {
    let (mut vips, mut cidrs) = (Vec::new(), Vec::new());
    let ranges = matches!(resolution, Resolution::Passthrough | Resolution::ClientSideLb);
    for (index, text) in entry.addresses.iter().enumerate() {
        let field = || format!("spec.addresses[{index}]");
        match (text.parse::<IpAddr>(), text.parse::<IpNet>()) {
            (Ok(ip), _) => vips.push(ip),
            (_, Ok(net)) => {
                if !ranges {
                    let reason = format!("{text:?}: a range needs resolution NONE or STATIC");
                    problems.add(Code::RangeUnsupported, field(), reason);
                }
                // A range of one address is one, whatever the resolution.
                if net.prefix_len() == net.max_prefix_len() {
                    vips.push(net.addr());
                } else if ranges {
                    cidrs.push(net.trunc());
                }
            }
            _ => problems.add(
                Code::AddressInvalid,
                field(),
                format!("{text:?} is not an IP address or a range such as 10.0.0.0/8"),
            ),
        }
    }
    (vips, cidrs)
}

fn endpoints(entry: &api::ServiceEntry, resolution: Resolution, problems: &mut Problems) -> Vec<WorkloadFacts> {
    let listed = &entry.spec.endpoints;
    if !listed.is_empty() && resolution == Resolution::Passthrough {
        let word = if entry.spec.resolution == spec::Resolution::None { "NONE" } else { "DYNAMIC_DNS" };
        problems.add(Code::EndpointsUnexpected, "spec.endpoints", format!("have no effect with resolution {word}"));
    } else if !listed.is_empty() && entry.spec.workload_selector.is_some() {
        problems.add(Code::EndpointsUnexpected, "spec.endpoints", "have no effect beside workloadSelector");
    }
    let are_used = resolution != Resolution::Passthrough && entry.spec.workload_selector.is_none();
    if listed.len() > 1 && resolution == Resolution::DnsRoundRobin {
        problems.add(
            Code::EndpointsTooMany,
            "spec.endpoints",
            "resolution DNS_ROUND_ROBIN takes one endpoint: one of them is used",
        );
    }
    let mut made = Vec::with_capacity(listed.len());
    for (index, spec) in listed.iter().enumerate() {
        let field = format!("spec.endpoints[{index}]");
        let Some(facts) = workload_entry::facts(spec, spec.labels.clone(), &field, problems) else { continue };
        match (&facts.address, resolution) {
            (Some(EndpointAddress::Hostname(host)), Resolution::ClientSideLb) => {
                problems.add(
                    Code::EndpointAddressUnfit,
                    format!("{field}.address"),
                    format!("{host:?}: a host name needs resolution DNS"),
                );
            }
            (Some(EndpointAddress::Pipe(path)), Resolution::Dns | Resolution::DnsRoundRobin) => {
                problems.add(
                    Code::EndpointAddressUnfit,
                    format!("{field}.address"),
                    format!("{path:?}: a Unix socket needs resolution STATIC"),
                );
            }
            (None, Resolution::Dns | Resolution::DnsRoundRobin) => {
                let reason = "is empty: resolution DNS needs a host name or an IP address";
                problems.add(Code::EndpointAddressUnfit, format!("{field}.address"), reason);
            }
            _ => made.extend(Some(facts).filter(|_| are_used)),
        }
    }
    made
}
