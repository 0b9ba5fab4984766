//! Gateways (translation §7). A server that cannot be programmed as it is written is left out, never weakened: no
//! certificate check is dropped and no TLS port becomes plaintext.

mod tls;

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Flaw, Problems, age,
    host::{self, is_label},
    name, namespace,
    rules::{is_dns_label, wildcard_domain},
    selector::check_labels,
};
use crate::{
    api::{self, gateway as spec},
    model::{Bind, Code, Gateway, Problem, Protocol, ProtocolClass, Server, ServerTls, gateway::ServerHost},
};

const SOCKET: &str = "unix://";

/// The Gateway of an object, with the servers that can be programmed.
#[must_use]
pub fn convert(gateway: &api::Gateway) -> (Option<Gateway>, Vec<Problem>) {
    let mut problems = Problems::of("Gateway", &gateway.metadata);
    let namespace = namespace(&gateway.metadata);
    let spec = &gateway.spec;
    if spec.servers.is_empty() {
        problems.add(Code::ServersMissing, "spec.servers", "a Gateway without servers opens no port");
    }
    let mut servers = Vec::with_capacity(spec.servers.len());
    check_labels("spec.selector", &spec.selector, &mut problems);
    check_names(&spec.servers, &mut problems);
    check_ports(&spec.servers, &mut problems);
    if !is_dns_label(gateway.metadata.name.as_deref().unwrap_or_default()) {
        problems.add(Code::NameInvalid, "metadata.name", "the name of a Gateway is a label of a DNS name");
    }
    for (index, server) in spec.servers.iter().enumerate() {
        let mut reader = Reader { problems: &mut problems, path: format!("spec.servers[{index}]") };
        servers.extend(reader.server(index, server, &namespace));
    }
    let made = Gateway {
        object: problems.object().clone(),
        age: age(&gateway.metadata),
        name: name(&gateway.metadata),
        selector: (!spec.selector.is_empty()).then(|| spec.selector.clone()),
        servers,
        namespace,
    };
    (Some(made), problems.into_vec())
}

/// Names tell the servers of a Gateway apart.
fn check_names(servers: &[spec::Server], problems: &mut Problems) {
    let mut first = HashMap::new();
    for (index, server) in servers.iter().enumerate().filter(|(_, s)| !s.name.is_empty()) {
        match first.entry(server.name.as_str()) {
            Entry::Vacant(place) => {
                place.insert(index);
            }
            Entry::Occupied(place) => {
                let reason = format!("{:?} is the name of servers[{}] as well", server.name, place.get());
                problems.add(Code::ServerNameDuplicate, format!("spec.servers[{index}].name"), reason);
            }
        }
    }
}

/// Ports have names, each its own.
fn check_ports(servers: &[spec::Server], problems: &mut Problems) {
    let mut first = HashMap::new();
    for (index, server) in servers.iter().enumerate() {
        let field = format!("spec.servers[{index}].port.name");
        match first.entry(server.port.name.as_str()) {
            _ if server.port.name.is_empty() => problems.add(Code::FieldMissing, field, "is empty: a port has a name"),
            Entry::Vacant(place) => {
                place.insert(index);
            }
            Entry::Occupied(place) => {
                let reason =
                    format!("{:?} is the name of the port of servers[{}] as well", server.port.name, place.get());
                problems.add(Code::ServerPortNameDuplicate, field, reason);
            }
        }
    }
}

/// Reads one server, telling what is wrong with its fields.
struct Reader<'a> {
    problems: &'a mut Problems,
    path: String,
}

