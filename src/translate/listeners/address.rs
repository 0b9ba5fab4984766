//! Where listeners bind: IP families and names.

use envoy_types::pb::envoy::config::{core::v3::Address, listener::v3::AdditionalAddress};

use super::wire;
use crate::model::{Bind, IpFamilies};

/// The name of a listener: `<bind>_<port>`, or the socket's name (translation §0).
#[must_use]
pub fn listener_name(bind: Option<&Bind>, port: u16, families: IpFamilies) -> String {
    match bind {
        Some(Bind::Ip(ip)) => format!("{ip}_{port}"),
        Some(pipe @ Bind::Pipe(_)) => pipe.to_string(),
        None => format!("{}_{port}", families.wildcard()),
    }
}

/// The address of a listener and, for the wildcard in a dual-stack proxy, that of the other family.
pub(super) fn addresses(bind: Option<&Bind>, port: u16, families: IpFamilies) -> (Address, Vec<AdditionalAddress>) {
    if let Some(bind) = bind {
        return (wire::bind_address(bind, port), Vec::new());
    }
    let more = families.wildcards()[1..]
        .iter()
        .map(|ip| AdditionalAddress { address: Some(wire::socket_address(*ip, port)), ..AdditionalAddress::default() })
        .collect();
    (wire::socket_address(families.wildcard(), port), more)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn families_keep_the_primary_first() {
        let ips = |text: &[&str]| text.iter().map(|t| t.parse().expect("an address")).collect::<Vec<IpAddr>>();
        assert_eq!(IpFamilies::of(&[]), IpFamilies::V4);
        assert_eq!(IpFamilies::of(&ips(&["fd00::1"])), IpFamilies::V6);
        assert_eq!(IpFamilies::of(&ips(&["fd00::1", "10.0.0.1"])), IpFamilies::V6V4);
        assert_eq!(IpFamilies::of(&ips(&["10.0.0.1", "fd00::1"])), IpFamilies::V4V6);
        assert_eq!(addresses(None, 80, IpFamilies::V6V4).1.len(), 1);
        assert_eq!(listener_name(None, 80, IpFamilies::V6), "::_80");
    }
}
