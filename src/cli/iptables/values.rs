//! The values of the flags of `mizzen iptables`.

use std::{fmt::Display, str::FromStr};

use ipnet::IpNet;

use super::host;
use crate::agent::redirect::Mode;

/// The longest name that the kernel gives an interface, and iptables' sign for "that begins so".
const INTERFACE_LENGTH: usize = 15;

/// Values separated by commas; empty ones do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T: FromStr<Err: Display>> FromStr for List<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let parsed = items.map(|item| item.parse().map_err(|error| format!("{item:?}: {error}")));
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

/// The same, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wildcard<T> {
    /// `*`.
    All,
    /// These.
    Only(Vec<T>),
}

impl<T: FromStr<Err: Display>> FromStr for Wildcard<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "*" { Ok(Self::All) } else { text.parse().map(|List(items)| Self::Only(items)) }
    }
}

/// `10.0.0.0/8`; an address alone is that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr(pub(super) IpNet);

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| "is no range of addresses such as 10.0.0.0/8".to_owned())
    }
}

/// A group by number or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group(pub(super) u32);

impl FromStr for Group {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().or_else(|| host::group(text));
        number.map(Self).ok_or("is neither a number nor a group of /etc/group")
    }
}

/// The name of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface(pub(super) String);

impl FromStr for Interface {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '"' | '\\' | '!' | '\'');
        if text.len() > INTERFACE_LENGTH || text.starts_with('-') || !text.chars().all(allowed) {
            return Err(format!("is no name of an interface (at most {INTERFACE_LENGTH} letters)"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// `REDIRECT` and nothing are the same.
pub(super) fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "" | "REDIRECT" => Ok(Mode::Redirect),
        "TPROXY" => Ok(Mode::Tproxy),
        _ => Err("there are REDIRECT and TPROXY".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_what_is_wrong_is_named() {
        assert_eq!("80, 443,".parse(), Ok(List(vec![80_u16, 443])));
        assert_eq!("".parse(), Ok(List::<u16>(Vec::new())));
        assert_eq!("*".parse(), Ok(Wildcard::<u16>::All));
        assert_eq!(
            "80,70000".parse::<List<u16>>(),
            Err("\"70000\": number too large to fit in target type".to_owned())
        );
        assert_eq!("10.0.0.1".parse(), Ok(Cidr("10.0.0.1/32".parse().expect("a range"))));
        let wrong = "\"10/8\": is no range of addresses such as 10.0.0.0/8".to_owned();
        assert_eq!("10/8".parse::<Wildcard<Cidr>>(), Err(wrong));
        assert_eq!("root".parse(), Ok(Group(0)));
        assert!("no such group".parse::<Group>().is_err());
        for name in ["eth0 -j DROP", "a-very-long-name-of-one", "-i"] {
            assert!(name.parse::<Interface>().is_err(), "{name}");
        }
        assert_eq!(mode("TPROXY"), Ok(Mode::Tproxy));
        assert!(mode("NONE").is_err());
    }
}
