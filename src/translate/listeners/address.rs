//! Where listeners bind: IP families and names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use envoy_types::pb::envoy::config::{core::v3::Address, listener::v3::AdditionalAddress};

use super::wire;
use crate::model::Bind;

/// The IP families of a proxy, the primary one first: the only thing that its addresses decide about wildcard
/// listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpFamilies {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both, IPv4 first.
    V4V6,
    /// Both, IPv6 first.
    V6V4,
}

impl IpFamilies {
    /// The families of a proxy's addresses; IPv4 when there are none.
    #[must_use]
    pub fn of(ips: &[IpAddr]) -> Self {
        let (v4, v6) = (ips.iter().position(IpAddr::is_ipv4), ips.iter().position(IpAddr::is_ipv6));
        match (v4, v6) {
            (Some(four), Some(six)) if four < six => Self::V4V6,
            (Some(_), Some(_)) => Self::V6V4,
            (None, Some(_)) => Self::V6,
            (_, None) => Self::V4,
        }
    }

    /// Whether the proxy can use an address.
    #[must_use]
    pub const fn supports(self, ip: IpAddr) -> bool {
        match self {
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
            Self::V4V6 | Self::V6V4 => true,
        }
    }

    /// The wildcard addresses, the primary first.
    #[must_use]
    pub const fn wildcards(self) -> &'static [IpAddr] {
        const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match self {
            Self::V4 => &[V4],
            Self::V6 => &[V6],
            Self::V4V6 => &[V4, V6],
            Self::V6V4 => &[V6, V4],
        }
    }

    /// The primary wildcard address.
    #[must_use]
    pub const fn wildcard(self) -> IpAddr {
        self.wildcards()[0]
    }

    /// The primary loopback address.
    #[must_use]
    pub const fn loopback(self) -> IpAddr {
        match self {
            Self::V4 | Self::V4V6 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 | Self::V6V4 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

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
