//! Who may open a stream as which proxy (contract §4.6).

use std::sync::Arc;

use tokio::sync::watch;

use super::Peer;
use crate::model::{Identity, Proxy};

/// The trust domain whose identities count: the mesh's, as it is now. Nobody is of the mesh before it is known.
#[derive(Debug)]
pub struct TrustDomain(watch::Sender<Arc<str>>);

impl Default for TrustDomain {
    fn default() -> Self {
        Self::new("")
    }
}

impl TrustDomain {
    /// One to start with.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(watch::Sender::new(name.into()))
    }

    /// From now on it is this one. Streams that are open stay.
    pub fn set(&self, name: &Arc<str>) {
        self.0.send_if_modified(|known| {
            let differs = **known != **name;
            if differs {
                *known = Arc::clone(name);
            }
            differs
        });
    }

    /// It, as it will be at any time.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<str>> {
        self.0.subscribe()
    }

    fn get(&self) -> Arc<str> {
        Arc::clone(&self.0.borrow())
    }
}

/// What is asked of peers.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whether a TLS peer must have an identity.
    pub require_identity: bool,
    /// Identities of other trust domains do not count, whoever vouches for them (contract §4.6).
    pub trust_domain: Arc<TrustDomain>,
    /// Where the control plane lives: identities of this namespace may see all proxies on debug surfaces.
    pub system_namespace: String,
}

impl Default for Access {
    fn default() -> Self {
        let trust_domain = Arc::new(TrustDomain::new("cluster.local"));
        Self { require_identity: true, trust_domain, system_namespace: "istio-system".to_owned() }
    }
}

/// Why a stream is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// TLS without a usable identity.
    #[error("authentication failure: the peer presented no identity of this mesh")]
    NoIdentity,
    /// The identity is not that of the proxy.
    #[error("authorization failed: {identities} may not act as a proxy of {namespace}/{service_account}")]
    Mismatch {
        /// What the peer presented.
        identities: String,
        /// The proxy's namespace.
        namespace: String,
        /// The proxy's service account, possibly empty.
        service_account: String,
    },
}

/// Which proxies a peer may see on debug surfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Mesh,
    /// Those of one namespace.
    Namespace(String),
}

impl Scope {
    /// Whether a proxy of this namespace may be seen.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::Mesh => true,
            Self::Namespace(own) => own == namespace,
        }
    }
}

impl Access {
    fn identities<'p>(&'p self, peer: &'p Peer) -> impl Iterator<Item = Identity<'p>> {
        peer.identities.iter().filter_map(|uri| Identity::parse(uri)).filter(|i| self.trusts(i))
    }

    /// The identity of the mesh that a peer has proved to have.
    #[must_use]
    pub fn identity(&self, peer: &Peer) -> Option<Arc<str>> {
        let counts = |uri: &&Arc<str>| Identity::parse(uri).is_some_and(|i| self.trusts(&i));
        peer.identities.iter().find(counts).cloned()
    }

    fn trusts(&self, identity: &Identity<'_>) -> bool {
        *self.trust_domain.get() == *identity.trust_domain
    }

    /// Checks that a peer may speak as a proxy. Plaintext has no identity and is accepted.
    pub fn check(&self, peer: &Peer, proxy: &Proxy) -> Result<(), AccessError> {
        if !peer.tls {
            return Ok(());
        }
        let mut identities = self.identities(peer).peekable();
        if identities.peek().is_none() {
            return if self.require_identity { Err(AccessError::NoIdentity) } else { Ok(()) };
        }
        let is_own = |i: Identity<'_>| {
            i.namespace == &*proxy.namespace
                && (proxy.service_account.is_empty() || i.service_account == &*proxy.service_account)
        };
        if identities.any(is_own) {
            return Ok(());
        }
        Err(AccessError::Mismatch {
            identities: peer.identities.join(", "),
            namespace: proxy.namespace.to_string(),
            service_account: proxy.service_account.to_string(),
        })
    }

    /// What a peer may see of other proxies: loopback everything, an identity its own namespace.
    pub fn scope(&self, peer: &Peer) -> Result<Scope, AccessError> {
        let mut identities = self.identities(peer).map(|i| i.namespace).peekable();
        match identities.peek() {
            _ if peer.is_local() => Ok(Scope::Mesh),
            None => Err(AccessError::NoIdentity),
            Some(first) => {
                let first = (*first).to_owned();
                let system = identities.any(|n| n == self.system_namespace);
                Ok(if system { Scope::Mesh } else { Scope::Namespace(first) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xds::{node, testing};

    fn peer(tls: bool, identities: &[&str]) -> Peer {
        let address = Some(([10, 0, 0, 1], 1).into());
        Peer { address, identities: identities.iter().map(|i| (*i).into()).collect(), tls }
    }

    #[test]
    fn an_identity_must_match_the_proxy() {
        let proxy = node::parse(Some(&testing::node("shop", "web"))).expect("a proxy");
        let access = Access { trust_domain: Arc::new(TrustDomain::new("td")), ..Access::default() };
        let check = |tls, ids: &[&str]| access.check(&peer(tls, ids), &proxy);
        assert_eq!(check(false, &[]), Ok(()));
        assert_eq!(check(true, &[]), Err(AccessError::NoIdentity));
        assert_eq!(check(true, &["spiffe://other/ns/shop/sa/web"]), Err(AccessError::NoIdentity));
        assert_eq!(check(true, &["spiffe://td/ns/shop/sa/web"]), Ok(()));
        assert_eq!(check(true, &["spiffe://td/ns/x/sa/web", "spiffe://td/ns/shop/sa/web"]), Ok(()));
        for wrong in ["spiffe://td/ns/other/sa/web", "spiffe://td/ns/shop/sa/other"] {
            assert!(matches!(check(true, &[wrong]), Err(AccessError::Mismatch { .. })), "{wrong}");
        }
        let lax = Access { require_identity: false, ..access.clone() };
        assert_eq!(lax.check(&peer(true, &[]), &proxy), Ok(()));
        access.trust_domain.set(&"other".into());
        assert_eq!(check(true, &["spiffe://other/ns/shop/sa/web"]), Ok(()));
        assert_eq!(check(true, &["spiffe://td/ns/shop/sa/web"]), Err(AccessError::NoIdentity));
    }

    #[test]
    fn debug_surfaces_show_the_own_namespace() {
        let access = Access { trust_domain: Arc::new(TrustDomain::new("td")), ..Access::default() };
        assert_eq!(access.scope(&peer(false, &[])), Err(AccessError::NoIdentity));
        let own = access.scope(&peer(true, &["spiffe://td/ns/shop/sa/web"])).expect("a scope");
        assert!(own.covers("shop") && !own.covers("other"));
        assert_eq!(access.scope(&peer(true, &["spiffe://td/ns/istio-system/sa/default"])), Ok(Scope::Mesh));
        let local = Peer { address: None, identities: Vec::new(), tls: false };
        assert_eq!(access.scope(&local), Ok(Scope::Mesh));
    }
}
