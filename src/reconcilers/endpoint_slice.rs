//! EndpointSlices: members of Kubernetes Services (translation §1.3).

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{Problems, namespace};
use crate::model::{
    Code, Problem,
    workload::{SliceEndpoints, SliceEntry, SlicePort},
};

const SERVICE: &str = "kubernetes.io/service-name";
/// On slices of other clusters, which belong to no local Service.
const MULTI_CLUSTER: &str = "multicluster.kubernetes.io/service-name";

/// The members that a slice names; `None` when it has none for us.
#[must_use]
pub fn convert(slice: &EndpointSlice) -> (Option<SliceEndpoints>, Vec<Problem>) {
    let mut problems = Problems::of("EndpointSlice", &slice.metadata);
    let made = members(slice, &mut problems);
    (made, problems.into_vec())
}

fn members(slice: &EndpointSlice, problems: &mut Problems) -> Option<SliceEndpoints> {
    let labels = slice.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|l| l.get(key)).map(String::as_str).filter(|v| !v.is_empty());
    if label(MULTI_CLUSTER).is_some() {
        return None;
    }
    let Some(service) = label(SERVICE) else {
        problems.add(
            Code::ServiceUnusable,
            "metadata.labels",
            format!("label {SERVICE} is missing: the slice belongs to no Service"),
        );
        return None;
    };
    if slice.address_type == "FQDN" {
        problems.add(
            Code::ServiceUnusable,
            "addressType",
            "\"FQDN\" is not supported: use a ServiceEntry with resolution DNS",
        );
        return None;
    }
    let ipv6 = slice.address_type == "IPv6";
    let entries = slice.endpoints.iter().flatten().enumerate();
    Some(SliceEndpoints {
        object: problems.object().clone(),
        service: service.into(),
        namespace: namespace(&slice.metadata),
        ports: ports(slice, problems),
        ipv6,
        entries: entries.filter_map(|(i, e)| entry(i, e, ipv6, problems)).collect(),
    })
}

fn ports(slice: &EndpointSlice, problems: &mut Problems) -> Vec<SlicePort> {
    let mut made = Vec::new();
    for (index, port) in slice.ports.iter().flatten().enumerate() {
        // A port without a number stands for all ports, which no proxy can be told.
        let Some(number) = port.port else { continue };
        match u16::try_from(number) {
            Ok(number) if number > 0 => {
                made.push(SlicePort { name: port.name.as_deref().unwrap_or_default().into(), number });
            }
            _ => problems.add(Code::PortOutOfRange, format!("ports[{index}].port"), format!("{number} is not a port")),
        }
    }
    made
}

fn entry(index: usize, endpoint: &Endpoint, ipv6: bool, problems: &mut Problems) -> Option<SliceEntry> {
    let addresses: Vec<IpAddr> = endpoint
        .addresses
        .iter()
        .enumerate()
        .filter_map(|(i, text)| {
            let checked = address(text, ipv6);
            checked
                .map_err(|reason| {
                    problems.add(Code::AddressInvalid, format!("endpoints[{index}].addresses[{i}]"), reason);
                })
                .ok()
        })
        .collect();
    if addresses.is_empty() {
        return None;
    }
    let text = |value: &Option<String>| -> Arc<str> { value.as_deref().unwrap_or_default().into() };
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let pod = endpoint.target_ref.as_ref().filter(|r| r.kind.as_deref() == Some("Pod")).map(|r| text(&r.name));
    Some(SliceEntry {
        addresses,
        ready: conditions.ready.unwrap_or(true),
        serving: conditions.serving.unwrap_or(true),
        terminating: conditions.terminating.unwrap_or(true),
        node: text(&endpoint.node_name),
        zone: text(&endpoint.zone),
        pod: pod.unwrap_or_default(),
        hostname: text(&endpoint.hostname),
    })
}

fn address(text: &str, ipv6: bool) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an IP address"))?;
    match (ip.is_ipv6(), ipv6) {
        (true, false) => Err(format!("{text:?} is an IPv6 address in a slice of addressType IPv4")),
        (false, true) => Err(format!("{text:?} is an IPv4 address in a slice of addressType IPv6")),
        _ => Ok(ip),
    }
}
