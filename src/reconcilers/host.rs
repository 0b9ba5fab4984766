//! Host names as users write them.

use super::Flaw;
use crate::model::{Code, Host};

/// Istio takes no longer names (contract §10), though those of DNS have two characters less.
const MAX_LENGTH: usize = 255;

/// The full name of a host in an object of a namespace: short names are Kubernetes Services of that namespace.
pub(crate) fn fqdn(host: &str, namespace: &str, domain_suffix: &str) -> Host {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.contains('.') || host.starts_with('*') {
        host.into()
    } else {
        format!("{host}.{namespace}.svc.{domain_suffix}").into()
    }
}

/// The host in its usual form, if it can be one; a leading `*.` is a wildcard.
pub(super) fn parse(text: &str) -> Result<Host, Flaw> {
    let host = text.trim_end_matches('.').to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(letter);
    if host.len() <= MAX_LENGTH && name.split('.').all(label) {
        Ok(host.into())
    } else {
        let reason = format!("{text:?} is not a host name, optionally with a leading \"*.\"");
        Err(Flaw::new(Code::HostMalformed, reason))
    }
}

/// Whether a text can be the name of a namespace.
pub(super) fn is_label(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_services_of_the_namespace() {
        assert_eq!(&*fqdn("Web", "shop", "cluster.local"), "web.shop.svc.cluster.local");
        assert_eq!(&*fqdn("a.com.", "shop", "cluster.local"), "a.com");
        assert_eq!(&*fqdn("*", "shop", "cluster.local"), "*");
    }

    #[test]
    fn hosts_are_checked() {
        for good in ["a", "A.b", "*.a.b", "_x.y", "10.0.0.1"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "*", "a..b", "a b", "*a.b", "ä.de", "a:80", &"a.".repeat(200)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
