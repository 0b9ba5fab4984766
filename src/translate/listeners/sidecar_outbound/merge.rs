//! The table of translation §3.1: what a listener becomes when one more service port comes to it.

use std::sync::Arc;

use super::Contribution;
use crate::{
    model::{Code, Problem, Protocol, ProtocolClass},
    translate::listeners::tcp::TcpRoute,
};

/// What the contributions of a listener add up to.
#[derive(Debug)]
pub struct MergedPort<'a> {
    /// The route configuration of its HTTP.
    pub route: Option<Arc<str>>,
    /// Its TCP chains with those who brought them, in order.
    pub tcp: Vec<(&'a Contribution, &'a TcpRoute)>,
    /// Whether gRPC-Web is spoken on it.
    pub grpc_web: bool,
    /// Contributions that could not be taken in.
    pub problems: Vec<Problem>,
    class: Option<ProtocolClass>,
    /// The first one of each protocol.
    first: Vec<&'a Contribution>,
}

impl<'a> MergedPort<'a> {
    /// Whether HTTP is told from other bytes by looking at them.
    #[must_use]
    pub fn sniffs(&self) -> bool {
        self.class == Some(ProtocolClass::Auto)
    }

    fn add_tcp(&mut self, new: &'a Contribution) {
        self.tcp.extend(new.tcp.iter().map(|route| (new, route)));
    }

    fn add(&mut self, new: &'a Contribution) {
        use ProtocolClass::{Auto, Http, Tcp};
        if let Some(old) = self.first.iter().find(|old| cannot_share(old.protocol, new.protocol)) {
            let reason = format!(
                "its port is taken by the older {}: in {:?} the server may speak first, so it shares a port with no \
                 other protocol",
                old.object,
                if server_first(new.protocol) { new.protocol } else { old.protocol },
            );
            self.problems.push(Problem {
                object: new.object.clone(),
                field: "spec.ports".to_owned(),
                reason,
                code: Code::PortConflict,
            });
            return;
        }
        let class = new.protocol.class();
        match (self.class, class) {
            // The routes of its host are in the route configuration that is there.
            (Some(Http | Auto), Http) => {}
            (None, _) | (Some(Http), Auto) => {
                self.route.clone_from(&new.route);
                self.tcp.clear();
                self.add_tcp(new);
                self.class = Some(class);
            }
            (Some(Http), Tcp) => {
                self.add_tcp(new);
                self.class = Some(Auto);
            }
            (Some(Tcp), Http | Auto) => {
                self.route.clone_from(&new.route);
                self.add_tcp(new);
                self.class = Some(Auto);
            }
            (Some(Tcp), Tcp) | (Some(Auto), Tcp | Auto) => self.add_tcp(new),
        }
        self.grpc_web |= new.protocol == Protocol::GrpcWeb;
        if self.first.iter().all(|old| old.protocol != new.protocol) {
            self.first.push(new);
        }
    }
}

const fn server_first(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Mongo | Protocol::Mysql)
}

fn cannot_share(old: Protocol, new: Protocol) -> bool {
    old != new && (server_first(old) || server_first(new))
}

/// Merges contributions, the oldest service first.
#[must_use]
pub fn merge(contributions: &[Arc<Contribution>]) -> MergedPort<'_> {
    let mut merged = MergedPort {
        route: None,
        tcp: Vec::new(),
        grpc_web: false,
        problems: Vec::new(),
        class: None,
        first: Vec::new(),
    };
    contributions.iter().for_each(|c| merged.add(c));
    merged
}
