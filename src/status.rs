//! The state of the mesh as Kubernetes status: conditions of configuration objects, and one `ProxyStatus` per workload.
//!
//! ```text
//!  each replica:  engine + streams ──► judge ──► ReplicaReport (one per namespace) ───────┐
//!                 streams ──► ProxyStatus: status.replicas.<its own name>  ───────────────┼──► the leader: conditions, sums
//!                 Lease (it is alive) ────────────────────────────────────────────────────┘
//! ```
//!
//! Each writes by server-side apply under a field manager of its own, and only what differs from what it wrote last. Nothing
//! here is on the way of a change to a proxy: it is looked at once a second, and only when something moved.

pub mod alive;
mod apply;
pub mod identities;
pub mod judge;
pub mod lead;
pub mod report;
pub mod workloads;

/// The label of what belongs to a replica.
const REPLICA_LABEL: &str = "status.mizzen.io/replica";

/// Which replica writes, and where.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name (`POD_NAME`).
    pub name: String,
    /// The namespace of the control plane.
    pub namespace: String,
}
