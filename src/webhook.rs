//! Admission webhooks: what the API server asks before it stores an object.
//!
//! ```text
//!  server ─► request (bounded body) ─► review (AdmissionReview) ─► inject::review   ─► review ─► server
//!                                                                 validate::review
//!  configurations: which webhooks there are, whom they trust, and whether they are closed
//! ```

pub mod configurations;
pub mod inject;
pub mod patch;
mod request;
mod review;
pub mod server;
pub mod validate;

pub use request::Capacity;
