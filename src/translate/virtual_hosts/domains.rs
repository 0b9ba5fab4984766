//! The names under which clients reach a host (translation §6.2).

use std::{collections::HashSet, net::IpAddr};

use super::{bracketed, host_and_port};
use crate::model::{
    Host, Service,
    service::{Registry, Resolution},
};

/// Everything that decides the domains of a service.
#[derive(Clone, Copy, Debug)]
pub struct DomainInput<'a> {
    /// The service.
    pub service: &'a Service,
    /// ExternalName Services that lead to it.
    pub aliases: &'a [Host],
    /// The proxy's DNS domain, e.g. `default.svc.cluster.local`.
    pub proxy_domain: &'a str,
    /// The service's addresses for the proxy (its families, its cluster).
    pub vips: &'a [IpAddr],
    /// Tells the port, for lists of many ports (`http_proxy`): each domain with `:port`, and without for port 80.
    pub with_port: Option<u16>,
}

/// The domains of a service's virtual host, without duplicates (letters compared without case). `known` says
/// whether a short form is the full name of a host in the same route configuration: that host keeps it.
pub fn service_domains(input: &DomainInput<'_>, known: &mut dyn FnMut(&str) -> bool) -> Vec<String> {
    let mut found = Domains::new(input.with_port);
    let headless =
        input.service.resolution == Resolution::Passthrough && input.service.registry == Registry::Kubernetes;
    for host in std::iter::once(&input.service.host).chain(input.aliases) {
        found.add(host);
        for short in short_forms(host, input.proxy_domain) {
            if !known(&short) {
                found.add(&short);
            }
        }
    }
    if headless {
        found.add_wildcards();
    }
    found.add_addresses(input.vips);
    found.list
}

/// Hosts whose own names a service may be called by too, by whatever clients: short forms, the wildcards of a headless
/// service, addresses. No two services have a name in common, addresses excepted. (A host never ends in a dot.)
#[must_use]
pub fn aliases(service: &Service, suffix: &str) -> Vec<String> {
    let qualified = service.host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix(".svc."));
    let namespace = qualified.and_then(|q| q.split_once('.')).map_or("-", |(_, namespace)| namespace);
    let input = DomainInput {
        service,
        aliases: &[],
        proxy_domain: &format!("{namespace}.svc.{suffix}"),
        vips: &service.vips,
        with_port: None,
    };
    let domains = service_domains(&input, &mut |_| false);
    domains.iter().filter_map(|domain| alias_host(domain)).filter(|a| **a != *service.host).map(str::to_owned).collect()
}

/// The host that a domain is the own name of, if there is one.
#[must_use]
pub fn alias_host(domain: &str) -> Option<&str> {
    (!domain.ends_with('.')).then(|| domain.trim_start_matches('[').trim_end_matches(']'))
}

/// The domains of a `VirtualService`'s host that is no service.
#[must_use]
pub fn rule_domains(host: &str, with_port: Option<u16>) -> Vec<String> {
    let mut found = Domains::new(with_port);
    found.add(host);
    found.list
}

/// The port of requests that tell none.
const HTTP_PORT: u16 = 80;

/// Domains in order, each once.
struct Domains {
    port: Option<u16>,
    list: Vec<String>,
}

impl Domains {
    const fn new(port: Option<u16>) -> Self {
        Self { port, list: Vec::new() }
    }

    fn add(&mut self, host: &str) {
        self.forms(host).for_each(|domain| self.push(domain));
    }

    /// With or without the port, or both.
    fn forms(&self, host: &str) -> impl Iterator<Item = String> + use<> {
        let plain = matches!(self.port, None | Some(HTTP_PORT)).then(|| bracketed(host));
        let with_port = self.port.map(|port| host_and_port(host, port));
        plain.into_iter().chain(with_port)
    }

    /// The members of headless services have names below it.
    fn add_wildcards(&mut self) {
        let below: Vec<String> = self.list.iter().map(|d| format!("*.{d}")).collect();
        below.into_iter().for_each(|d| self.push(d));
    }

    /// There may be thousands of them, but only a name can be the same text as an address.
    fn add_addresses(&mut self, ips: &[IpAddr]) {
        let (names, mut seen) = (self.list.len(), HashSet::new());
        for ip in ips.iter().filter(|ip| !ip.is_unspecified() && seen.insert(**ip)) {
            for domain in self.forms(&ip.to_string()) {
                if !self.list[..names].iter().any(|name| name.eq_ignore_ascii_case(&domain)) {
                    self.list.push(domain);
                }
            }
        }
    }

    fn push(&mut self, domain: String) {
        // There are few.
        if !self.list.iter().any(|seen| seen.eq_ignore_ascii_case(&domain)) {
            self.list.push(domain);
        }
    }
}

/// What else a host is called by clients of a DNS domain.
fn short_forms(host: &str, proxy_domain: &str) -> Vec<String> {
    let mut forms = Vec::new();
    if host.parse::<IpAddr>().is_err() {
        forms.push(format!("{host}."));
    }
    match proxy_domain.split_once(".svc.") {
        Some((namespace, suffix)) => forms.extend(kubernetes_forms(host, namespace, suffix)),
        None => forms.extend(plain_forms(host, proxy_domain)),
    }
    forms
}

/// Of `svc.ns.svc.<suffix>`: with the namespace always, without it in the same one only.
fn kubernetes_forms(host: &str, namespace: &str, suffix: &str) -> Vec<String> {
    // No two hosts may have a form in common: that of `a.b.svc.c.svc.<suffix>` would be that of `a.b.svc.<suffix>`.
    let qualified = host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix(".svc."));
    let Some(qualified) = qualified.filter(|q| !q.contains(".svc.")) else { return Vec::new() };
    match qualified.split_once('.') {
        Some((name, ns)) if ns == namespace => vec![name.to_owned(), format!("{qualified}.svc"), qualified.to_owned()],
        Some(_) => vec![qualified.to_owned(), format!("{qualified}.svc")],
        None => Vec::new(),
    }
}

/// Without the end that host and domain share; and, when two labels are left, with one more of it.
fn plain_forms(host: &str, domain: &str) -> Vec<String> {
    let labels: Vec<&str> = host.split('.').collect();
    let shared = host.rsplit('.').zip(domain.rsplit('.')).take_while(|(a, b)| a == b).count();
    let unique = labels.len() - shared;
    match (shared, unique) {
        (0, _) | (_, 0) => Vec::new(),
        (_, 2) => vec![labels[..2].join("."), labels[..3].join(".")],
        _ => vec![labels[..unique].join(".")],
    }
}
