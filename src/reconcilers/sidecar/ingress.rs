//! Inbound listeners: they are judged, although nothing is made of them yet.

use std::{collections::HashSet, net::IpAddr};

use super::{
    super::{
        Problems, checks,
        traffic_policy::{Reader, connection_pool},
    },
    check_socket, ingress_tls, port_protocol,
};
use crate::{
    api::sidecar as spec,
    model::{Bind, Code, Protocol},
};

/// Where traffic goes: the workload itself.
const SELF: [&str; 5] = ["", "127.0.0.1", "0.0.0.0", "::1", "::"];

pub(super) fn check(listeners: &[spec::IstioIngressListener], problems: &mut Problems) {
    let mut ports = HashSet::new();
    for (i, listener) in listeners.iter().enumerate() {
        let path = format!("spec.ingress[{i}]");
        if listener.port.number != 0 && !ports.insert(listener.port.number) {
            let reason = format!("another listener has port {}", listener.port.number);
            problems.add(Code::PortDuplicate, format!("{path}.port.number"), reason);
        }
        check_listener(&path, listener, problems);
    }
}

fn check_listener(path: &str, listener: &spec::IstioIngressListener, problems: &mut Problems) {
    let protocol = port_protocol(&listener.port, &format!("{path}.port"), problems);
    checks::port(|| format!("{path}.port.number"), listener.port.number.into(), problems);
    if !listener.bind.is_empty() && listener.bind.parse::<IpAddr>().is_err() {
        let reason = format!("{:?} is not an IP address", listener.bind);
        problems.add(Code::BindInvalid, format!("{path}.bind"), reason);
    }
    check_endpoint(&format!("{path}.defaultEndpoint"), &listener.default_endpoint, problems);
    if let Some(tls) = &listener.tls {
        if !matches!(protocol, Protocol::Https | Protocol::Tls) {
            let reason = format!("protocol {:?} is plaintext: use HTTPS or TLS", listener.port.protocol);
            problems.add(Code::ServerTlsUnexpected, format!("{path}.tls"), reason);
        }
        ingress_tls::check(&format!("{path}.tls"), tls, problems);
    }
    let Some(pool) = &listener.connection_pool else { return };
    let field = format!("{path}.connectionPool");
    connection_pool(&mut Reader { path: &field, problems }, pool);
    let http = [Protocol::Http, Protocol::Http2, Protocol::HttpProxy, Protocol::Grpc, Protocol::GrpcWeb];
    if pool.http.is_some() && !http.contains(&protocol) {
        let reason = format!("has no effect with protocol {:?}", listener.port.protocol);
        problems.add(Code::FieldWithoutEffect, format!("{field}.http"), reason);
    }
}

/// `127.0.0.1:port` or `unix://path`.
fn check_endpoint(field: &str, text: &str, problems: &mut Problems) {
    if text.is_empty() {
        return;
    }
    if let Some(bind @ Bind::Pipe(_)) = Bind::parse(text) {
        check_socket(&bind, field, problems);
        return;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        let reason = format!("{text:?} is not of the form 127.0.0.1:port or unix://path");
        problems.add(Code::DefaultEndpointInvalid, field, reason);
        return;
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    // An address of IPv6 stands in brackets.
    let known = inner.map_or(SELF.contains(&host) && !host.contains(':'), |host| SELF.contains(&host));
    if !known {
        let reason = format!("{host:?} is not the workload itself: use 127.0.0.1, [::1], 0.0.0.0 or [::]");
        problems.add(Code::DefaultEndpointInvalid, field, reason);
    }
    if port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        problems.add(Code::DefaultEndpointInvalid, field, format!("{port:?} is not a port: use 1 to 65535"));
    }
}
