//! Who may read which secret (design §2 truth 5, contract §4.6).

use crate::{
    model::Proxy,
    xds::{Peer, SecretAccess, auth::Identity},
};

/// With a cluster, secrets go only to streams whose verified identity is that of the secret's namespace. Without
/// one there is nobody to check a token: then to this machine only. The engine resolves names within the proxy's
/// namespace only, and only those that a Gateway of the proxy names.
pub(super) struct SecretPolicy {
    /// Whether objects come from a cluster.
    pub(super) cluster: bool,
}

impl SecretAccess for SecretPolicy {
    fn may_read(&self, peer: &Peer, proxy: &Proxy, name: &str) -> bool {
        let Some(owner) = namespace_of(name, &proxy.namespace) else { return false };
        if owner != &*proxy.namespace {
            return false;
        }
        if !self.cluster && !peer.tls {
            return peer.is_local();
        }
        let identities = peer.identities.iter().filter_map(|i| Identity::parse(i));
        let own = identities.filter(|i| *i.namespace == *owner);
        let account = &proxy.service_account;
        own.into_iter().any(|i| account.is_empty() || *i.service_account == **account)
    }
}

/// The namespace of a secret's resource name; `None` for names that are never served.
fn namespace_of<'a>(name: &'a str, own: &'a str) -> Option<&'a str> {
    let rest = name.strip_prefix("kubernetes://")?;
    Some(rest.split_once('/').map_or(own, |(namespace, _)| namespace))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::xds::node;

    fn proxy(namespace: &str) -> Proxy {
        let id = format!("router~10.0.0.1~gw.{namespace}~{namespace}.svc.cluster.local");
        let node = envoy_types::pb::envoy::config::core::v3::Node { id, ..Default::default() };
        node::parse(Some(&node)).expect("a node")
    }

    fn peer(address: &str, tls: bool, identity: Option<&str>) -> Peer {
        let identities = identity.into_iter().map(Arc::from).collect();
        Peer { address: Some(address.parse().expect("an address")), identities, tls }
    }

    #[test]
    fn files_are_for_this_machine_and_clusters_for_verified_identities() {
        let (files, cluster) = (SecretPolicy { cluster: false }, SecretPolicy { cluster: true });
        let (here, there) = (peer("127.0.0.1:1", false, None), peer("10.0.0.1:1", false, None));
        let own = peer("10.0.0.1:1", true, Some("spiffe://cluster.local/ns/a/sa/gw"));
        let gateway = proxy("a");
        assert!(files.may_read(&here, &gateway, "kubernetes://cert"));
        assert!(!files.may_read(&there, &gateway, "kubernetes://cert"), "plaintext from afar");
        assert!(!files.may_read(&here, &gateway, "kubernetes://b/cert"), "another namespace");
        assert!(!cluster.may_read(&here, &gateway, "kubernetes://cert"), "plaintext, even from here");
        assert!(cluster.may_read(&own, &gateway, "kubernetes://a/cert"));
        assert!(!cluster.may_read(&own, &proxy("b"), "kubernetes://cert"), "somebody else's identity");
        assert!(!cluster.may_read(&own, &gateway, "invalid://x"));
    }
}
