//! The story that a user of Istio knows, in a whole Kubernetes (`e2e/cluster`): install, inject, certify, capture, serve.
//!
//! The node has two processors for all of it: requests are few.

mod absence;
mod bad_actors;
mod mtls;
mod new_root;
mod rollout;
mod rotation;
mod status;
mod traffic;
mod validation;
mod walk;
mod world;
