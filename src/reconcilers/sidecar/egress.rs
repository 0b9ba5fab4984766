//! Outbound listeners.

use std::collections::HashSet;

use super::{super::Problems, check_socket, hosts, port_protocol};
use crate::{
    api::sidecar as spec,
    model::{
        Bind, Code,
        sidecar::{CaptureMode, EgressHost, EgressListener, EgressPort},
    },
};

/// The listeners, the one without a port last. Without any, everything that is exported is imported; a listener that
/// is wrong imports nothing.
pub(super) fn read(listeners: &[spec::IstioEgressListener], problems: &mut Problems) -> Vec<EgressListener> {
    let everything = |hosts| EgressListener { port: None, bind: None, capture: CaptureMode::Iptables, hosts };
    if listeners.is_empty() {
        return vec![everything(vec![EgressHost::everything()])];
    }
    check_unique(listeners, problems);
    let mut made = Vec::with_capacity(listeners.len());
    let (mut rest, mut has_portless): (Option<EgressListener>, bool) = (None, false);
    for (i, listener) in listeners.iter().enumerate() {
        let path = format!("spec.egress[{i}]");
        let converted = egress_listener(listener, &path, problems);
        match (listener.port.is_some(), has_portless) {
            (true, true) => {
                let reason = "listeners with a port come before the one without; it is used as if it did";
                problems.add(Code::EgressOrder, &path, reason);
                made.extend(converted);
            }
            (true, false) => made.extend(converted),
            (false, true) => {
                let reason = "another listener without a port comes before it; it is left out";
                problems.add(Code::EgressOrder, path, reason);
            }
            (false, false) => {
                rest = converted;
                has_portless = true;
            }
        }
    }
    made.extend(rest);
    made
}

/// Listeners on ports have different ones, and those on sockets different paths.
fn check_unique(listeners: &[spec::IstioEgressListener], problems: &mut Problems) {
    let (mut ports, mut sockets) = (HashSet::new(), HashSet::new());
    for (i, listener) in listeners.iter().enumerate() {
        let Some(port) = &listener.port else { continue };
        if port.number != 0 && !ports.insert(port.number) {
            let reason = format!("another listener has port {}", port.number);
            problems.add(Code::PortDuplicate, format!("spec.egress[{i}].port.number"), reason);
        }
        if port.number == 0 && !listener.bind.is_empty() && !sockets.insert(listener.bind.as_str()) {
            let reason = format!("another listener is on {:?}", listener.bind);
            problems.add(Code::SocketDuplicate, format!("spec.egress[{i}].bind"), reason);
        }
    }
}

fn egress_listener(
    listener: &spec::IstioEgressListener,
    path: &str,
    problems: &mut Problems,
) -> Option<EgressListener> {
    let hosts = hosts::read(&listener.hosts, path, problems);
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
    if let Some(bind) = &bind {
        check_socket(bind, &format!("{path}.bind"), problems);
    }
    let port = match &listener.port {
        None => None,
        Some(port) => Some(egress_port(port, bind.as_ref(), path, problems)?),
    };
    if matches!(bind, Some(Bind::Pipe(_))) && listener.capture_mode == spec::CaptureMode::Iptables {
        let reason = "IPTABLES: nothing is redirected to a Unix socket";
        problems.add(Code::SocketCaptured, format!("{path}.captureMode"), reason);
    }
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
    let protocol = port_protocol(port, &format!("{path}.port"), problems);
    let socket = matches!(bind, Some(Bind::Pipe(_)));
    let Some(number) = u16::try_from(port.number).ok().filter(|n| *n != 0 || socket) else {
        let reason = format!("{} is not a port, 1 to 65535; the listener is left out", port.number);
        problems.add(Code::PortOutOfRange, format!("{path}.port.number"), reason);
        return None;
    };
    if socket && number != 0 {
        let reason = format!("{number}: a Unix socket has no port number");
        problems.add(Code::SocketInvalid, format!("{path}.port.number"), reason);
    }
    Some(EgressPort { number, name: port.name.as_str().into(), protocol })
}
