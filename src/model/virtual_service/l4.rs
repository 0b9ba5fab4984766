//! Rules for connections (translation §3.2, §7.6).

use std::sync::Arc;

use ipnet::IpNet;

use super::{Destination, SourceMatch};

/// A rule for TLS that is passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRoute {
    /// Which entry of the object it was made of (`spec.tls[index]`), for problems.
    pub index: usize,
    /// It applies when one of these does; never empty.
    pub matches: Vec<TlsMatch>,
    /// Where connections go; never empty.
    pub destinations: Vec<L4Destination>,
}

/// A rule for opaque connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRoute {
    /// Which entry of the object it was made of (`spec.tcp[index]`), for problems.
    pub index: usize,
    /// It applies when one of these does; empty is always.
    pub matches: Vec<TcpMatch>,
    /// Where connections go; never empty.
    pub destinations: Vec<L4Destination>,
}

/// A destination with its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L4Destination {
    /// Where to.
    pub destination: Destination,
    /// The share among the entry's destinations; of no meaning for a single one.
    pub weight: u32,
}

/// A condition on a TLS connection: the conjunction of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsMatch {
    /// Server names, possibly with a leading `*.`; never empty.
    pub sni_hosts: Vec<Arc<str>>,
    /// Addresses it goes to; empty is any.
    pub destination_subnets: Vec<IpNet>,
    /// The port of the listener.
    pub port: Option<u16>,
    /// Which proxies have this rule.
    pub source: SourceMatch,
}

/// A condition on a connection: the conjunction of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpMatch {
    /// Addresses it goes to; empty is any.
    pub destination_subnets: Vec<IpNet>,
    /// The port of the listener.
    pub port: Option<u16>,
    /// Which proxies have this rule.
    pub source: SourceMatch,
}
