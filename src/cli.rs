//! The command line: one file per command. This is where everything is wired together.

pub mod http;
pub mod version;
pub mod crds;
