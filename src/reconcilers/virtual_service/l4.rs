//! Rules for connections.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{names, reader::Reader};
use crate::{
    api::virtual_service as spec,
    model::{
        Code,
        virtual_service::{L4Destination, TcpMatch, TcpRoute, TlsMatch, TlsRoute},
    },
    reconcilers::{Flaw, host},
};

pub(super) fn tls_route(reader: &mut Reader<'_>, index: usize, given: &spec::TlsRoute) -> Option<TlsRoute> {
    if given.r#match.is_empty() {
        reader.error(Code::SniHostsMissing, "match", "a condition with sniHosts is needed");
    }
    let matches = given.r#match.iter().enumerate().map(|(i, m)| reader.tls_match(&format!("match[{i}]"), m)).collect();
    Some(TlsRoute { index, matches, destinations: reader.l4_destinations(&given.route)? })
}

pub(super) fn tcp_route(reader: &mut Reader<'_>, index: usize, given: &spec::TcpRoute) -> Option<TcpRoute> {
    let matches = given.r#match.iter().enumerate().map(|(i, m)| reader.tcp_match(&format!("match[{i}]"), m)).collect();
    Some(TcpRoute { index, matches, destinations: reader.l4_destinations(&given.route)? })
}

impl Reader<'_> {
    fn tls_match(&mut self, field: &str, given: &spec::TlsMatch) -> TlsMatch {
        if given.sni_hosts.is_empty() {
            self.error(Code::SniHostsMissing, &format!("{field}.sniHosts"), "at least one server name is needed");
        }
        let mut sni_hosts = Vec::with_capacity(given.sni_hosts.len());
        for (index, name) in given.sni_hosts.iter().enumerate() {
            let checked = if name == "*" { Ok("*".into()) } else { host::parse(name) };
            let field = format!("{field}.sniHosts[{index}]");
            let Some(sni) = self.check(&field, checked) else { continue };
            if text_is_address(name) {
                let reason = format!("{name:?} is an address: clients send names only");
                self.note(Code::SniAddress, &field, reason);
            } else if let Some(flaw) = names::host_style(name) {
                self.note(flaw.code, &field, flaw.reason);
            } else if !self.site.hosts.covers(&sni) {
                self.note(
                    Code::SniOutsideHosts,
                    &field,
                    format!("{name:?} has no effect: it is outside of spec.hosts"),
                );
            }
            sni_hosts.push(sni);
        }
        TlsMatch {
            sni_hosts,
            destination_subnets: self.subnets(&format!("{field}.destinationSubnets"), &given.destination_subnets),
            port: self.port(&format!("{field}.port"), given.port),
            source: self.source(field, &given.source_labels, &given.source_namespace, &given.gateways),
        }
    }

    fn tcp_match(&mut self, field: &str, given: &spec::L4Match) -> TcpMatch {
        if !given.source_subnet.is_empty() {
            self.not_honoured(&format!("{field}.sourceSubnet"));
        }
        TcpMatch {
            destination_subnets: self.subnets(&format!("{field}.destinationSubnets"), &given.destination_subnets),
            port: self.port(&format!("{field}.port"), given.port),
            source: self.source(field, &given.source_labels, &given.source_namespace, &given.gateways),
        }
    }

    /// Networks, or single addresses.
    fn subnets(&mut self, field: &str, given: &[String]) -> Vec<IpNet> {
        let mut subnets = Vec::with_capacity(given.len());
        for (index, text) in given.iter().enumerate() {
            let read = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let read = read.map_err(|_| {
                let reason = format!("{text:?} is not an address or a network such as 10.0.0.0/8");
                Flaw::new(Code::AddressInvalid, reason)
            });
            subnets.extend(self.check(&format!("{field}[{index}]"), read));
        }
        subnets
    }

    fn l4_destinations(&mut self, given: &[spec::RouteDestination]) -> Option<Vec<L4Destination>> {
        if given.is_empty() {
            self.error(Code::DestinationMissing, "route", "a destination is needed");
        }
        let weights: Vec<i32> = given.iter().map(|d| d.weight).collect();
        let (weights, flaws) = names::weights(&weights);
        flaws.into_iter().for_each(|(at, flaw)| self.flaw(&format!("route[{at}].weight"), flaw));
        let mut made = Vec::with_capacity(given.len());
        for (at, (to, weight)) in given.iter().zip(weights).enumerate() {
            let destination = self.destination(&format!("route[{at}].destination"), &to.destination);
            made.extend(destination.map(|destination| L4Destination { destination, weight }));
        }
        Some(made)
    }
}

fn text_is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}
