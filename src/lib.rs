//! mizzen: a service-mesh control plane, a drop-in istiod that does work only for what changed.
//!
//! ```text
//!  sources            reconcilers         engine (inputs -> queries)      snapshot           xds
//!  kube watch  --+
//!                +--> apply/delete/reset --> inputs --> translate --> shared parts --> delta stream
//!  config files --+    one file per kind        |        (pure)      name -> Resource    per proxy
//!                                               +--> problems, provenance --> status, metrics, debug
//! ```

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub mod agent;
pub mod analyze;
pub mod api;
pub mod ca;
pub mod cli;
pub mod engine;
pub mod install;
pub mod leader;
pub mod model;
pub mod pb;
pub mod reconcilers;
pub mod schema;
pub mod snapshot;
pub mod sources;
pub mod status;
pub mod telemetry;
pub mod translate;
pub mod validate;
pub mod webhook;
pub mod xds;