impl Reader<'_> {
    fn add(&mut self, code: Code, field: &str, reason: impl Into<String>) {
        self.problems.add(code, format!("{}.{field}", self.path), reason);
    }

    fn flaw(&mut self, field: &str, flaw: Flaw) {
        self.add(flaw.code, field, flaw.reason);
    }

    fn not_honoured(&mut self, field: &str) {
        self.problems.not_honoured(format!("{}.{field}", self.path));
    }

    fn server(&mut self, index: usize, server: &spec::Server, namespace: &Arc<str>) -> Option<Server> {
        if !server.default_endpoint.is_empty() {
            self.not_honoured("defaultEndpoint");
        }
        if server.port.target_port != 0 {
            self.add(Code::ServerTargetPort, "port.targetPort", "has no effect on a Gateway");
        }
        let port = self.port(server);
        let protocol = self.protocol(&server.port.protocol);
        let bind = self.bind(&server.bind);
        let hosts = self.hosts(&server.hosts, namespace);
        let tls = match protocol {
            Some(protocol) => self.tls(protocol, server.tls.as_ref()),
            // Nobody knows whether it belongs there, but what is wrong with it is told.
            None => server.tls.as_ref().and_then(|settings| tls::read(settings, self)).map(Some),
        };
        let redirect = server.tls.as_ref().is_some_and(|t| t.https_redirect);
        let plaintext_http = protocol.is_some_and(|p| p.class() == ProtocolClass::Http);
        if redirect && protocol.is_some() && !plaintext_http {
            self.add(
                Code::RedirectNotHttp,
                "tls.httpsRedirect",
                "only plaintext HTTP can be redirected to HTTPS; it is ignored",
            );
        }
        if hosts.is_empty() {
            self.add(Code::ServerHostsMissing, "hosts", "no usable host is left; the server is not programmed");
            return None;
        }
        let (port, protocol, bind, tls) = (port?, protocol?, bind?, tls?);
        Some(Server {
            index,
            name: server.name.as_str().into(),
            port,
            port_name: server.port.name.as_str().into(),
            protocol,
            bind,
            hosts,
            https_redirect: redirect && plaintext_http,
            tls,
        })
    }

    /// A socket has no port.
    fn port(&mut self, server: &spec::Server) -> Option<u16> {
        let number = server.port.number;
        if server.bind.starts_with(SOCKET) {
            if number != 0 {
                let reason = format!("{number}: the number is 0 with a Unix socket");
                self.add(Code::PortOutOfRange, "port.number", reason);
            }
            return Some(u16::try_from(number).unwrap_or_default());
        }
        let port = u16::try_from(number).ok().filter(|p| *p != 0);
        if port.is_none() {
            self.add(
                Code::PortOutOfRange,
                "port.number",
                format!("{number} is not a port, 1 to 65535; the server is not programmed"),
            );
        }
        port
    }

    fn protocol(&mut self, word: &str) -> Option<Protocol> {
        let known = Protocol::parse(word).filter(|p| *p != Protocol::Udp);
        if known.is_none() {
            let reason = format!(
                "protocol {word:?} is not one of HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, TCP, TLS; the server is \
                 not programmed"
            );
            self.add(Code::ProtocolUnknown, "port.protocol", reason);
        }
        known
    }

    /// `Some(None)` is the wildcard.
    fn bind(&mut self, text: &str) -> Option<Option<Bind>> {
        if text.is_empty() {
            return Some(None);
        }
        let bind = Bind::parse(text).filter(|bind| !matches!(bind, Bind::Pipe(path) if !is_socket_path(path)));
        if bind.is_none() {
            let reason = format!(
                "{text:?} is neither an IP address nor unix:// with an absolute path; the server is not programmed"
            );
            self.add(Code::BindInvalid, "bind", reason);
        }
        bind.map(Some)
    }

    fn hosts(&mut self, hosts: &[String], namespace: &Arc<str>) -> Vec<ServerHost> {
        let mut usable = Vec::with_capacity(hosts.len());
        for (i, text) in hosts.iter().enumerate() {
            let read = server_host(text, namespace);
            match read.and_then(|host| host_style(text).map_or(Ok(host), Err)) {
                Ok(host) => usable.push(host),
                Err(flaw) => self.flaw(&format!("hosts[{i}]"), flaw.then("it is left out")),
            }
        }
        usable.sort();
        usable.dedup();
        usable
    }

    /// `Some(None)` is plaintext, `None` is a server that must not be programmed.
    fn tls(&mut self, protocol: Protocol, tls: Option<&spec::ServerTlsSettings>) -> Option<Option<ServerTls>> {
        match (protocol.is_tls(), tls) {
            (true, None) => {
                self.add(
                    Code::ServerTlsMissing,
                    "tls",
                    "protocols HTTPS and TLS need it; the server is not programmed",
                );
                None
            }
            (true, Some(settings)) => tls::read(settings, self).map(Some),
            (false, Some(_)) if protocol.class() != ProtocolClass::Http => {
                self.add(
                    Code::ServerTlsUnexpected,
                    "tls",
                    "it needs protocol HTTPS or TLS; the server is not programmed",
                );
                None
            }
            (false, Some(settings)) if tls::says_more_than_redirect(settings) => {
                self.add(
                    Code::ServerTlsUnexpected,
                    "tls",
                    "it needs protocol HTTPS or TLS; the server is not programmed",
                );
                None
            }
            (false, _) => Some(None),
        }
    }
}

/// What is wrong with how a host is written, if something is.
fn host_style(text: &str) -> Option<Flaw> {
    let name = text.split_once('/').map_or(text, |(_, name)| name);
    if name == "*" || name.parse::<IpAddr>().is_ok() || host::parse(name).is_err() {
        return None;
    }
    if !name.contains('.') {
        let reason = format!("{text:?} is a short name, which has no namespace here: write it in full");
        return Some(Flaw::new(Code::ServerHostShort, reason));
    }
    wildcard_domain(name).err()
}

/// An absolute path of a file, or an abstract socket.
fn is_socket_path(path: &str) -> bool {
    path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/'))
}

/// `[namespace/]dnsName` (translation §7.4).
fn server_host(text: &str, own: &Arc<str>) -> Result<ServerHost, Flaw> {
    let (namespace, name) = match text.split_once('/') {
        None | Some(("*", _)) => (None, text.rsplit('/').next().unwrap_or_default()),
        Some((".", name)) => (Some(own.clone()), name),
        Some((namespace, name)) if is_label(namespace) => (Some(namespace.into()), name),
        Some((namespace, _)) => {
            let reason = format!("{namespace:?} of {text:?} is not a namespace, \".\" or \"*\"");
            return Err(Flaw::new(Code::NamespaceInvalid, reason));
        }
    };
    let host = if name == "*" { "*".into() } else { host::parse(name)? };
    Ok(ServerHost { namespace, host })
}

#[cfg(test)]
mod tests;
