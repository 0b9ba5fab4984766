//! Sidecars (translation §2).

mod egress;
mod hosts;
mod ingress;
mod ingress_tls;

use super::{
    Problems, age, namespace,
    rules::domain,
    target::check_workload_selector,
    traffic_policy::{Reader, connection_pool},
};
use crate::{
    api::{self, sidecar as spec},
    model::{Bind, Code, Problem, Protocol, Sidecar, mesh::OutboundPolicy},
};

/// The Sidecar of an object.
#[must_use]
pub fn convert(sidecar: &api::Sidecar) -> (Option<Sidecar>, Vec<Problem>) {
    let mut problems = Problems::of("Sidecar", &sidecar.metadata);
    let spec = &sidecar.spec;
    if spec.ingress.is_empty()
        && spec.egress.is_empty()
        && spec.outbound_traffic_policy.is_none()
        && spec.inbound_connection_pool.is_none()
    {
        problems.add(Code::SidecarEmpty, "spec", "says nothing: add ingress, egress or another part");
    }
    if !spec.ingress.is_empty() {
        problems.not_honoured("spec.ingress");
    }
    ingress::check(&spec.ingress, &mut problems);
    if let Some(pool) = &spec.inbound_connection_pool {
        problems.not_honoured("spec.inboundConnectionPool");
        connection_pool(&mut Reader { path: "spec.inboundConnectionPool", problems: &mut problems }, pool);
    }
    check_workload_selector(spec.workload_selector.as_ref(), &mut problems);
    let made = Sidecar {
        object: problems.object().clone(),
        age: age(&sidecar.metadata),
        namespace: namespace(&sidecar.metadata),
        workload_selector: spec.workload_selector.as_ref().map(|s| s.labels.clone()),
        egress: egress::read(&spec.egress, &mut problems),
        outbound_policy: spec.outbound_traffic_policy.as_ref().map(|p| policy(p, &mut problems)),
    };
    (Some(made), problems.into_vec())
}

fn policy(policy: &spec::OutboundTrafficPolicy, problems: &mut Problems) -> OutboundPolicy {
    let made = match policy.mode {
        spec::OutboundTrafficMode::AllowAny => OutboundPolicy::AllowAny,
        spec::OutboundTrafficMode::RegistryOnly => OutboundPolicy::RegistryOnly,
    };
    let Some(proxy) = &policy.egress_proxy else { return made };
    let field = "spec.outboundTrafficPolicy.egressProxy";
    problems.not_honoured(field);
    if made == OutboundPolicy::RegistryOnly {
        problems.add(
            Code::EgressProxyUnfit,
            field,
            "has no effect with mode REGISTRY_ONLY, which lets nothing through",
        );
    }
    if let Err(flaw) = domain(&proxy.host) {
        problems.flaw(format!("{field}.host"), flaw);
    }
    match &proxy.port {
        None => {
            problems.add(Code::EgressProxyUnfit, format!("{field}.port"), "is missing: name the port of the service");
        }
        Some(port) => {
            super::checks::port(|| format!("{field}.port.number"), port.number.into(), problems);
        }
    }
    made
}

/// What the port of a listener says beside its number.
fn port_protocol(port: &spec::SidecarPort, field: &str, problems: &mut Problems) -> Protocol {
    if port.target_port != 0 {
        problems.add(Code::ListenerTargetPort, format!("{field}.targetPort"), "has no effect: a listener has none");
    }
    if !port.name.is_empty() && !super::rules::is_dns_label(&port.name) {
        let reason = format!("{:?} is not the name of a port: use letters, digits and inner '-'", port.name);
        problems.add(Code::PortNameInvalid, format!("{field}.name"), reason);
    }
    match (port.protocol.as_str(), Protocol::parse(&port.protocol)) {
        ("", _) => Protocol::Auto,
        (_, Some(Protocol::Udp)) => {
            problems.add(Code::FieldNotHonoured, format!("{field}.protocol"), "UDP: proxies take TCP only");
            Protocol::Auto
        }
        (_, Some(protocol)) => protocol,
        (_, None) => {
            let reason = format!("protocol {:?} is not known; it is told by looking at the bytes", port.protocol);
            problems.add(Code::ProtocolUnknown, format!("{field}.protocol"), reason);
            Protocol::Auto
        }
    }
}

/// A Unix socket is a file, or in the abstract namespace.
fn check_socket(bind: &Bind, field: &str, problems: &mut Problems) {
    if let Bind::Pipe(path) = bind
        && (!path.starts_with(['/', '@']) || path.ends_with('/'))
    {
        let reason =
            format!("{path:?} is not the path of a Unix socket: it starts with '/' or '@', and is no directory");
        problems.add(Code::SocketInvalid, field, reason);
    }
}

#[cfg(test)]
mod tests;
