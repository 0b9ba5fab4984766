//! Plain domain types. Nothing here knows Kubernetes' API objects, Envoy's messages or any I/O.

pub mod proxy;

pub use proxy::{Locality, Proxy, ProxyKind};
