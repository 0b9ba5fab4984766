//! What names stand for: the hosts of the mesh by each name that the workload may call them by.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::place::Place;
use crate::pb::nds::{NameTable, name_table::NameInfo};

/// The registry whose services have short names.
const KUBERNETES: &str = "Kubernetes";

/// The addresses of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4.
    pub v4: Vec<Ipv4Addr>,
    /// IPv6.
    pub v6: Vec<Ipv6Addr>,
}

/// A name that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name that the one asked for stands for, when the workload's resolver has put a search domain after it.
    pub alias: Option<String>,
    /// Its addresses.
    pub addresses: Arc<Addresses>,
}

/// Addresses by name, in lower case and without a dot at the end; wildcards by what comes after `*.`.
#[derive(Debug, Default)]
pub struct Table {
    names: HashMap<String, Arc<Addresses>>,
    wildcards: HashMap<String, Arc<Addresses>>,
    search: String,
}

impl Table {
    /// The names by which a workload at a place may call what a table has.
    #[must_use]
    pub fn new(table: &NameTable, place: &Place) -> Self {
        let mut made = Self { search: place.search.clone(), ..Self::default() };
        for (host, info) in &table.table {
            let addresses = Arc::new(addresses(&info.ips));
            // As if nobody knew it.
            if addresses.v4.is_empty() && addresses.v6.is_empty() {
                continue;
            }
            for name in short_names(host, info, place) {
                made.add(&name, &addresses, false);
            }
            std::iter::once(host).chain(&info.alt_hosts).for_each(|name| made.add(name, &addresses, true));
        }
        made
    }

    /// Whole names come before short ones.
    fn add(&mut self, name: &str, addresses: &Arc<Addresses>, is_whole: bool) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let (map, name) = match name.strip_prefix("*.") {
            Some(rest) => (&mut self.wildcards, rest.to_owned()),
            None => (&mut self.names, name),
        };
        if is_whole {
            map.insert(name, Arc::clone(addresses));
        } else {
            map.entry(name).or_insert_with(|| Arc::clone(addresses));
        }
    }

    /// What a name stands for; it may end with a dot, and be in capitals.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Found> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // A resolver tries a name in its search domains before it tries it as it is.
        let bare = name.strip_suffix(&self.search).and_then(|rest| rest.strip_suffix('.'));
        let bare = bare.filter(|_| !self.search.is_empty());
        let found = |addresses: &Arc<Addresses>| Found { alias: None, addresses: Arc::clone(addresses) };
        let alias = |bare: &str, addresses: &Arc<Addresses>| Found {
            alias: Some(bare.to_owned()),
            addresses: Arc::clone(addresses),
        };
        if let Some(addresses) = self.names.get(&name) {
            return Some(found(addresses));
        }
        if let Some((bare, addresses)) = bare.and_then(|bare| Some((bare, self.names.get(bare)?))) {
            return Some(alias(bare, addresses));
        }
        let by_wildcard = |name: &str| parents(name).find_map(|parent| self.wildcards.get(parent));
        match by_wildcard(&name) {
            Some(addresses) => Some(found(addresses)),
            None => bare.and_then(|bare| Some(alias(bare, by_wildcard(bare)?))),
        }
    }
}

/// The domains that a name is in, the smallest first.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(name.split_once('.').map(|(_, rest)| rest), |name| Some(name.split_once('.')?.1))
}

fn addresses(texts: &[String]) -> Addresses {
    let mut made = Addresses::default();
    for ip in texts.iter().filter_map(|text| text.parse().ok()) {
        match ip {
            IpAddr::V4(ip) => made.v4.push(ip),
            IpAddr::V6(ip) => made.v6.push(ip),
        }
    }
    made
}

