//! Admission webhooks: what the API server asks before it stores an object.

pub mod inject;
pub mod patch;
