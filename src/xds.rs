//! The xDS server: delta and state-of-the-world ADS over shared, already encoded resources.
//!
//! It knows neither Kubernetes nor translation. What it needs of the rest of the house it asks for by the traits
//! of this module; what it serves are [`Snapshot`]s.

mod acknowledge;
pub mod auth;
mod barriers;
mod batch;
mod body;
mod classes;
pub mod clients;
pub mod debug;
mod delta;
mod frames;
mod hosts;
mod incoming;
mod inspect;
mod keepalive;
mod last_good;
pub mod listen;
mod machine;
mod names;
pub mod node;
mod openings;
mod pieces;
mod quarantine;
#[cfg(test)]
mod random_tests;
pub mod request;
mod resumptions;
mod send;
pub mod serve;
pub mod server;
mod signal;
mod sotw;
mod stream;
mod subscription;
#[cfg(test)]
mod testing;
pub mod tls;
mod withheld;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::HeaderMap;
use tokio::sync::watch;

use crate::{
    model::Proxy,
    snapshot::{Generation, Name, ResourceType, Snapshot, Version},
};

pub use barriers::Settings;
pub use inspect::Blocked;
pub use machine::{Judgement, Machine, Protocol, Received, Response, SecretGate};
pub use names::NameSets;
pub use openings::Openings;
pub use request::Request;
pub use resumptions::Resumptions;
pub use server::{Ads, Services, Shared, services};
pub use subscription::Status;

/// What a proxy is given: the newest snapshot of its class, replaced whenever an engine round changed it.
pub struct Attachment {
    /// The newest snapshot. The value present at attachment is complete.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Detaches when dropped.
    pub guard: Box<dyn Send + Sync>,
}

/// Why a proxy cannot be attached now.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A source has not delivered its first full list (design §2 truth 1).
    #[error("not ready: waiting for {0}")]
    NotReady(String),
    /// The engine has ended: the process is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

/// Turns a proxy's facts into the parts it shares with others.
pub trait Proxies: Send + Sync + 'static {
    /// Attaches a proxy.
    fn attach(&self, proxy: Arc<Proxy>) -> BoxFuture<'_, Result<Attachment, AttachError>>;
}

/// What a proxy said about a resource it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The connection, `<proxy id>-<n>`.
    pub connection: Arc<str>,
    /// The proxy.
    pub proxy: Arc<Proxy>,
    /// The type of the resource.
    pub resource_type: ResourceType,
    /// The resource.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// The last generation in which the proxy had what its snapshot said; 0 when it is not known.
    pub since: Generation,
    /// Envoy's reason when it refused; `None` withdraws an earlier refusal (fixed, or the stream ended).
    pub refused: Option<Arc<str>>,
}

/// A response that was made for a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push {
    /// The type of its resources.
    pub resource_type: ResourceType,
    /// Its size on the wire, the gRPC prefix included.
    pub bytes: usize,
    /// How long it took to make.
    pub took: Duration,
    /// The generation of the snapshot that was replaced just before, when it is the first response of a newer one.
    pub follows: Option<Generation>,
}

/// Takes what proxies say and what they are sent: for status, metrics and the log. Must not block.
pub trait Feedback: Send + Sync + 'static {
    /// A single resource was refused (a NACK was isolated to it) or is accepted again.
    fn verdict(&self, verdict: Verdict);

    /// A response was made.
    fn pushed(&self, push: &Push);
}

/// Knows whose the tokens are that requests carry, for connections that prove nothing.
pub trait Tokens: Send + Sync + 'static {
    /// The identities of whoever opened a stream with these headers; `None` when they carry no token.
    fn identify(&self, headers: &HeaderMap) -> Option<Proof>;
}

/// Identities, once they are known.
pub type Proof = BoxFuture<'static, Result<Vec<Arc<str>>, tonic::Status>>;

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The remote address; `None` for a Unix socket.
    pub address: Option<SocketAddr>,
    /// SPIFFE identities of a verified client certificate or token.
    pub identities: Vec<Arc<str>>,
    /// Whether the connection is TLS.
    pub tls: bool,
}

impl Peer {
    /// Whether it is on this machine: loopback or a Unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.address.is_none_or(|a| a.ip().to_canonical().is_loopback())
    }
}

/// Whether a peer may have a secret; the better is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// It may not.
    Denied,
    /// Nobody could say yet: it is withheld until [`clients::Client::retry_secrets`].
    Unknown,
    /// It may.
    Granted,
}

/// Decides who may read which secret; asked at subscription and at every push (design §2 truth 5).
pub trait SecretAccess: Send + Sync + 'static {
    /// Whether this peer, which is this proxy, may have the secret resource of this name. Must not block. When the
    /// answer becomes another one, the client is told by [`clients::Client::retry_secrets`].
    fn may_read(&self, peer: &Peer, proxy: &Proxy, name: &str) -> Permission;
}
