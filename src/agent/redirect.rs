//! Redirection of a workload's traffic to the proxy beside it: the chains `ISTIO_*` of iptables (contract §6.5).
//!
//! ```text
//! Redirection --rules--> Rules --plan(what iptables-save printed)--> text of iptables-restore --apply--> kernel
//! ```
//!
//! What is pure stands in `rules` and `plan`; `apply` runs programs. A plan is one transaction for each table: traffic
//! is never half redirected, and nothing is written when everything is as it should be.

mod apply;
mod plan;
mod rules;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

pub use self::{
    apply::{Kernel, RedirectError},
    plan::{Installed, plan, removal},
    rules::{Family, Rules},
};

/// Packets of the proxy to its own workload, in the mode TPROXY.
const OUTBOUND_MARK: u32 = 1338;

/// Where the agent answers DNS.
pub(super) const DNS_PORT: u16 = 15053;

/// What is redirected, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// Where the proxy takes outbound connections.
    pub outbound_port: u16,
    /// Where it takes inbound ones.
    pub inbound_port: u16,
    /// Where it takes tunnels (HBONE), which are left alone.
    pub tunnel_port: u16,
    /// The users that the proxy runs as.
    pub users: Vec<u32>,
    /// Its groups.
    pub groups: Vec<u32>,
    /// How inbound connections get to the proxy.
    pub mode: Mode,
    /// Marks packets to the proxy, in the mode TPROXY.
    pub mark: u32,
    /// The routing table of marked packets, in the mode TPROXY.
    pub route_table: u32,
    /// Which inbound connections are redirected.
    pub inbound: Inbound,
    /// Outbound ports that always are.
    pub outbound_ports: Vec<u16>,
    /// Outbound ports that never are.
    pub outbound_ports_excluded: Vec<u16>,
    /// Outbound addresses that are.
    pub outbound_ranges: Ranges,
    /// Outbound addresses that are not.
    pub outbound_ranges_excluded: Vec<IpNet>,
    /// Interfaces whose traffic is left alone.
    pub interfaces_excluded: Vec<String>,
    /// Interfaces of virtual machines: what comes in there is outbound.
    pub interfaces_rerouted: Vec<String>,
    /// Whose outbound connections are redirected.
    pub owners: Owners,
    /// Which requests for names the agent answers.
    pub dns: Dns,
    /// Drop packets that fit no connection, instead of resetting it.
    pub drop_invalid: bool,
    /// The addresses of loopback (IPv4).
    pub loopback: Ipv4Net,
}

/// How inbound connections get to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With another destination; the proxy asks for the first one.
    Redirect,
    /// With their own addresses.
    Tproxy,
}

/// Inbound connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// To any port but these.
    AllBut(Vec<u16>),
    /// To these ports.
    Only(Vec<u16>),
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// All.
    All,
    /// Those in these.
    Only(Vec<IpNet>),
}

/// Groups of processes, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owners {
    /// All but these.
    AllBut(Vec<u32>),
    /// These.
    Only(Vec<u32>),
}

/// Requests for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// Left alone.
    Off,
    /// Those to these servers.
    Servers(Vec<IpAddr>),
    /// Those to port 53.
    All,
}

impl Default for Redirection {
    /// What `istio-iptables` does without flags, as the user of the proxy's image.
    fn default() -> Self {
        Self {
            outbound_port: 15001,
            inbound_port: 15006,
            tunnel_port: 15008,
            users: vec![1337],
            groups: vec![1337],
            mode: Mode::Redirect,
            mark: 1337,
            route_table: 133,
            inbound: Inbound::Only(Vec::new()),
            outbound_ports: Vec::new(),
            outbound_ports_excluded: Vec::new(),
            outbound_ranges: Ranges::Only(Vec::new()),
            outbound_ranges_excluded: Vec::new(),
            interfaces_excluded: Vec::new(),
            interfaces_rerouted: Vec::new(),
            owners: Owners::AllBut(Vec::new()),
            dns: Dns::Off,
            drop_invalid: false,
            loopback: Ipv4Net::new_assert(std::net::Ipv4Addr::LOCALHOST, 32),
        }
    }
}
