//! `mizzen iptables`: redirects a pod's traffic to its proxy, under the flags and variables of `istio-iptables`.

mod host;
#[cfg(test)]
mod tests;
mod values;

use std::{
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};

use self::values::{Cidr, Group, Interface, List, Wildcard};
use super::log_args::LogArgs;
use crate::agent::redirect::{
    Dns, Family, Inbound, Installed, Kernel, Mode, Owners, Ranges, RedirectError, Redirection, Rules, plan,
};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x '' -b '*' -d 15090,15021,15020
  mizzen iptables -i '*' -b '*' --dry-run
  mizzen iptables --cleanup-only";

/// The exit code that tells a container's restart policy and Istio's tools that rules are not in place.
const NOT_IN_PLACE: u8 = 126;

/// Flags of `mizzen iptables`: lists are separated by commas, `*` is all.
#[derive(Args, Clone, Debug)]
pub(super) struct IptablesArgs {
    /// Port of the proxy for outbound connections
    #[arg(short = 'p', long, value_name = "PORT", env = "ENVOY_PORT", default_value_t = 15001)]
    envoy_port: u16,
    /// Port of the proxy for inbound connections
    #[arg(short = 'z', long, value_name = "PORT", env = "INBOUND_CAPTURE_PORT", default_value_t = 15006)]
    inbound_capture_port: u16,
    /// Port of the proxy for tunnels, which is left alone
    #[arg(short = 'e', long, value_name = "PORT", env = "INBOUND_TUNNEL_PORT", default_value_t = 15008)]
    inbound_tunnel_port: u16,
    /// Users that the proxy runs as; the default is that of ENVOY_USER (istio-proxy), or 1337
    #[arg(short = 'u', long, value_name = "UID,…", env = "PROXY_UID")]
    proxy_uid: Option<List<u32>>,
    /// Groups that the proxy runs as; the default is as the users
    #[arg(short = 'g', long, value_name = "GID,…", env = "PROXY_GID")]
    proxy_gid: Option<List<u32>>,
    /// How inbound connections get to the proxy: REDIRECT or TPROXY
    #[arg(
        short = 'm',
        long = "istio-inbound-interception-mode",
        value_name = "MODE",
        env = "ISTIO_INBOUND_INTERCEPTION_MODE",
        default_value = "",
        value_parser = values::mode
    )]
    mode: Mode,
    /// Mark of packets to the proxy (TPROXY)
    #[arg(short = 't', long, value_name = "MARK", env = "ISTIO_INBOUND_TPROXY_MARK", default_value_t = 1337)]
    istio_inbound_tproxy_mark: u32,
    /// Routing table of marked packets (TPROXY)
    #[arg(short = 'r', long, value_name = "TABLE", env = "ISTIO_INBOUND_TPROXY_ROUTE_TABLE", default_value_t = 133)]
    istio_inbound_tproxy_route_table: u32,
    /// Inbound ports to redirect, or *
    #[arg(
        short = 'b',
        long = "istio-inbound-ports",
        value_name = "PORT,…",
        env = "ISTIO_INBOUND_PORTS",
        default_value = ""
    )]
    inbound_ports: Wildcard<u16>,
    /// Inbound ports to leave alone, when all are redirected
    #[arg(
        short = 'd',
        long = "istio-local-exclude-ports",
        value_name = "PORT,…",
        env = "ISTIO_LOCAL_EXCLUDE_PORTS",
        default_value = ""
    )]
    inbound_ports_excluded: List<u16>,
    /// Outbound addresses to redirect, or *
    #[arg(
        short = 'i',
        long = "istio-service-cidr",
        value_name = "CIDR,…",
        env = "ISTIO_SERVICE_CIDR",
        default_value = ""
    )]
    outbound_ranges: Wildcard<Cidr>,
    /// Outbound addresses to leave alone
    #[arg(
        short = 'x',
        long = "istio-service-exclude-cidr",
        value_name = "CIDR,…",
        env = "ISTIO_SERVICE_EXCLUDE_CIDR",
        default_value = ""
    )]
    outbound_ranges_excluded: List<Cidr>,
    /// Outbound ports to redirect whatever the address
    #[arg(
        short = 'q',
        long = "istio-outbound-ports",
        value_name = "PORT,…",
        env = "ISTIO_OUTBOUND_PORTS",
        default_value = ""
    )]
    outbound_ports: List<u16>,
    /// Outbound ports to leave alone
    #[arg(
        short = 'o',
        long = "istio-local-outbound-ports-exclude",
        value_name = "PORT,…",
        env = "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE",
        default_value = ""
    )]
    outbound_ports_excluded: List<u16>,
    /// Interfaces to leave alone
    #[arg(
        short = 'c',
        long = "istio-exclude-interfaces",
        value_name = "NAME,…",
        env = "ISTIO_EXCLUDE_INTERFACES",
        default_value = ""
    )]
    interfaces_excluded: List<Interface>,
    /// Interfaces of virtual machines: what comes in there is outbound
    #[arg(
        short = 'k',
        long = "kube-virt-interfaces",
        value_name = "NAME,…",
        env = "KUBE_VIRT_INTERFACES",
        default_value = ""
    )]
    interfaces_rerouted: List<Interface>,
    /// Groups whose outbound connections are redirected, by name or number, or *
    #[arg(long, value_name = "GROUP,…", env = "ISTIO_OUTBOUND_OWNER_GROUPS", default_value = "*")]
    outbound_owner_groups: Wildcard<Group>,
    /// Groups whose outbound connections are not
    #[arg(long, value_name = "GROUP,…", env = "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", default_value = "")]
    outbound_owner_groups_exclude: List<Group>,
    /// Addresses of loopback (IPv4)
    #[arg(long, value_name = "CIDR", env = "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", default_value = "127.0.0.1/32")]
    ipv4_loopback: ipnet::Ipv4Net,
    #[command(flatten)]
    switches: Switches,
    /// Replace rules that differ: they always are
    #[arg(long, value_name = "BOOL", env = "RECONCILE", default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set, hide_short_help = true)]
    reconcile: bool,
    /// Rules of nftables of its own instead of those of iptables: not supported
    #[arg(long, value_name = "BOOL", env = "NATIVE_NFTABLES", default_value_t = false, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", action = ArgAction::Set, hide_short_help = true)]
    native_nftables: bool,
    /// A file of a network namespace, instead of this one
    #[arg(long, value_name = "FILE", env = "NETWORK_NAMESPACE")]
    network_namespace: Option<PathBuf>,
    /// The variant of iptables: nft or legacy; otherwise what works
    #[arg(long, value_name = "VARIANT", env = "FORCE_IPTABLES_BINARY", value_parser = ["nft", "legacy", "iptables-nft", "iptables-legacy"])]
    force_iptables_binary: Option<String>,
    /// The resolver's configuration, whose servers' questions are redirected with --redirect-dns
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf", hide = true)]
    resolv_conf: PathBuf,
    #[command(flatten)]
    log: LogArgs,
}

