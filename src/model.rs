//! Plain domain types. Nothing here knows Kubernetes' API objects, Envoy's messages or any I/O.

pub mod destination_rule;
pub mod envoy_filter;
pub mod gateway;
pub mod host;
pub mod identity;
pub mod locality_lb;
pub mod mesh;
pub mod object;
pub mod peer_authentication;
pub mod policy;
pub mod protocol;
pub mod proxy;
pub mod proxy_config;
pub mod secret;
pub mod service;
pub mod sidecar;
pub mod source_problem;
pub mod virtual_service;
pub mod visibility;
pub mod workload;

pub use destination_rule::{DestinationRule, EffectivePolicy, MergedRule};
pub use envoy_filter::EnvoyFilter;
pub use gateway::{Bind, Gateway, Server, ServerTls, ServerTlsMode};
pub use identity::Identity;
pub use mesh::MeshConfig;
pub use object::{Age, ObjectRef, Problem};
pub use peer_authentication::PeerAuthentication;
pub use policy::UnenforcedPolicy;
pub use protocol::{Protocol, ProtocolClass};
pub use proxy::{IpFamilies, Locality, Proxy, ProxyKind};
pub use secret::{SecretState, TlsSecret};
pub use service::{Endpoint, Host, Labels, Namespace, Service, ServicePort};
pub use sidecar::Sidecar;
pub use source_problem::{Origin, ProblemKey, SourceProblem};
pub use virtual_service::VirtualService;
pub use visibility::{DefaultVisibility, ExportDefaults, Visibility};
