//! Who a workload is (contract §4.3).

use std::fmt;

/// A SPIFFE identity of the mesh, `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The trust domain.
    pub trust_domain: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The service account.
    pub service_account: &'a str,
}

impl<'a> Identity<'a> {
    /// Reads a URI, `None` when it is no identity of this form.
    #[must_use]
    pub fn parse(uri: &'a str) -> Option<Self> {
        let mut parts = uri.strip_prefix("spiffe://")?.split('/');
        let (trust_domain, ns) = (parts.next()?, parts.next()?);
        let (namespace, sa) = (parts.next()?, parts.next()?);
        let service_account = parts.next()?;
        let named = [trust_domain, namespace, service_account].iter().all(|p| !p.is_empty());
        (ns == "ns" && sa == "sa" && named && parts.next().is_none()).then_some(Self {
            trust_domain,
            namespace,
            service_account,
        })
    }
}

/// The URI. A trust domain that is the name of a service account of Google, with an `@`, has a dot there.
impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, namespace, service_account } = self;
        write!(f, "spiffe://{}/ns/{namespace}/sa/{service_account}", trust_domain.replace('@', "."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_identities_are_read() {
        let whole = Identity::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an identity");
        assert_eq!((whole.trust_domain, whole.namespace, whole.service_account), ("cluster.local", "shop", "web"));
        assert_eq!(whole.to_string(), "spiffe://cluster.local/ns/shop/sa/web");
        for bad in [
            "",
            "spiffe://",
            "spiffe://td/ns/shop/sa/",
            "spiffe://td/ns//sa/web",
            "spiffe://td/ns/shop/sa/web/more",
            "https://td/ns/shop/sa/web",
            "spiffe://td/sa/shop/ns/web",
        ] {
            assert_eq!(Identity::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_at_sign_in_a_trust_domain_becomes_a_dot() {
        let identity = Identity { trust_domain: "mesh@project", namespace: "shop", service_account: "web" };
        assert_eq!(identity.to_string(), "spiffe://mesh.project/ns/shop/sa/web");
    }
}
