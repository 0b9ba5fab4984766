//! The hosts of an object, to look others up in.

use std::collections::{BTreeSet, HashSet};

/// Hosts, those with wildcards apart.
#[derive(Debug, Default)]
pub(super) struct HostSet {
    names: HashSet<String>,
    /// What is behind the `*` of wildcards.
    suffixes: HashSet<String>,
    /// The lengths that those have.
    lengths: BTreeSet<usize>,
}

impl HostSet {
    /// Of hosts as they are written.
    pub(super) fn new(hosts: &[String]) -> Self {
        let mut set = Self::default();
        for host in hosts.iter().map(|host| host.to_ascii_lowercase()) {
            match host.strip_prefix('*') {
                Some(suffix) => {
                    set.lengths.insert(suffix.len());
                    set.suffixes.insert(suffix.to_owned());
                }
                None => _ = set.names.insert(host),
            }
        }
        set
    }

    /// Whether one of the hosts stands for all names that `host` does, which is in lower case.
    pub(super) fn covers(&self, host: &str) -> bool {
        let within = host.strip_prefix('*').unwrap_or(host);
        let is_suffix = |length: &usize| {
            let end = within.len().checked_sub(*length).and_then(|start| within.get(start..));
            end.is_some_and(|end| {
                (end.len() < within.len() || within.len() < host.len()) && self.suffixes.contains(end)
            })
        };
        self.names.contains(host) || self.suffixes.contains("") || self.lengths.iter().any(is_suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::HostSet;

    #[test]
    fn hosts_cover_what_they_stand_for() {
        let set = HostSet::new(&["*.A.com".to_owned(), "b.com".to_owned()]);
        for covered in ["x.a.com", "*.a.com", "*.x.a.com", "b.com"] {
            assert!(set.covers(covered), "{covered}");
        }
        for other in ["a.com", "xa.com", "*.com", "x.b.com", "*", "c"] {
            assert!(!set.covers(other), "{other}");
        }
        assert!(HostSet::new(&["*".to_owned()]).covers("x") && !HostSet::new(&[]).covers("x"));
    }
}
