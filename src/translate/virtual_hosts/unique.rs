//! Each domain once in a route configuration: Envoy refuses one in which a domain stands twice as a whole.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::VirtualHost;
use prost::{Message, encoding::decode_varint};

use super::{bracketed, virtual_host_piece};
use crate::snapshot::Version;

/// Field numbers of `name` and `domains` in `envoy.config.route.v3.VirtualHost`.
const NAME: u64 = 1;
const DOMAINS: u64 = 2;
/// The wire type of strings and messages.
const LENGTH_DELIMITED: u64 = 2;

/// A virtual host of a route configuration that is being put together.
#[derive(Clone, Debug, PartialEq)]
pub struct HostEntry {
    /// The host that it is of; empty for the one of all other requests.
    pub host: String,
    /// Made by [`virtual_host_piece`].
    pub piece: (Version, Bytes),
}

/// A domain that a virtual host has lost to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostDomain {
    /// The host that lost it.
    pub loser: String,
    /// The host that has it.
    pub winner: String,
    /// The domain.
    pub domain: String,
}

/// Takes from virtual hosts what another one has too: a host keeps its own name, else the first host has it. A
/// virtual host without domains is left out. Where nothing clashes, nothing is decoded.
pub fn unique_domains(hosts: &mut Vec<HostEntry>) -> Vec<LostDomain> {
    if !clash(hosts) {
        return Vec::new();
    }
    let owners = owners(hosts);
    let names: Vec<String> = hosts.iter().map(|h| h.host.clone()).collect();
    let mut lost = Vec::new();
    let mut index = 0;
    hosts.retain_mut(|entry| {
        let mine = index;
        index += 1;
        let taken = |d: &[u8]| owners.get(&d.to_ascii_lowercase()).is_some_and(|owner| *owner != mine);
        if !domains(&entry.piece.1).any(taken) {
            return true;
        }
        let Some(mut host) = decode(&entry.piece.1) else { return true };
        host.domains.retain(|domain| {
            let Some(owner) = owners.get(&domain.as_bytes().to_ascii_lowercase()).filter(|o| **o != mine) else {
                return true;
            };
            let (loser, winner) = (entry.host.clone(), names[*owner].clone());
            lost.push(LostDomain { loser, winner, domain: domain.clone() });
            false
        });
        entry.piece = virtual_host_piece(&host);
        !host.domains.is_empty()
    });
    lost
}

/// Whether a domain stands twice.
fn clash(hosts: &[HostEntry]) -> bool {
    let mut seen = HashSet::with_capacity(hosts.len() * 8);
    hosts.iter().flat_map(|h| domains(&h.piece.1)).any(|domain| !seen.insert(domain.to_ascii_lowercase()))
}

/// Which virtual host has a domain.
fn owners(hosts: &[HostEntry]) -> HashMap<Vec<u8>, usize> {
    let mut owners: HashMap<Vec<u8>, (bool, usize)> = HashMap::new();
    for (index, entry) in hosts.iter().enumerate() {
        let own = bracketed(&entry.host);
        for domain in domains(&entry.piece.1) {
            let own_name = domain.eq_ignore_ascii_case(own.as_bytes());
            let owner = owners.entry(domain.to_ascii_lowercase()).or_insert((own_name, index));
            if own_name && !owner.0 {
                *owner = (true, index);
            }
        }
    }
    owners.into_iter().map(|(domain, (_, index))| (domain, index)).collect()
}

/// The domains of an encoded virtual host, which stand before everything but its name.
fn domains(piece: &Bytes) -> impl Iterator<Item = &[u8]> {
    let mut rest = field(piece).map_or(&[][..], |(_, body, _)| body);
    std::iter::from_fn(move || {
        loop {
            let (number, body, after) = field(rest)?;
            rest = after;
            match number {
                NAME => {}
                DOMAINS => return Some(body),
                _ => return None,
            }
        }
    })
}

/// The number and content of the first field, and what follows it; `None` if it is not length-delimited.
fn field(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let mut rest = bytes;
    let key = decode_varint(&mut rest).ok()?;
    if key & 7 != LENGTH_DELIMITED {
        return None;
    }
    let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let (body, after) = rest.split_at_checked(len)?;
    Some((key >> 3, body, after))
}

fn decode(piece: &Bytes) -> Option<VirtualHost> {
    VirtualHost::decode(field(piece)?.1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(host: &str, domains: &[&str]) -> HostEntry {
        let domains = domains.iter().map(|&d| d.to_owned()).collect();
        let made = VirtualHost { name: format!("{host}:80"), domains, ..VirtualHost::default() };
        HostEntry { host: host.to_owned(), piece: virtual_host_piece(&made) }
    }

    fn lost(loser: &str, winner: &str, domain: &str) -> LostDomain {
        LostDomain { loser: loser.to_owned(), winner: winner.to_owned(), domain: domain.to_owned() }
    }

    #[test]
    fn what_does_not_clash_is_kept_as_it_is() {
        let mut hosts = vec![entry("a", &["a", "a."]), entry("b", &["b"]), entry("", &["*"])];
        let before = hosts.clone();
        assert_eq!(unique_domains(&mut hosts), []);
        assert_eq!(hosts, before);
    }

    #[test]
    fn a_host_keeps_its_own_name_else_the_first_has_it() {
        let mut hosts = vec![
            entry("a.long", &["a.long", "A", "10.0.0.1", "x"]),
            entry("a", &["a", "10.0.0.1"]),
            entry("*", &["*"]),
            entry("", &["*"]),
        ];
        let lost_ones = unique_domains(&mut hosts);
        assert_eq!(lost_ones, [lost("a.long", "a", "A"), lost("a", "a.long", "10.0.0.1"), lost("", "*", "*")]);
        assert_eq!(hosts, [entry("a.long", &["a.long", "10.0.0.1", "x"]), entry("a", &["a"]), entry("*", &["*"])]);
    }
}
