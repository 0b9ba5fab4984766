//! Kubernetes Services (translation §1.1).

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{Service as ApiService, ServicePort as ApiPort, ServiceSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{ConvertContext, Problems, age, annotation, host, name, namespace, visibility};
use crate::model::{
    Code, Problem, Protocol, Service, ServicePort,
    service::{Registry, Resolution, TrafficDistribution},
};

const EXPORT_TO: &str = "networking.istio.io/exportTo";
/// The way of connecting to several addresses of a name; of Istio's own Envoy.
pub(super) const CONNECT_STRATEGY: &str = "istio.io/connect-strategy";
/// Names the network that a Service is the gateway of.
const NETWORK: &str = "topology.istio.io/network";
/// Zone or node preference, on Services and Namespaces.
pub(super) const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
/// Identities that members have.
const CANONICAL_ACCOUNTS: &str = "alpha.istio.io/canonical-serviceaccounts";
/// Service accounts of the namespace that members have.
const KUBERNETES_ACCOUNTS: &str = "alpha.istio.io/kubernetes-serviceaccounts";

/// The service of a Kubernetes Service. What the Namespace and the mesh say for all their services is put in later.
#[must_use]
pub fn convert(service: &ApiService, context: &ConvertContext<'_>) -> (Option<Service>, Vec<Problem>) {
    let mut problems = Problems::of("Service", &service.metadata);
    let Some(spec) = &service.spec else {
        problems.add(Code::ServiceUnusable, "spec", "is missing");
        return (None, problems.into_vec());
    };
    let (name, namespace) = (name(&service.metadata), namespace(&service.metadata));
    check_honoured(&service.metadata, &mut problems);
    let external_name = external_name(spec, &mut problems);
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    let headless = !is_external && spec.cluster_ip.as_deref() == Some("None");
    let export_to: Vec<&str> =
        annotation(&service.metadata, EXPORT_TO).map(|t| t.split(',').collect()).unwrap_or_default();
    let made = Service {
        host: format!("{name}.{namespace}.svc.{}", context.domain_suffix).into(),
        object: problems.object().clone(),
        age: age(&service.metadata),
        registry: Registry::Kubernetes,
        resolution: match (is_external, headless) {
            (true, _) => Resolution::Alias,
            (_, true) => Resolution::Passthrough,
            _ => Resolution::ClientSideLb,
        },
        ports: ports(spec, &mut problems).into(),
        primary_ipv6: is_primary_ipv6(spec),
        vips: if headless || is_external { Arc::default() } else { vips(spec, &mut problems).into() },
        cidrs: Arc::default(),
        visibility: visibility(&export_to, &namespace, &format!("metadata.annotations[{EXPORT_TO}]"), &mut problems)
            .map(Arc::new),
        mesh_external: is_external,
        headless,
        node_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        traffic_distribution: distribution(service, spec, &mut problems),
        external_name,
        subject_alt_names: names(service, CANONICAL_ACCOUNTS).into(),
        service_accounts: names(service, KUBERNETES_ACCOUNTS),
        labels: service.metadata.labels.clone().unwrap_or_default().into(),
        selector: spec.selector.clone().filter(|s| !s.is_empty()),
        name,
        namespace,
    };
    (Some(made), problems.into_vec())
}

fn check_honoured(meta: &ObjectMeta, problems: &mut Problems) {
    if meta.labels.as_ref().is_some_and(|labels| labels.contains_key(NETWORK)) {
        problems.not_honoured(format!("metadata.labels[{NETWORK}]"));
    }
    if annotation(meta, CONNECT_STRATEGY).is_some() {
        problems.not_honoured(format!("metadata.annotations[{CONNECT_STRATEGY}]"));
    }
}

fn external_name(spec: &ServiceSpec, problems: &mut Problems) -> Option<Arc<str>> {
    if spec.type_.as_deref() != Some("ExternalName") {
        return None;
    }
    let text = spec.external_name.as_deref().unwrap_or_default();
    host::parse(text).map_err(|flaw| problems.flaw("spec.externalName", flaw)).ok()
}

/// The first of the families counts: members of the other one are the same Pods again.
fn is_primary_ipv6(spec: &ServiceSpec) -> bool {
    match spec.ip_families.iter().flatten().next() {
        Some(family) => family == "IPv6",
        None => spec.cluster_ip.as_deref().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
    }
}

fn vips(spec: &ServiceSpec, problems: &mut Problems) -> Vec<IpAddr> {
    let mut texts: Vec<&String> = spec.cluster_ips.iter().flatten().collect();
    if texts.is_empty() {
        texts.extend(&spec.cluster_ip);
    }
    let mut vips = Vec::new();
    for text in texts.into_iter().filter(|t| !t.is_empty()) {
        match text.parse() {
            Ok(ip) => vips.push(ip),
            Err(_) => problems.add(Code::AddressInvalid, "spec.clusterIPs", format!("{text:?} is not an IP address")),
        }
    }
    vips
}

fn ports(spec: &ServiceSpec, problems: &mut Problems) -> Vec<ServicePort> {
    let ports = spec.ports.iter().flatten().enumerate();
    ports.filter_map(|(index, port)| service_port(index, port, problems)).collect()
}

fn service_port(index: usize, port: &ApiPort, problems: &mut Problems) -> Option<ServicePort> {
    let field = format!("spec.ports[{index}]");
    let Some(number) = u16::try_from(port.port).ok().filter(|n| *n > 0) else {
        problems.add(Code::PortOutOfRange, format!("{field}.port"), format!("{} is not a port", port.port));
        return None;
    };
    if port.protocol.as_deref() == Some("SCTP") {
        problems.add(
            Code::ProtocolUnknown,
            format!("{field}.protocol"),
            "SCTP is not supported: the port is left alone",
        );
    }
    let opaque = matches!(port.protocol.as_deref(), Some("UDP" | "SCTP"));
    let name = port.name.as_deref().unwrap_or_default();
    let target = match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(number),
        Some(IntOrString::Int(target)) => {
            let valid = u16::try_from(*target).ok();
            if valid.is_none() {
                problems.add(Code::PortOutOfRange, format!("{field}.targetPort"), format!("{target} is not a port"));
            }
            valid
        }
        Some(IntOrString::String(_)) => None,
    };
    let target_name = match &port.target_port {
        Some(IntOrString::String(name)) => name.as_str().into(),
        _ => Arc::default(),
    };
    Some(ServicePort {
        protocol: Protocol::of_port(opaque, port.app_protocol.as_deref(), name, number),
        name: name.into(),
        number,
        target,
        target_name,
    })
}

