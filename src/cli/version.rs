//! `mizzen version`.

use std::fmt;

use serde::Serialize;

/// What this build is, under the names that istioctl reads (contract §7.3).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct VersionInfo {
    /// The version.
    pub version: &'static str,
    /// The commit, if it was known at build time.
    pub revision: &'static str,
    /// Always empty: there is no Go in it. Clients expect the key.
    pub golang_version: &'static str,
    /// `Clean`, or what is known of the source tree.
    pub status: &'static str,
    /// The release.
    pub tag: &'static str,
}

impl VersionInfo {
    /// Of this build. `MIZZEN_REVISION` and `MIZZEN_STATUS` are read when it is built.
    #[must_use]
    pub const fn current() -> Self {
        const fn or(value: Option<&'static str>, default: &'static str) -> &'static str {
            match value {
                Some(value) => value,
                None => default,
            }
        }
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: or(option_env!("MIZZEN_REVISION"), "unknown"),
            golang_version: "",
            status: or(option_env!("MIZZEN_STATUS"), "Clean"),
            tag: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// `<version>-<revision>-<status>`, which is what `/version` answers.
impl fmt::Display for VersionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.version, self.revision, self.status)
    }
}
