//! The rules, in the order and the words of contract §6.5, written as `iptables-save` prints them: what is installed is
//! compared by text.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{DNS_PORT, Dns, Inbound, Mode, OUTBOUND_MARK, Owners, Ranges, Redirection};

/// Chains of the kernel that lead to ours.
const PREROUTING: &str = "PREROUTING";
const OUTPUT: &str = "OUTPUT";

const ISTIO_INBOUND: &str = "ISTIO_INBOUND";
const ISTIO_OUTPUT: &str = "ISTIO_OUTPUT";
const ISTIO_OUTPUT_DNS: &str = "ISTIO_OUTPUT_DNS";
const ISTIO_REDIRECT: &str = "ISTIO_REDIRECT";
const ISTIO_IN_REDIRECT: &str = "ISTIO_IN_REDIRECT";
const ISTIO_DIVERT: &str = "ISTIO_DIVERT";
const ISTIO_TPROXY: &str = "ISTIO_TPROXY";
const ISTIO_DROP: &str = "ISTIO_DROP";

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    /// From where the proxy connects to its workload, when it does not know better.
    const fn passthrough(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.6/32",
            Self::V6 => "::6/128",
        }
    }

    const fn unspecified(self) -> &'static str {
        match self {
            Self::V4 => "0.0.0.0",
            Self::V6 => "::",
        }
    }
}

/// Rules by table and chain, each chain's in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `nat`, `mangle`, `raw`.
    pub(super) tables: BTreeMap<&'static str, BTreeMap<&'static str, Vec<String>>>,
}

impl Rules {
    /// Those that a redirection needs.
    #[must_use]
    pub fn new(redirection: &Redirection, family: Family) -> Self {
        let loopback = match family {
            Family::V4 => redirection.loopback.to_string(),
            Family::V6 => "::1/128".to_owned(),
        };
        let mut builder = Builder { of: redirection, family, loopback, rules: Self::default() };
        builder.interfaces();
        builder.invalid();
        builder.targets();
        builder.inbound();
        builder.outbound();
        if redirection.mode == Mode::Tproxy {
            builder.marks();
        }
        builder.rules
    }

    fn add(&mut self, table: &'static str, chain: &'static str, rule: impl Into<String>) {
        self.tables.entry(table).or_default().entry(chain).or_default().push(rule.into());
    }
}

struct Builder<'a> {
    of: &'a Redirection,
    family: Family,
    /// Destinations on loopback.
    loopback: String,
    rules: Rules,
}

