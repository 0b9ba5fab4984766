//! Tables of names, by which agents answer questions for names themselves (contract §2.2, §6.3).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use prost::Message;

use crate::{
    model::{IpFamilies, Service, service::Registry},
    pb::nds::{NameTable, name_table::NameInfo},
    snapshot::{Encoder, Name, Refs, Resource, ResourceType, Version},
};

/// The name of the resource: a proxy has one table.
const NAME: &str = "name-table";

/// The addresses that a proxy can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Usable {
    v4: bool,
    v6: bool,
}

impl Usable {
    /// Those of its families, in whatever order.
    #[must_use]
    pub const fn of(families: IpFamilies) -> Self {
        match families {
            IpFamilies::V4 => Self { v4: true, v6: false },
            IpFamilies::V6 => Self { v4: false, v6: true },
            IpFamilies::V4V6 | IpFamilies::V6V4 => Self { v4: true, v6: true },
        }
    }

    fn has(self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// The members of a headless Service, as questions for its name are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The addresses of all.
    pub all: BTreeSet<IpAddr>,
    /// Those of members that have a name below that of the Service (Pods of a StatefulSet).
    pub named: BTreeMap<Arc<str>, BTreeSet<IpAddr>>,
}

/// What a service adds to a table, encoded; `None` without an address. The names of an ExternalName Service, and of a
/// ServiceEntry without an address, other servers of names know.
#[must_use]
pub fn piece(service: &Service, members: &Members, usable: Usable) -> Option<Resource> {
    let mut table = BTreeMap::new();
    let mut add = |host: String, shortname: String, ips: &mut dyn Iterator<Item = &IpAddr>| {
        let ips: Vec<String> = ips.filter(|ip| usable.has(**ip)).map(ToString::to_string).collect();
        if !ips.is_empty() {
            table.insert(host, info(service, shortname, ips));
        }
    };
    if service.headless {
        add(service.host.to_string(), service.name.to_string(), &mut members.all.iter());
        for (member, ips) in &members.named {
            add(format!("{member}.{}", service.host), format!("{member}.{}", service.name), &mut ips.iter());
        }
    } else {
        add(service.host.to_string(), service.name.to_string(), &mut service.vips.iter());
    }
    if table.is_empty() {
        return None;
    }
    let bytes = NameTable { table }.encode_to_vec();
    Some(Encoder::piece(Name::clone(&service.host), (Version::of(&bytes), bytes.into()), Refs::default()))
}

fn info(service: &Service, shortname: String, ips: Vec<String>) -> NameInfo {
    match service.registry {
        Registry::Kubernetes => NameInfo {
            ips,
            registry: "Kubernetes".to_owned(),
            shortname,
            namespace: service.namespace.to_string(),
            alt_hosts: Vec::new(),
        },
        Registry::ServiceEntry => NameInfo { ips, registry: "External".to_owned(), ..NameInfo::default() },
    }
}

/// The table of pieces, in the order of their hosts.
#[must_use]
pub fn table(pieces: &[Arc<Resource>]) -> Resource {
    let mut body = Vec::with_capacity(pieces.iter().map(|piece| piece.delta_len()).sum());
    // Entries of a map may be concatenated.
    pieces.iter().flat_map(|piece| piece.body()).for_each(|bytes| body.extend_from_slice(&bytes));
    Encoder::bytes(ResourceType::NameTable, NAME.into(), body.into(), Refs::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::fixtures;

    const V4: Usable = Usable::of(IpFamilies::V4);
    const BOTH: Usable = Usable::of(IpFamilies::V6V4);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn entries(resource: Option<Resource>) -> Vec<(String, Vec<String>, String)> {
        let Some(piece) = resource else { return Vec::new() };
        let table = table(&[Arc::new(piece)]);
        let table = NameTable::decode(table.body_bytes()).expect("a table").table;
        table.into_iter().map(|(host, info)| (host, info.ips, info.shortname)).collect()
    }

    #[test]
    fn a_service_has_its_addresses_of_usable_families() {
        let mut service = fixtures::service();
        service.vips = [ip("10.0.0.1"), ip("fd00::1")].into();
        let v4 = entries(piece(&service, &Members::default(), V4));
        assert_eq!(v4, [(service.host.to_string(), vec!["10.0.0.1".to_owned()], service.name.to_string())]);
        assert_eq!(entries(piece(&service, &Members::default(), BOTH))[0].1, ["10.0.0.1", "fd00::1"]);
        let only = Usable::of(IpFamilies::V6);
        assert_eq!(entries(piece(&service, &Members::default(), only))[0].1, ["fd00::1"]);
        service.vips = [ip("fd00::1")].into();
        assert_eq!(piece(&service, &Members::default(), V4), None);
    }

    #[test]
    fn a_headless_service_has_those_of_its_members_and_their_names() {
        let mut service = fixtures::service();
        (service.host, service.name) = ("db.shop.svc.cluster.local".into(), "db".into());
        (service.headless, service.vips) = (true, Arc::default());
        let all = [ip("10.1.0.1"), ip("10.1.0.2")].into();
        let named = BTreeMap::from([("db-0".into(), [ip("10.1.0.1")].into())]);
        let made = entries(piece(&service, &Members { all, named }, V4));
        let hosts: Vec<_> = made.iter().map(|(host, ips, short)| (&**host, ips.len(), &**short)).collect();
        assert_eq!(hosts, [("db-0.db.shop.svc.cluster.local", 1, "db-0.db"), ("db.shop.svc.cluster.local", 2, "db")]);
        assert_eq!(piece(&service, &Members::default(), V4), None, "as one that nobody knows");
    }

    #[test]
    fn of_others_the_short_names_do_not_count() {
        let mut service = fixtures::service();
        (service.host, service.registry) = ("*.example.com".into(), Registry::ServiceEntry);
        service.vips = [ip("240.0.0.1")].into();
        let made = entries(piece(&service, &Members::default(), V4));
        assert_eq!(made, [("*.example.com".to_owned(), vec!["240.0.0.1".to_owned()], String::new())]);
    }
}
