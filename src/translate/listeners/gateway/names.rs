//! Names of a gateway's route configurations and chains (translation §7.3).

use crate::model::{Bind, Gateway, Server};

fn with_bind(name: String, bind: Option<&Bind>) -> String {
    match bind {
        Some(bind) => format!("{name}.{bind}"),
        None => name,
    }
}

/// The route configuration of the plaintext HTTP servers of a port: `http.<target port>[.<bind>]`.
#[must_use]
pub fn plaintext_route(target_port: u16, bind: Option<&Bind>) -> String {
    with_bind(format!("http.{target_port}"), bind)
}

/// The route configuration of an HTTPS server:
/// `https.<server port>.<port name>.<gateway>.<namespace>[.<bind>]`.
#[must_use]
pub fn https_route(server: &Server, gateway: &Gateway) -> String {
    let name = format!("https.{}.{}.{}.{}", server.port, server.port_name, gateway.name, gateway.namespace);
    with_bind(name, server.bind.as_ref())
}

/// The route configuration of a server, `None` when it is not HTTP.
#[must_use]
pub fn route(server: &Server, gateway: &Gateway, target_port: u16) -> Option<String> {
    match (server.is_http(), server.is_tls()) {
        (false, _) => None,
        (true, true) => Some(https_route(server, gateway)),
        (true, false) => Some(plaintext_route(target_port, server.bind.as_ref())),
    }
}

/// What the chains of a server that is not HTTP begin with.
pub(super) fn tcp_chain(server: &Server, gateway: &Gateway, target_port: u16) -> String {
    let kind = if server.is_tls() { "tls" } else { "tcp" };
    format!("{kind}.{target_port}.{}.{}.{}", server.port_name, gateway.name, gateway.namespace)
}