/// Those of a Kubernetes Service of this cluster: `web.shop`, `web.shop.svc`, and `web` in its own namespace.
fn short_names(host: &str, info: &NameInfo, place: &Place) -> Vec<String> {
    let NameInfo { shortname, namespace, .. } = info;
    let is_near = !place.domain.is_empty() && host.trim_end_matches('.').ends_with(&place.domain);
    if info.registry != KUBERNETES || !is_near || shortname.is_empty() || namespace.is_empty() {
        return Vec::new();
    }
    let svc = place.domain.split('.').next().unwrap_or_default();
    let mut names = vec![format!("{shortname}.{namespace}"), format!("{shortname}.{namespace}.{svc}")];
    if *namespace == place.namespace {
        names.push(shortname.clone());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(registry: &str, short: &str, namespace: &str, ips: &[&str]) -> NameInfo {
        NameInfo {
            ips: ips.iter().map(ToString::to_string).collect(),
            registry: registry.to_owned(),
            shortname: short.to_owned(),
            namespace: namespace.to_owned(),
            alt_hosts: Vec::new(),
        }
    }

    fn table() -> Table {
        let entries = [
            ("web.shop.svc.cluster.local", info(KUBERNETES, "web", "shop", &["10.0.0.1", "fd00::1"])),
            ("pay.bank.svc.cluster.local", info(KUBERNETES, "pay", "bank", &["10.0.0.2"])),
            ("db-0.db.shop.svc.cluster.local", info(KUBERNETES, "db-0.db", "shop", &["10.1.0.1"])),
            ("www.example.com", NameInfo { alt_hosts: vec!["old.example.com".to_owned()], ..external("240.0.0.1") }),
            ("*.example.com", external("240.0.0.2")),
            ("*.deep.example.com", external("240.0.0.3")),
            ("web.shop", external("240.0.0.4")),
            ("broken.example.org", external("none")),
        ];
        let table = entries.into_iter().map(|(host, info)| (host.to_owned(), info)).collect();
        let place = Place::new("shop", "shop.svc.cluster.local", "shop.svc.cluster.local");
        Table::new(&NameTable { table }, &place)
    }

    fn external(ip: &str) -> NameInfo {
        info("External", "", "", &[ip])
    }

    /// The first address, and the alias.
    fn first(name: &str) -> Option<(String, Option<String>)> {
        let found = table().find(name)?;
        Some((found.addresses.v4[0].to_string(), found.alias))
    }

    fn is(ip: &str) -> Option<(String, Option<String>)> {
        Some((ip.to_owned(), None))
    }

    #[test]
    fn services_of_the_cluster_have_short_names() {
        for name in ["web.shop.svc.cluster.local", "WEB.shop.svc.cluster.local.", "web.shop.svc", "web"] {
            assert_eq!(first(name), is("10.0.0.1"), "{name}");
        }
        for name in ["pay.bank", "pay.bank.svc", "pay.bank.svc.cluster.local"] {
            assert_eq!(first(name), is("10.0.0.2"), "{name}");
        }
        assert_eq!((first("pay"), first("db-0.db")), (None, is("10.1.0.1")));
        assert_eq!(first("web.shop"), is("240.0.0.4"), "a host's own name comes before a short one of another");
    }

    #[test]
    fn a_name_in_the_search_domain_is_an_alias() {
        let alias = |ip: &str, of: &str| Some((ip.to_owned(), Some(of.to_owned())));
        assert_eq!(first("www.example.com.shop.svc.cluster.local"), alias("240.0.0.1", "www.example.com"));
        assert_eq!(first("any.example.com.shop.svc.cluster.local."), alias("240.0.0.2", "any.example.com"));
        assert_eq!(first("pay.bank.shop.svc.cluster.local"), alias("10.0.0.2", "pay.bank"));
        assert_eq!(first("shop.svc.cluster.local"), None);
        assert_eq!(first("www.example.comshop.svc.cluster.local"), None);
    }

    #[test]
    fn the_narrowest_wildcard_counts() {
        assert_eq!((first("www.example.com"), first("a.b.example.com")), (is("240.0.0.1"), is("240.0.0.2")));
        assert_eq!((first("a.deep.example.com"), first("old.example.com")), (is("240.0.0.3"), is("240.0.0.1")));
        for unknown in ["example.com", "example.org", "broken.example.org", "com", ""] {
            assert_eq!(first(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_domain_without_its_namespace_is_the_clusters() {
        assert_eq!(Place::new("shop", "shop.svc.cluster.local", "A.").domain, "svc.cluster.local");
        assert_eq!(Place::new("shop", "svc.cluster.local", "A.").domain, "svc.cluster.local");
        assert_eq!(Place::new("svc", "svc.svc.cluster.local", "A.").search, "a");
    }
}
