//! Names of gateways, hosts and destinations.

use std::{net::IpAddr, sync::Arc};

use super::reader::{Field, Reader};
use crate::{
    api::common,
    model::{
        Code, Host,
        virtual_service::{Destination, GatewayName},
    },
    reconcilers::{
        Flaw, fqdn, host,
        rules::{domain, is_dns_label, wildcard_domain},
    },
};

/// `mesh`, `namespace/name`, `./name`, `name`, or the old form `name.namespace.svc…`.
pub(super) fn gateway(text: &str, namespace: &str) -> Result<GatewayName, Flaw> {
    if text == "mesh" {
        return Ok(GatewayName::Mesh);
    }
    let (ns, name) = match (text.split_once('/'), text.split_once('.')) {
        (Some((".", name)), _) => (namespace, name),
        (Some(pair), _) => pair,
        (None, Some((name, rest))) => (rest.split('.').next().unwrap_or(rest), name),
        (None, None) => (namespace, text),
    };
    if !is_name(ns) || !is_name(name) {
        let reason = format!("{text:?} is not the name of a Gateway: use \"namespace/name\", \"name\" or \"mesh\"");
        return Err(Flaw::new(Code::GatewayNameInvalid, reason));
    }
    Ok(GatewayName::Named(format!("{ns}/{name}").into()))
}

/// What is wrong with how a gateway is named, if something is.
pub(super) fn gateway_style(text: &str) -> Option<Flaw> {
    if text == "mesh" {
        return None;
    }
    let wrong = |reason: String| Some(Flaw::new(Code::GatewayNameInvalid, reason));
    match (text.split_once('/'), text.split_once('.')) {
        // Told where it is read.
        _ if gateway(text, "x").is_err() => None,
        (Some((namespace, name)), _) if !is_dns_label(namespace) || !is_dns_label(name) => {
            wrong(format!("{text:?}: namespace and name of a Gateway are labels of DNS names, such as \"ns/gateway\""))
        }
        (None, Some((name, rest))) => match domain(text) {
            Err(flaw) => wrong(flaw.reason),
            Ok(()) => {
                let namespace = rest.split('.').next().unwrap_or(rest);
                let reason = format!("{text:?} is the old form: write \"{namespace}/{name}\"");
                Some(Flaw::new(Code::GatewayNameQualified, reason))
            }
        },
        (None, None) if !is_dns_label(text) => wrong(format!("{text:?} is no label of a DNS name")),
        _ => None,
    }
}

/// What is wrong with how a host is written, if something is.
pub(super) fn host_style(text: &str) -> Option<Flaw> {
    // Names of the form that gateways between networks use.
    if address(text).is_some() || text.starts_with("outbound_.") || host::parse(text).is_err() {
        return None;
    }
    wildcard_domain(text).err()
}

/// An IP address in its usual form: one of IPv6 can be written in many, and Envoy takes a domain once.
pub(super) fn address(text: &str) -> Option<Host> {
    let ip: IpAddr = text.parse().ok()?;
    Some(ip.to_string().into())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

impl Reader<'_> {
    /// A destination with its host qualified.
    pub(super) fn destination(&mut self, field: impl Field, given: &common::Destination) -> Option<Destination> {
        let text = given.host.as_str();
        let checked = if text.is_empty() || text == "*" {
            Err(Flaw::new(Code::HostMalformed, format!("{text:?} is not a destination: name a service")))
        } else {
            let named = || host::parse(&fqdn(text, self.site.namespace, self.site.domain_suffix));
            address(text).map_or_else(named, Ok)
        };
        let host = self.check(format_args!("{field}.host"), checked);
        if let Some(flaw) = host_style(text).filter(|_| host.is_some()) {
            self.flaw(format_args!("{field}.host"), flaw);
        }
        if !given.subset.is_empty() && is_name(&given.subset) && !is_dns_label(&given.subset) {
            let reason = format!("{:?} is no label of a DNS name", given.subset);
            self.error(Code::SubsetNameInvalid, format_args!("{field}.subset"), reason);
        }
        if !given.subset.is_empty() && !is_name(&given.subset) {
            self.error(
                Code::SubsetNameInvalid,
                format_args!("{field}.subset"),
                format!("{:?} is not the name of a subset", given.subset),
            );
        }
        let port = given.port.as_ref().and_then(|p| {
            if p.number == 0 {
                let reason = "0 is not a port: use 1 to 65535, or leave port out";
                self.error(Code::PortOutOfRange, format_args!("{field}.port.number"), reason);
            }
            self.port(format_args!("{field}.port.number"), p.number)
        });
        Some(Destination { host: host?, subset: given.subset.as_str().into(), port })
    }

    /// Which gateways a condition is about.
    pub(super) fn gateways(&mut self, field: impl Field, named: &[String]) -> Vec<GatewayName> {
        let namespace: &Arc<str> = self.site.namespace;
        for (i, flaw) in named.iter().enumerate().filter_map(|(i, text)| Some((i, gateway_style(text)?))) {
            if flaw.is_error() {
                self.flaw(format_args!("{field}[{i}]"), flaw);
            } else {
                self.note(flaw.code, format_args!("{field}[{i}]"), flaw.reason);
            }
        }
        let read = named.iter().enumerate();
        read.filter_map(|(i, text)| self.check(format_args!("{field}[{i}]"), gateway(text, namespace))).collect()
    }
}

/// Weights of several destinations, and what is wrong with which of them.
pub(super) fn weights(weights: &[i32]) -> (Vec<u32>, Vec<(usize, Flaw)>) {
    let mut flaws = Vec::new();
    let mut read = Vec::with_capacity(weights.len());
    for (at, weight) in weights.iter().enumerate() {
        read.push(u32::try_from(*weight).unwrap_or_else(|_| {
            let reason = format!("{weight} is not a weight: use 0 or more");
            flaws.push((at, Flaw::new(Code::WeightNegative, reason)));
            0
        }));
    }
    let sum: u64 = read.iter().copied().map(u64::from).sum();
    if read.len() > 1 && sum == 0 && flaws.is_empty() {
        let reason = "all destinations have weight 0: give at least one of them a weight";
        flaws.push((0, Flaw::new(Code::WeightsZero, reason)));
    }
    if sum > u64::from(u32::MAX) {
        let reason = format!("the weights add up to {sum}: use at most {}", u32::MAX);
        flaws.push((0, Flaw::new(Code::WeightsTooLarge, reason)));
    }
    (read, flaws)
}
