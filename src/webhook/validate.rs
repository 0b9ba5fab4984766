//! Validation: what is wrong with an object is said before it is stored (contract §10). The judgement itself is
//! [`crate::validate`], which translation shares; here is how it is asked and told.

mod review;
pub mod serve;
mod text;
