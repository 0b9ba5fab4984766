//! Sidecars (translation §2).

use super::{
    Flaw, Problems, age,
    host::{self, is_label},
    namespace,
    selector::check_labels,
};
use crate::{
    api::{self, sidecar as spec},
    model::{
        Bind, Code, Problem, Protocol, Sidecar,
        mesh::OutboundPolicy,
        sidecar::{CaptureMode, EgressHost, EgressListener, EgressPort, NamespaceMatch},
    },
};

/// The Sidecar of an object.
#[must_use]
pub fn convert(sidecar: &api::Sidecar) -> (Option<Sidecar>, Vec<Problem>) {
    let mut problems = Problems::of("Sidecar", &sidecar.metadata);
    let spec = &sidecar.spec;
    if !spec.ingress.is_empty() {
        problems.not_honoured("spec.ingress");
    }
    if spec.inbound_connection_pool.is_some() {
        problems.not_honoured("spec.inboundConnectionPool");
    }
    if let Some(selector) = &spec.workload_selector {
        check_labels("spec.workloadSelector.labels", &selector.labels, &mut problems);
    }
    let made = Sidecar {
        object: problems.object().clone(),
        age: age(&sidecar.metadata),
        namespace: namespace(&sidecar.metadata),
        workload_selector: spec.workload_selector.as_ref().map(|s| s.labels.clone()),
        egress: egress(&spec.egress, &mut problems),
        outbound_policy: spec.outbound_traffic_policy.as_ref().map(|p| policy(p, &mut problems)),
    };
    (Some(made), problems.into_vec())
}

fn policy(policy: &spec::OutboundTrafficPolicy, problems: &mut Problems) -> OutboundPolicy {
    if policy.egress_proxy.is_some() {
        problems.not_honoured("spec.outboundTrafficPolicy.egressProxy");
    }
    match policy.mode {
        spec::OutboundTrafficMode::AllowAny => OutboundPolicy::AllowAny,
        spec::OutboundTrafficMode::RegistryOnly => OutboundPolicy::RegistryOnly,
    }
}

/// The listeners, the one without a port last. Without any, everything that is exported is imported; a listener that
/// is wrong imports nothing.
fn egress(listeners: &[spec::IstioEgressListener], problems: &mut Problems) -> Vec<EgressListener> {
    let everything = |hosts| EgressListener { port: None, bind: None, capture: CaptureMode::Iptables, hosts };
    if listeners.is_empty() {
        return vec![everything(vec![EgressHost::everything()])];
    }
    let mut made = Vec::with_capacity(listeners.len());
    let mut rest: Option<EgressListener> = None;
    for (i, listener) in listeners.iter().enumerate() {
        let path = format!("spec.egress[{i}]");
        let Some(converted) = egress_listener(listener, &path, problems) else { continue };
        if converted.port.is_some() {
            if rest.is_some() {
                problems.add(
                    Code::EgressOrder,
                    &path,
                    "listeners with a port come before the one without; it is used as if it did",
                );
            }
            made.push(converted);
        } else if rest.is_none() {
            rest = Some(converted);
        } else {
            problems.add(Code::EgressOrder, path, "another listener without a port comes before it; it is left out");
        }
    }
    made.extend(rest);
    made
}

fn egress_listener(
    listener: &spec::IstioEgressListener,
    path: &str,
    problems: &mut Problems,
) -> Option<EgressListener> {
    let hosts = hosts(&listener.hosts, path, problems);
    let bind = Bind::parse(&listener.bind);
    if bind.is_none() && !listener.bind.is_empty() {
        let reason = format!("{:?} is neither an IP address nor unix://<path>; it is left out", listener.bind);
        problems.add(Code::BindInvalid, format!("{path}.bind"), reason);
        return None;
    }
    if bind.is_some() && listener.port.is_none() {
        problems.add(Code::EgressBindWithoutPort, format!("{path}.bind"), "it needs a port; the listener is left out");
        return None;
    }
    let port = match &listener.port {
        None => None,
        Some(port) => Some(egress_port(port, bind.as_ref(), path, problems)?),
    };
    let capture = match listener.capture_mode {
        spec::CaptureMode::Default | spec::CaptureMode::Iptables => CaptureMode::Iptables,
        spec::CaptureMode::None => CaptureMode::None,
    };
    if hosts.is_empty() {
        problems.add(
            Code::EgressHostsMissing,
            format!("{path}.hosts"),
            "no usable host is left; the listener is left out",
        );
        return None;
    }
    Some(EgressListener { port, bind, capture, hosts })
}

fn egress_port(
    port: &spec::SidecarPort,
    bind: Option<&Bind>,
    path: &str,
    problems: &mut Problems,
) -> Option<EgressPort> {
    if port.target_port != 0 {
        problems.not_honoured(format!("{path}.port.targetPort"));
    }
    let socket = matches!(bind, Some(Bind::Pipe(_)));
    let Some(number) = u16::try_from(port.number).ok().filter(|n| *n != 0 || socket) else {
        let reason = format!("{} is not a port, 1 to 65535; the listener is left out", port.number);
        problems.add(Code::PortOutOfRange, format!("{path}.port.number"), reason);
        return None;
    };
    let protocol = match (port.protocol.as_str(), Protocol::parse(&port.protocol)) {
        ("", _) => Protocol::Auto,
        (_, Some(Protocol::Udp)) | (_, None) => {
            let reason = format!("protocol {:?} is not known; it is told by looking at the bytes", port.protocol);
            problems.add(Code::ProtocolUnknown, format!("{path}.port.protocol"), reason);
            Protocol::Auto
        }
        (_, Some(protocol)) => protocol,
    };
    Some(EgressPort { number, name: port.name.as_str().into(), protocol })
}

fn hosts(hosts: &[String], path: &str, problems: &mut Problems) -> Vec<EgressHost> {
    let mut usable = Vec::with_capacity(hosts.len());
    for (i, text) in hosts.iter().enumerate() {
        match egress_host(text) {
            Ok(host) => usable.push(host),
            Err(flaw) => problems.flaw(format!("{path}.hosts[{i}]"), flaw.then("it is left out")),
        }
    }
    usable
}

fn egress_host(text: &str) -> Result<EgressHost, Flaw> {
    let Some((namespace, name)) = text.split_once('/') else {
        let reason = format!("{text:?} is not of the form namespace/host");
        return Err(Flaw::new(Code::HostMalformed, reason));
    };
    let namespace = match (namespace, namespace.strip_prefix('~')) {
        ("*", _) => NamespaceMatch::Any,
        (".", _) => NamespaceMatch::Own,
        ("~", _) => NamespaceMatch::Nothing,
        (_, Some(excluded)) if is_label(excluded) => NamespaceMatch::Except(excluded.into()),
        (named, None) if is_label(named) => NamespaceMatch::Named(named.into()),
        _ => {
            let reason = format!("{namespace:?} of {text:?} is not a namespace, \".\", \"*\" or \"~\"");
            return Err(Flaw::new(Code::NamespaceInvalid, reason));
        }
    };
    let host = if name == "*" { "*".into() } else { host::parse(name)? };
    Ok(EgressHost { namespace, host })
}

#[cfg(test)]
mod tests;
