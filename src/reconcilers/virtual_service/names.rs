//! Names of gateways, hosts and destinations.

use std::{net::IpAddr, sync::Arc};

use super::reader::Reader;
use crate::{
    api::common,
    model::{
        Code, Host,
        virtual_service::{Destination, GatewayName},
    },
    reconcilers::{Flaw, fqdn, host},
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
    pub(super) fn destination(&mut self, field: &str, given: &common::Destination) -> Option<Destination> {
        let text = given.host.as_str();
        let checked = if text.is_empty() || text == "*" {
            Err(Flaw::new(Code::HostMalformed, format!("{text:?} is not a destination: name a service")))
        } else {
            let named = || host::parse(&fqdn(text, self.site.namespace, self.site.domain_suffix));
            address(text).map_or_else(named, Ok)
        };
        let host = self.check(&format!("{field}.host"), checked);
        if !given.subset.is_empty() && !is_name(&given.subset) {
            self.error(
                Code::SubsetNameInvalid,
                &format!("{field}.subset"),
                format!("{:?} is not the name of a subset", given.subset),
            );
        }
        let field = format!("{field}.port.number");
        let port = given.port.as_ref().and_then(|p| {
            if p.number == 0 {
                self.error(Code::PortOutOfRange, &field, "0 is not a port: use 1 to 65535, or leave port out");
            }
            self.port(&field, p.number)
        });
        Some(Destination { host: host?, subset: given.subset.as_str().into(), port })
    }

    /// Which gateways a condition is about.
    pub(super) fn gateways(&mut self, field: &str, named: &[String]) -> Vec<GatewayName> {
        let namespace: &Arc<str> = self.site.namespace;
        let read = named.iter().enumerate().map(|(i, text)| (format!("{field}[{i}]"), gateway(text, namespace)));
        let read: Vec<_> = read.collect();
        read.into_iter().filter_map(|(field, gateway)| self.check(&field, gateway)).collect()
    }
}

/// What is wrong with the weights of several destinations, if something is.
pub(super) fn weights(weights: &[i32]) -> Result<Vec<u32>, (usize, Flaw)> {
    let mut read = Vec::with_capacity(weights.len());
    for (at, weight) in weights.iter().enumerate() {
        let negative = || Flaw::new(Code::WeightNegative, format!("{weight} is not a weight: use 0 or more"));
        read.push(u32::try_from(*weight).map_err(|_| (at, negative()))?);
    }
    let sum: u64 = read.iter().copied().map(u64::from).sum();
    if read.len() > 1 && sum == 0 {
        let reason = "all destinations have weight 0: give at least one of them a weight";
        return Err((0, Flaw::new(Code::WeightsZero, reason)));
    }
    if sum > u64::from(u32::MAX) {
        let reason = format!("the weights add up to {sum}: use at most {}", u32::MAX);
        return Err((0, Flaw::new(Code::WeightsTooLarge, reason)));
    }
    Ok(read)
}
