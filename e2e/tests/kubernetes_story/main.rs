//! The story that a user of Istio knows, in a whole Kubernetes (`e2e/cluster`): install, inject, certify, capture, serve.
//!
//! The node has two processors for all of it: requests are few.

mod absence;
mod bad_actors;
mod canary;
mod metrics;
mod modes;
mod mtls;
mod names;
mod new_root;
mod pods;
mod replicas;
mod rollout;
mod rotation;
mod status;
mod traffic;
mod validation;
mod walk;
mod world;