/// Flags that are on or off.
#[derive(Args, Clone, Debug)]
struct Switches {
    /// Print what iptables-restore would be given, and change nothing
    #[arg(short = 'n', long, env = "DRY_RUN")]
    dry_run: bool,
    /// Do not change rules
    #[arg(long, env = "SKIP_RULE_APPLY")]
    skip_rule_apply: bool,
    /// Exit with 126 when the rules are not in place
    #[arg(long, env = "RUN_VALIDATION")]
    run_validation: bool,
    /// Redirect requests for names to the agent; ISTIO_META_DNS_CAPTURE says so too
    #[arg(long, env = "REDIRECT_DNS")]
    redirect_dns: bool,
    /// All of them, not only those to the resolver's servers
    #[arg(long, env = "CAPTURE_ALL_DNS")]
    capture_all_dns: bool,
    /// Drop packets that fit no connection; INVALID_DROP says so too
    #[arg(long, env = "DROP_INVALID")]
    drop_invalid: bool,
    /// Redirect IPv6 even if no interface has an address; ISTIO_DUAL_STACK says so too
    #[arg(long, env = "DUAL_STACK")]
    dual_stack: bool,
    /// Remove all rules
    #[arg(long, env = "CLEANUP_ONLY")]
    cleanup_only: bool,
}

