//! The rig of the tests against real parts: what starts them, watches them and ends them.
//!
//! ```text
//!  Client / Load ──► Envoy ──► Upstream            requests
//!                      │ xDS
//!                   Mizzen ◄── ConfigDir           objects from files
//!                      ▲
//!                      └─ Link ─ ApiServer (+ etcd) objects from a cluster
//! ```
//!
//! [`Cluster`] is another world: a namespace of the whole Kubernetes that `e2e/cluster` starts.
//!
//! Everything listens on loopback, on ports found free, and ends with the value that stands for it. Waiting is
//! always for a condition, with a deadline: [`eventually`]. Programs come from the cache that `e2e/tools/fetch`
//! fills; a missing one is an error that says so, never a skipped test.

mod acceptance;
mod agent;
mod api_server;
mod certs;
mod client;
mod cluster;
mod config_dir;
mod envoy;
pub mod fuzz;
mod golden;
mod install;
mod istioctl;
mod kubectl;
mod large;
mod link;
mod load;
mod manifests;
mod mesh_tls;
mod mizzen;
mod offline;
mod pod;
mod ports;
mod process;
mod relay;
mod scene;
mod scenery;
mod source;
mod token;
mod tools;
mod upstream;
mod validation;
mod wait;
pub mod workload;

pub use acceptance::{Acceptance, Made};
pub use api_server::ApiServer;
pub use certs::{Authority, KeyPairPem, PluggedIn, revocations};
pub use client::{Client, Connection, HttpVersion, Reply, Request, Tls};
pub use cluster::{Cluster, NODE_ADDRESS};
pub use config_dir::ConfigDir;
pub use envoy::{Admin, Envoy, EnvoyOptions, Node, Warming, XdsServer, XdsTls, XdsTransport};
pub use golden::GoldenCase;
pub use install::{ISTIO_OPERATOR, Installed, SYSTEM};
pub use istioctl::istioctl;
pub use large::{LARGE, large_objects};
pub use link::Link;
pub use load::{Load, Tally};
pub use manifests::Deployment;
pub use mesh_tls::MeshTls;
pub use mizzen::{Mizzen, MizzenOptions, mizzen_program};
pub use offline::{Outcome, each_format_as_stored, large_mesh, offline_fixture, run_offline};
pub use pod::{CONTROL_PLANE, Pod, PodOptions, Signer};
pub use ports::free_port;
pub use process::{Process, Signal};
pub use relay::Relay;
pub use scene::{
    Scene, WITHOUT_MTLS, gateway, http_gateway, nothing_refused, route_all, secret, service, tls_secret,
    virtual_service,
};
pub use source::{Objects, Source};
pub use tools::tool;
pub use upstream::{Echo, Upstream, UpstreamOptions, Wire};
pub use validation::ValidationCase;
pub use wait::{PATIENCE, eventually};
