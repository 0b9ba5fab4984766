//! Which servers of which Gateways share a listener (translation §7.2). The oldest Gateway wins every conflict.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::names;
use crate::{
    model::{Bind, Code, Gateway, Host, IpFamilies, ObjectRef, Problem, Server},
    translate::listeners::listener_name,
};

/// Ports below this one need a privilege.
const FIRST_FREE_PORT: u16 = 1024;

/// From the ports of the gateway pod's services to the ports that the pod listens on; a port that no service has
/// stays as it is (translation §7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortTranslation(BTreeMap<u16, u16>);

impl PortTranslation {
    /// Takes pairs of service port and target port; the first of a service port counts.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut map = BTreeMap::new();
        for (port, target) in pairs {
            map.entry(port).or_insert(target);
        }
        Self(map)
    }

    /// The port to listen on.
    #[must_use]
    pub fn target(&self, port: u16) -> u16 {
        self.0.get(&port).copied().unwrap_or(port)
    }
}

/// A server that has its place in a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedServer {
    /// Its Gateway.
    pub gateway: Arc<Gateway>,
    /// Its position in [`Gateway::servers`].
    pub position: usize,
    /// Its route configuration; `None` when it is not HTTP.
    pub route: Option<Arc<str>>,
}

impl MergedServer {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.gateway.servers[self.position]
    }

    /// The path of a field of the server, or of the server itself.
    #[must_use]
    pub fn field(&self, field: &str) -> String {
        field_of(self.server(), field)
    }

    pub(super) fn problem(&self, code: Code, field: &str, reason: String) -> Problem {
        Problem { object: self.gateway.object.clone(), field: self.field(field), reason, code }
    }
}

fn field_of(server: &Server, field: &str) -> String {
    let dot = if field.is_empty() { "" } else { "." };
    format!("spec.servers[{}]{dot}{field}", server.index)
}

/// A listener and the servers in it, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayListener {
    /// Where it binds; `None` is the wildcard.
    pub bind: Option<Bind>,
    /// The port that it listens on, after translation; 0 for a Unix socket.
    pub port: u16,
    /// The servers.
    pub servers: Vec<MergedServer>,
}

impl GatewayListener {
    /// The listener's name.
    #[must_use]
    pub fn name(&self, families: IpFamilies) -> String {
        listener_name(self.bind.as_ref(), self.port, families)
    }

    /// The route configurations that it asks for, each with the servers whose hosts are in it, the oldest first.
    #[must_use]
    pub fn routes(&self) -> BTreeMap<Arc<str>, Vec<&MergedServer>> {
        let mut routes: BTreeMap<Arc<str>, Vec<&MergedServer>> = BTreeMap::new();
        for server in &self.servers {
            if let Some(name) = &server.route {
                routes.entry(name.clone()).or_default().push(server);
            }
        }
        routes
    }
}

/// The result of merging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The listeners, by port and bind.
    pub listeners: Vec<GatewayListener>,
    /// The servers that lost, each naming the winner.
    pub problems: Vec<Problem>,
}

/// Merges the servers of a gateway's Gateways, which come oldest first.
#[must_use]
pub fn merge_servers(
    gateways: &[Arc<Gateway>],
    ports: &PortTranslation,
    unprivileged: bool,
    families: IpFamilies,
) -> Merged {
    let mut slots: BTreeMap<(u16, Option<Bind>), Slot> = BTreeMap::new();
    let mut problems = Vec::new();
    for gateway in gateways {
        for (position, server) in gateway.servers.iter().enumerate() {
            let target = ports.target(server.port);
            let bind = effective_bind(server.bind.as_ref(), families);
            let pipe = matches!(bind, Some(Bind::Pipe(_)));
            if unprivileged && target < FIRST_FREE_PORT && !pipe {
                let reason = format!("port {target} cannot be opened: the gateway's pod may not bind ports below 1024");
                problems.push(problem(Code::PortPrivileged, gateway, server, "port.number", reason));
                continue;
            }
            let key = (if pipe { 0 } else { target }, bind);
            let merged = MergedServer { gateway: gateway.clone(), position, route: None };
            if let Err(reason) = slots.entry(key.clone()).or_default().accept(merged, target) {
                let place = key.1.as_ref().map_or_else(|| "any address".to_owned(), ToString::to_string);
                let reason = format!("port {target} on {place}: {reason}; the server is not programmed");
                problems.push(problem(Code::PortConflict, gateway, server, "", reason));
            }
        }
    }
    let listeners = slots
        .into_iter()
        .filter(|(_, slot)| !slot.servers.is_empty())
        .map(|((port, bind), slot)| GatewayListener { bind, port, servers: slot.servers })
        .collect();
    Merged { listeners, problems }
}

