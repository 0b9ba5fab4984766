//! Who may read which secret (design §2 truth 5, contract §4.6).

use std::sync::Arc;

use super::reviews::{Account, Reviews};
use crate::{
    model::{Identity, Proxy, secret::CONFIG_MAP},
    xds::{Peer, Permission, SecretAccess},
};

/// With a cluster, secrets go only to streams whose verified identity is that of the secret's namespace, and whose
/// service account may list them there. Without one there is nobody to check a token: then to this machine only, or to
/// a verified identity of the namespace. The engine resolves names within the proxy's namespace only, and only those
/// that its Gateways and DestinationRules name.
pub(super) struct SecretPolicy {
    /// What service accounts may do; `None` when objects do not come from a cluster.
    pub(super) reviews: Option<Arc<Reviews>>,
}

impl SecretAccess for SecretPolicy {
    fn may_read(&self, peer: &Peer, proxy: &Proxy, name: &str) -> Permission {
        let is_map = name.starts_with(CONFIG_MAP);
        if !is_map && namespace_of(name, &proxy.namespace) != Some(&*proxy.namespace) {
            return Permission::Denied;
        }
        let mut accounts = accounts(peer, proxy);
        let granted = |yes| if yes { Permission::Granted } else { Permission::Denied };
        match &self.reviews {
            None if !peer.tls => granted(peer.is_local()),
            None => granted(accounts.next().is_some()),
            // Certificates of authorities are no secrets among those of a namespace.
            Some(_) if is_map || name.ends_with("-cacert") => granted(accounts.next().is_some()),
            // The best of several identities counts.
            Some(reviews) => accounts.map(|a| reviews.permission(&a)).max().unwrap_or(Permission::Denied),
        }
    }
}

/// The service accounts among a peer's identities that the proxy may be of. Plaintext has none.
pub(super) fn accounts<'a>(peer: &'a Peer, proxy: &'a Proxy) -> impl Iterator<Item = Account> + 'a {
    let identities = peer.identities.iter().filter_map(|i| Identity::parse(i));
    let wanted = &proxy.service_account;
    let own = identities.filter(|i| *i.namespace == *proxy.namespace);
    let own = own.filter(|i| wanted.is_empty() || *i.service_account == **wanted);
    own.map(|i| Account { namespace: i.namespace.to_owned(), name: i.service_account.to_owned() })
}

/// The namespace of a secret's resource name; `None` for names that are never served.
fn namespace_of<'a>(name: &'a str, own: &'a str) -> Option<&'a str> {
    let rest = name.strip_prefix("kubernetes://")?;
    Some(rest.split_once('/').map_or(own, |(namespace, _)| namespace))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::xds::{clients::Clients, node};

    fn proxy(namespace: &str) -> Proxy {
        let id = format!("router~10.0.0.1~gw.{namespace}~{namespace}.svc.cluster.local");
        let node = envoy_types::pb::envoy::config::core::v3::Node { id, ..Default::default() };
        node::parse(Some(&node)).expect("a node")
    }

    fn peer(address: &str, tls: bool, identity: Option<&str>) -> Peer {
        let identities = identity.into_iter().map(Into::into).collect();
        Peer { address: Some(address.parse().expect("an address")), identities, tls }
    }

    /// An API server that allows accounts named `gw` everything.
    fn reviews() -> Arc<Reviews> {
        let answer = |request: http::Request<kube::client::Body>| async move {
            let body = request.into_body().collect_bytes().await?;
            let mut review: serde_json::Value = serde_json::from_slice(&body)?;
            let user = review["spec"]["user"].as_str().unwrap_or_default().to_owned();
            review["status"] = serde_json::json!({"allowed": user.ends_with(":gw")});
            let answer =
                http::Response::builder().status(201).body(kube::client::Body::from(review.to_string().into_bytes()));
            answer.map_err(tower::BoxError::from)
        };
        Arc::new(Reviews::new(kube::Client::new(tower::service_fn(answer), "default")))
    }

    #[tokio::test]
    async fn files_are_for_this_machine_and_clusters_for_verified_identities_that_may_list() {
        use Permission::{Denied, Granted, Unknown};
        let reviews = reviews();
        let (files, cluster) = (SecretPolicy { reviews: None }, SecretPolicy { reviews: Some(reviews.clone()) });
        let (here, there) = (peer("127.0.0.1:1", false, None), peer("10.0.0.1:1", false, None));
        let own = peer("10.0.0.1:1", true, Some("spiffe://cluster.local/ns/a/sa/gw"));
        let gateway = proxy("a");
        assert_eq!(files.may_read(&here, &gateway, "kubernetes://cert"), Granted);
        assert_eq!(files.may_read(&there, &gateway, "kubernetes://cert"), Denied, "plaintext from afar");
        assert_eq!(files.may_read(&here, &gateway, "kubernetes://b/cert"), Denied, "another namespace");
        assert_eq!(files.may_read(&own, &gateway, "kubernetes://cert"), Granted);
        assert_eq!(cluster.may_read(&here, &gateway, "kubernetes://cert"), Denied, "plaintext, even from here");
        assert_eq!(cluster.may_read(&here, &gateway, "kubernetes://cert-cacert"), Denied, "plaintext");
        assert_eq!(cluster.may_read(&own, &gateway, "kubernetes://a/cert-cacert"), Granted);
        assert_eq!(cluster.may_read(&own, &gateway, "configmap://b/ca-cacert"), Granted);
        assert_eq!(cluster.may_read(&here, &gateway, "configmap://b/ca-cacert"), Denied, "plaintext");
        assert_eq!(cluster.may_read(&own, &proxy("b"), "kubernetes://cert"), Denied, "somebody else's identity");
        assert_eq!(cluster.may_read(&own, &gateway, "invalid://x"), Denied);
        let other = peer("10.0.0.1:1", true, Some("spiffe://cluster.local/ns/a/sa/app"));
        let ask = || [&own, &other].map(|peer| cluster.may_read(peer, &gateway, "kubernetes://a/cert"));
        assert_eq!(ask(), [Unknown, Unknown]);

        // Nobody is connected: accounts are forgotten, and not asked about.
        let (clients, shutdown) = (Clients::default(), CancellationToken::new());
        let run = reviews.run(&clients, shutdown.clone());
        assert!(tokio::time::timeout(Duration::from_millis(50), run).await.is_err());
        assert_eq!(ask(), [Unknown, Unknown]);
    }
}
