//! The certificate authority of the mesh (Citadel's part).
//!
//! ```text
//!  files of cacerts ─┐                       ┌─► certificate of our own TLS server
//!                    ├─► Authority (watch) ──┼─► CSR service ──► leaf, chain, roots
//!  Secret, rotation ─┘                       └─► ConfigMaps with the roots, in every namespace
//! ```
//!
//! Signing is pure: key, request, identity and time in, certificate out. Names are those that the caller has proved.

pub mod authenticate;
pub mod authority;
pub mod certificate;
pub mod csr;
pub mod distribute;
pub mod impersonate;
pub mod key;
pub mod root;
pub mod service;
pub mod serving;
pub mod signer;
#[cfg(test)]
mod testing;