fn problem(code: Code, gateway: &Gateway, server: &Server, field: &str, reason: String) -> Problem {
    Problem { object: gateway.object.clone(), field: field_of(server, field), reason, code }
}

/// A bind to the wildcard address is the same as none: both would open the same socket.
fn effective_bind(bind: Option<&Bind>, families: IpFamilies) -> Option<Bind> {
    match bind {
        Some(Bind::Ip(ip)) if families.wildcards().contains(ip) => None,
        other => other.cloned(),
    }
}

/// The servers of one (port, bind).
#[derive(Default)]
struct Slot {
    servers: Vec<MergedServer>,
    /// The first plaintext server.
    plaintext: Option<usize>,
    /// Who has a host over TLS.
    tls_hosts: BTreeMap<Host, usize>,
    /// The routes of HTTPS servers.
    tls_routes: BTreeMap<Arc<str>, usize>,
}

impl Slot {
    /// Takes a server in, or says why not.
    fn accept(&mut self, mut merged: MergedServer, target: u16) -> Result<(), String> {
        let server = merged.server();
        let route = names::route(server, &merged.gateway, target);
        merged.route = if server.is_tls() {
            self.check_tls(server, route.as_deref(), &merged.gateway.object)?;
            route.map(Into::into)
        } else {
            self.check_plaintext(server, route, &merged.gateway.object)?
        };
        let place = self.servers.len();
        let server = merged.server();
        if server.is_tls() {
            self.tls_hosts.extend(server.dns_names().into_iter().map(|host| (host, place)));
            self.tls_routes.extend(merged.route.iter().map(|name| (name.clone(), place)));
        } else {
            self.plaintext.get_or_insert(place);
        }
        self.servers.push(merged);
        Ok(())
    }

    fn check_tls(&self, server: &Server, route: Option<&str>, of: &ObjectRef) -> Result<(), String> {
        let taken: BTreeSet<(usize, Host)> =
            server.dns_names().into_iter().filter_map(|h| self.tls_hosts.get(&h).map(|at| (*at, h))).collect();
        if let Some((winner, host)) = taken.first() {
            return Err(format!("host {host:?} is served over TLS already by {}", self.winner(*winner, of)));
        }
        if let Some(winner) = self.plaintext {
            return Err(format!("it is taken by plaintext of {}", self.winner(winner, of)));
        }
        if let Some(winner) = route.and_then(|name| self.tls_routes.get(name)) {
            let older = self.winner(*winner, of);
            return Err(format!("an HTTPS server with the same port name is {older}"));
        }
        Ok(())
    }

    /// The route of a plaintext server: that of the servers whose port it shares.
    fn check_plaintext(
        &self,
        server: &Server,
        route: Option<String>,
        of: &ObjectRef,
    ) -> Result<Option<Arc<str>>, String> {
        let Some(winner) = self.plaintext else { return Ok(route.map(Into::into)) };
        let older = &self.servers[winner];
        if server.is_http() && older.server().is_http() {
            return Ok(older.route.clone());
        }
        let (new, old) = (word(server), word(older.server()));
        Err(format!("{new} cannot share it with {old} of {}", self.winner(winner, of)))
    }

    /// A server, as it is told one of a Gateway `of`.
    fn winner(&self, place: usize, of: &ObjectRef) -> String {
        let server = &self.servers[place];
        let object: &ObjectRef = &server.gateway.object;
        if object == of {
            return server.field("");
        }
        format!("the older {object} ({})", server.field(""))
    }
}

const fn word(server: &Server) -> &'static str {
    use crate::model::Protocol;
    match server.protocol {
        Protocol::Http => "HTTP",
        Protocol::Http2 => "HTTP2",
        Protocol::HttpProxy => "HTTP_PROXY",
        Protocol::Grpc => "GRPC",
        Protocol::GrpcWeb => "GRPC-WEB",
        Protocol::Https => "HTTPS",
        Protocol::Tls => "TLS",
        Protocol::Tcp => "TCP",
        Protocol::Mongo => "MONGO",
        Protocol::Redis => "REDIS",
        Protocol::Mysql => "MYSQL",
        Protocol::Udp => "UDP",
        Protocol::Auto => "an unnamed protocol",
    }
}