impl IptablesArgs {
    /// Runs it.
    ///
    /// # Errors
    /// The rules cannot be read or written.
    pub(super) fn run(mut self, unknown_flags: &[String]) -> anyhow::Result<ExitCode> {
        self.log.start()?;
        for flag in unknown_flags {
            tracing::warn!("flag {flag} is not known: it has no effect");
        }
        self.switches.turn_on(|name| std::env::var_os(name)?.into_string().ok());
        if self.native_nftables {
            bail!(
                "--native-nftables (NATIVE_NFTABLES) is not supported: rules are written by iptables. Leave it out; \
                 --force-iptables-binary nft makes iptables write them into nf_tables"
            );
        }
        if !self.reconcile {
            tracing::warn!("--reconcile=false has no effect: rules that differ are always replaced");
        }
        let Switches { dry_run, skip_rule_apply, run_validation, dual_stack, cleanup_only, .. } = self.switches;
        let kernel = Kernel {
            variant: self.force_iptables_binary.as_ref().map(|name| name.trim_start_matches("iptables-").to_owned()),
            namespace: self.network_namespace.clone(),
        };
        let redirection = self.redirection()?;
        let families: &[Family] =
            if dual_stack || host::has_ipv6() { &[Family::V4, Family::V6] } else { &[Family::V4] };
        if dry_run {
            print(&redirection, families)?;
        } else if cleanup_only {
            kernel.remove(&redirection)?;
        } else if !skip_rule_apply {
            kernel.install(&redirection, families)?;
        }
        if run_validation && !dry_run {
            return validate(&kernel, &redirection, families);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn redirection(self) -> anyhow::Result<Redirection> {
        let users = match self.proxy_uid {
            Some(List(users)) if !users.is_empty() => users,
            _ => vec![host::proxy_user()],
        };
        let groups = match self.proxy_gid {
            Some(List(groups)) if !groups.is_empty() => groups,
            _ => users.clone(),
        };
        let dns = match (self.switches.redirect_dns, self.switches.capture_all_dns) {
            (false, _) => Dns::Off,
            (true, true) => Dns::All,
            (true, false) => Dns::Servers(name_servers(&self.resolv_conf)?),
        };
        if dns == Dns::Servers(Vec::new()) {
            tracing::warn!("{} names no server: requests for names are not redirected", self.resolv_conf.display());
        }
        let numbers = |groups: Vec<Group>| groups.into_iter().map(|Group(number)| number).collect();
        Ok(Redirection {
            outbound_port: self.envoy_port,
            inbound_port: self.inbound_capture_port,
            tunnel_port: self.inbound_tunnel_port,
            users,
            groups,
            mode: self.mode,
            mark: self.istio_inbound_tproxy_mark,
            route_table: self.istio_inbound_tproxy_route_table,
            inbound: match self.inbound_ports {
                Wildcard::All => Inbound::AllBut(self.inbound_ports_excluded.0),
                Wildcard::Only(ports) => Inbound::Only(ports),
            },
            outbound_ports: self.outbound_ports.0,
            outbound_ports_excluded: self.outbound_ports_excluded.0,
            outbound_ranges: match self.outbound_ranges {
                Wildcard::All => Ranges::All,
                Wildcard::Only(ranges) => Ranges::Only(ranges.into_iter().map(|Cidr(net)| net).collect()),
            },
            outbound_ranges_excluded: self.outbound_ranges_excluded.0.into_iter().map(|Cidr(net)| net).collect(),
            interfaces_excluded: self.interfaces_excluded.0.into_iter().map(|Interface(name)| name).collect(),
            interfaces_rerouted: self.interfaces_rerouted.0.into_iter().map(|Interface(name)| name).collect(),
            owners: match self.outbound_owner_groups {
                Wildcard::All => Owners::AllBut(numbers(self.outbound_owner_groups_exclude.0)),
                Wildcard::Only(groups) => Owners::Only(numbers(groups)),
            },
            dns,
            drop_invalid: self.switches.drop_invalid,
            loopback: self.ipv4_loopback.trunc(),
        })
    }
}

impl Switches {
    /// Turns on what second variables say. The first of them is how a pod tells its agent to answer requests for names:
    /// the injector hands it to the init container too.
    fn turn_on(&mut self, variable: impl Fn(&str) -> Option<String>) {
        let second = [
            ("ISTIO_META_DNS_CAPTURE", &mut self.redirect_dns),
            ("INVALID_DROP", &mut self.drop_invalid),
            ("ISTIO_DUAL_STACK", &mut self.dual_stack),
        ];
        for (name, switch) in second {
            match variable(name).as_deref() {
                Some("1" | "t" | "T" | "TRUE" | "true" | "True") => *switch = true,
                None | Some("" | "0" | "f" | "F" | "FALSE" | "false" | "False") => {}
                Some(other) => {
                    tracing::warn!("variable {name} is {other:?}: it must be true or false; it has no effect");
                }
            }
        }
    }
}

fn print(redirection: &Redirection, families: &[Family]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for family in families {
        let program = match family {
            Family::V4 => "iptables-restore",
            Family::V6 => "ip6tables-restore",
        };
        let text = plan(&Installed::default(), &Rules::new(redirection, *family)).unwrap_or_default();
        write!(out, "# {program} --noflush\n{text}")?;
    }
    Ok(())
}

fn validate(kernel: &Kernel, redirection: &Redirection, families: &[Family]) -> anyhow::Result<ExitCode> {
    match kernel.check(redirection, families) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error @ RedirectError::NotInPlace(_)) => {
            writeln!(io::stderr(), "Error: {error}")?;
            Ok(ExitCode::from(NOT_IN_PLACE))
        }
        Err(error) => Err(error.into()),
    }
}

/// The servers of a resolver's configuration.
fn name_servers(file: &Path) -> anyhow::Result<Vec<IpAddr>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    Ok(servers.collect())
}
