//! Where a workload is.

/// Where the workload is: it calls what is near by short names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// What names of Services end with after their namespace: `svc.cluster.local`.
    pub domain: String,
    /// The first domain that its resolver tries names in; empty where there is none.
    pub search: String,
}

impl Place {
    /// Of a proxy's DNS domain, whose first part may be the namespace.
    #[must_use]
    pub fn new(namespace: &str, domain: &str, search: &str) -> Self {
        let domain = domain.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('.')).unwrap_or(domain);
        let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        Self { namespace: namespace.to_owned(), domain: plain(domain), search: plain(search) }
    }
}