impl Builder<'_> {
    fn nat(&mut self, chain: &'static str, rule: impl Into<String>) {
        self.rules.add("nat", chain, rule);
    }

    fn mangle(&mut self, chain: &'static str, rule: impl Into<String>) {
        self.rules.add("mangle", chain, rule);
    }

    fn raw(&mut self, chain: &'static str, rule: impl Into<String>) {
        self.rules.add("raw", chain, rule);
    }

    /// What comes in from virtual machines, and what is left alone: before everything else.
    fn interfaces(&mut self) {
        let of = self.of;
        for interface in &of.interfaces_rerouted {
            match &of.outbound_ranges {
                Ranges::All => self.nat(PREROUTING, format!("-i {interface} -j {ISTIO_REDIRECT}")),
                Ranges::Only(ranges) => {
                    for range in self.mine(ranges) {
                        self.nat(PREROUTING, format!("-d {range} -i {interface} -j {ISTIO_REDIRECT}"));
                    }
                }
            }
        }
        for interface in &of.interfaces_rerouted {
            self.nat(PREROUTING, format!("-i {interface} -j RETURN"));
        }
        for interface in &of.interfaces_excluded {
            self.nat(PREROUTING, format!("-i {interface} -j RETURN"));
            self.nat(OUTPUT, format!("-o {interface} -j RETURN"));
            if of.mode == Mode::Tproxy {
                self.mangle(PREROUTING, format!("-i {interface} -j RETURN"));
                self.mangle(OUTPUT, format!("-o {interface} -j RETURN"));
            }
        }
    }

    /// Packets out of a connection's window: answering them would reset it.
    fn invalid(&mut self) {
        if self.of.drop_invalid {
            self.mangle(PREROUTING, format!("-m conntrack --ctstate INVALID -j {ISTIO_DROP}"));
            self.mangle(ISTIO_DROP, "-j DROP");
        }
    }

    /// The ways to the proxy.
    fn targets(&mut self) {
        let Redirection { outbound_port, inbound_port, tunnel_port, .. } = self.of;
        self.nat(ISTIO_INBOUND, format!("-p tcp -m tcp --dport {tunnel_port} -j RETURN"));
        self.nat(ISTIO_REDIRECT, format!("-p tcp -j REDIRECT --to-ports {outbound_port}"));
        self.nat(ISTIO_IN_REDIRECT, format!("-p tcp -j REDIRECT --to-ports {inbound_port}"));
    }

    fn inbound(&mut self) {
        let of = self.of;
        if of.inbound == Inbound::Only(Vec::new()) {
            return;
        }
        let table = match of.mode {
            Mode::Redirect => "nat",
            Mode::Tproxy => {
                self.tproxy();
                "mangle"
            }
        };
        self.rules.add(table, PREROUTING, format!("-p tcp -j {ISTIO_INBOUND}"));
        match &of.inbound {
            Inbound::AllBut(excluded) => {
                for port in excluded {
                    self.rules.add(table, ISTIO_INBOUND, format!("-p tcp -m tcp --dport {port} -j RETURN"));
                }
                self.redirect("-p tcp");
            }
            Inbound::Only(ports) => {
                for port in ports {
                    self.redirect(&format!("-p tcp -m tcp --dport {port}"));
                }
            }
        }
    }

    fn redirect(&mut self, what: &str) {
        if self.of.mode == Mode::Redirect {
            return self.nat(ISTIO_INBOUND, format!("{what} -j {ISTIO_IN_REDIRECT}"));
        }
        // What belongs to a connection that is there already goes to its socket.
        self.mangle(ISTIO_INBOUND, format!("{what} -m conntrack --ctstate RELATED,ESTABLISHED -j {ISTIO_DIVERT}"));
        self.mangle(ISTIO_INBOUND, format!("{what} -j {ISTIO_TPROXY}"));
    }

    fn tproxy(&mut self) {
        let Redirection { mark, inbound_port, .. } = self.of;
        let (loopback, any) = (self.loopback.clone(), self.family.unspecified());
        self.mangle(ISTIO_DIVERT, format!("-j MARK --set-xmark {mark:#x}/0xffffffff"));
        self.mangle(ISTIO_DIVERT, "-j ACCEPT");
        self.mangle(
            ISTIO_TPROXY,
            format!(
                "! -d {loopback} -p tcp -j TPROXY --on-port {inbound_port} --on-ip {any} \
                 --tproxy-mark {mark:#x}/0xffffffff"
            ),
        );
        // Marked already; from the proxy to its workload; of the workload to itself.
        for rule in [
            format!("-p tcp -m mark --mark {mark:#x} -j RETURN"),
            format!("-s {} -i lo -p tcp -j RETURN", self.family.passthrough()),
            format!("-i lo -p tcp -m mark ! --mark {OUTBOUND_MARK:#x} -j RETURN"),
        ] {
            self.mangle(ISTIO_INBOUND, rule);
        }
    }

    fn outbound(&mut self) {
        let of = self.of;
        self.nat(OUTPUT, format!("-j {ISTIO_OUTPUT}"));
        for port in &of.outbound_ports_excluded {
            for protocol in ["tcp", "udp"] {
                self.nat(ISTIO_OUTPUT, format!("-p {protocol} -m {protocol} --dport {port} -j RETURN"));
            }
        }
        self.nat(ISTIO_OUTPUT, format!("-s {} -o lo -j RETURN", self.family.passthrough()));
        for user in &of.users {
            self.proxy("--uid-owner", *user, self.dns());
        }
        for group in &of.groups {
            self.proxy("--gid-owner", *group, false);
        }
        self.owners();
        if self.dns() {
            self.capture_dns();
        }
        self.nat(ISTIO_OUTPUT, format!("-d {} -j RETURN", self.loopback));
        for range in self.mine(&of.outbound_ranges_excluded) {
            self.nat(ISTIO_OUTPUT, format!("-d {range} -j RETURN"));
        }
        for port in &of.outbound_ports {
            self.nat(ISTIO_OUTPUT, format!("-p tcp -m tcp --dport {port} -j {ISTIO_REDIRECT}"));
        }
        match &of.outbound_ranges {
            Ranges::All => self.nat(ISTIO_OUTPUT, format!("-j {ISTIO_REDIRECT}")),
            Ranges::Only(ranges) => {
                for range in self.mine(ranges) {
                    self.nat(ISTIO_OUTPUT, format!("-d {range} -j {ISTIO_REDIRECT}"));
                }
            }
        }
    }

    /// The proxy's own connections by user or group, and those that do not leave the workload.
    fn proxy(&mut self, owner: &str, id: u32, dns_may_be_local: bool) {
        let (tunnel, loopback) = (self.of.tunnel_port, self.loopback.clone());
        // The workload calls itself by a service: out of the proxy, into the proxy. The agent's own questions to a
        // server of names on this machine are not inbound.
        let ports = if dns_may_be_local {
            format!("-m multiport ! --dports 53,{tunnel}")
        } else {
            format!("-m tcp ! --dport {tunnel}")
        };
        self.nat(
            ISTIO_OUTPUT,
            format!("! -d {loopback} -o lo -p tcp {ports} -m owner {owner} {id} -j {ISTIO_IN_REDIRECT}"),
        );
        // It calls itself by its own address: directly, unless loopback is to be redirected.
        if !self.redirects_loopback() {
            let ports = if self.dns() { "-p tcp -m tcp ! --dport 53 " } else { "" };
            self.nat(ISTIO_OUTPUT, format!("-o lo {ports}-m owner ! {owner} {id} -j RETURN"));
        }
        self.nat(ISTIO_OUTPUT, format!("-m owner {owner} {id} -j RETURN"));
    }

    fn owners(&mut self) {
        match &self.of.owners {
            Owners::AllBut(groups) => {
                for group in groups {
                    self.nat(ISTIO_OUTPUT, format!("-m owner --gid-owner {group} -j RETURN"));
                }
            }
            Owners::Only(groups) => {
                let none: String = groups.iter().map(|group| format!("-m owner ! --gid-owner {group} ")).collect();
                self.nat(ISTIO_OUTPUT, format!("{none}-j RETURN"));
            }
        }
    }

    /// Questions go to the agent, and connection tracking keeps the workload's and the agent's apart.
    fn capture_dns(&mut self) {
        let servers = self.dns_servers();
        self.raw(OUTPUT, format!("-j {ISTIO_OUTPUT_DNS}"));
        if !servers.is_empty() {
            self.nat(ISTIO_OUTPUT, format!("-j {ISTIO_OUTPUT_DNS}"));
        }
        for protocol in ["tcp", "udp"] {
            for server in &servers {
                let to = direction("-d", server);
                self.nat(
                    ISTIO_OUTPUT_DNS,
                    format!("{to}-p {protocol} -m {protocol} --dport 53 -j REDIRECT --to-ports {DNS_PORT}"),
                );
            }
        }
        let (users, groups) = (&self.of.users, &self.of.groups);
        let owners = users.iter().map(|id| ("--uid-owner", id)).chain(groups.iter().map(|id| ("--gid-owner", id)));
        for (owner, id) in owners {
            let from = format!("-m owner {owner} {id} -j CT --zone");
            self.raw(ISTIO_OUTPUT_DNS, format!("-p udp -m udp --dport 53 {from} 1"));
            self.raw(ISTIO_OUTPUT_DNS, format!("-p udp -m udp --sport {DNS_PORT} {from} 2"));
        }
        if !servers.is_empty() {
            self.raw(PREROUTING, format!("-j {ISTIO_INBOUND}"));
        }
        for server in &servers {
            let (to, from) = (direction("-d", server), direction("-s", server));
            self.raw(ISTIO_OUTPUT_DNS, format!("{to}-p udp -m udp --dport 53 -j CT --zone 2"));
            self.raw(ISTIO_INBOUND, format!("{from}-p udp -m udp --sport 53 -j CT --zone 1"));
        }
    }

    /// Marks of the mode TPROXY: those of a connection are those of its first packet.
    fn marks(&mut self) {
        let (mark, loopback) = (self.of.mark, self.loopback.clone());
        let whole = "--nfmask 0xffffffff --ctmask 0xffffffff";
        self.mangle(PREROUTING, format!("-p tcp -m mark --mark {mark:#x} -j CONNMARK --save-mark {whole}"));
        self.mangle(OUTPUT, format!("-o lo -p tcp -m mark --mark {mark:#x} -j RETURN"));
        let (users, groups) = (&self.of.users, &self.of.groups);
        let owners = users.iter().map(|id| ("--uid-owner", id)).chain(groups.iter().map(|id| ("--gid-owner", id)));
        for (owner, id) in owners {
            self.mangle(
                OUTPUT,
                format!(
                    "! -d {loopback} -o lo -p tcp -m owner {owner} {id} \
                     -j MARK --set-xmark {OUTBOUND_MARK:#x}/0xffffffff"
                ),
            );
        }
        self.mangle(OUTPUT, format!("-p tcp -m connmark --mark {mark:#x} -j CONNMARK --restore-mark {whole}"));
    }

    fn dns(&self) -> bool {
        match &self.of.dns {
            Dns::Off => false,
            Dns::Servers(servers) => !servers.is_empty(),
            Dns::All => true,
        }
    }

    /// Servers of this family; `None` stands for any.
    fn dns_servers(&self) -> Vec<Option<IpNet>> {
        match &self.of.dns {
            Dns::Off => Vec::new(),
            Dns::Servers(servers) => {
                let mine = servers.iter().filter(|server| self.family.has(**server));
                mine.map(|server| Some(IpNet::from(*server))).collect()
            }
            Dns::All => vec![None],
        }
    }

    fn redirects_loopback(&self) -> bool {
        match &self.of.outbound_ranges {
            Ranges::All => false,
            Ranges::Only(ranges) => ranges.iter().any(|range| range.addr().is_loopback()),
        }
    }

    /// Those of this family, as the kernel writes them: without bits beyond the prefix.
    fn mine(&self, ranges: &[IpNet]) -> Vec<IpNet> {
        ranges.iter().filter(|range| self.family.has(range.addr())).map(IpNet::trunc).collect()
    }
}

fn direction(flag: &str, address: &Option<IpNet>) -> String {
    address.map(|address| format!("{flag} {address} ")).unwrap_or_default()
}
