//! Plain domain types. Nothing here knows Kubernetes' API objects, Envoy's messages or any I/O.

pub mod mesh;
pub mod object;
pub mod protocol;
pub mod proxy;
pub mod service;

pub use mesh::MeshConfig;
pub use object::{Age, ObjectRef, Problem};
pub use protocol::{Protocol, ProtocolClass};
pub use proxy::{Locality, Proxy, ProxyKind};
pub use service::{Endpoint, Host, Labels, Namespace, Service, ServicePort, Visibility};
