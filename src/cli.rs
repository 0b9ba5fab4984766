//! The command line: one file per command. This is where everything is wired together.

pub mod crds;
pub mod http;
pub mod version;