fn distribution(service: &ApiService, spec: &ServiceSpec, problems: &mut Problems) -> Option<TrafficDistribution> {
    if let Some(word) = spec.traffic_distribution.as_deref().filter(|w| !w.is_empty()) {
        return traffic_distribution(word, "spec.trafficDistribution", problems);
    }
    let word = annotation(&service.metadata, TRAFFIC_DISTRIBUTION)?;
    traffic_distribution(word, &format!("metadata.annotations[{TRAFFIC_DISTRIBUTION}]"), problems)
}

/// Reads a traffic distribution; unknown words are reported and mean none.
pub(super) fn traffic_distribution(word: &str, field: &str, problems: &mut Problems) -> Option<TrafficDistribution> {
    match word.to_ascii_lowercase().as_str() {
        "prefersamezone" | "preferclose" => Some(TrafficDistribution::PreferSameZone),
        "prefersamenode" => Some(TrafficDistribution::PreferSameNode),
        _ => {
            problems.add(
                Code::ValueUnknown,
                field,
                format!("{word:?} is not one of PreferSameZone, PreferSameNode, PreferClose"),
            );
            None
        }
    }
}

/// The names that an annotation lists.
fn names(service: &ApiService, key: &str) -> Vec<Arc<str>> {
    let listed = annotation(&service.metadata, key).unwrap_or_default().split(',').map(str::trim);
    listed.filter(|name| !name.is_empty()).map(Arc::from).collect()
}
