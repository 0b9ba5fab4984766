//! `mizzen version`.

use std::fmt;

use serde::Serialize;
use serde_json::json;

/// What this build is, under the names that istioctl reads (contract §7.3).
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct VersionInfo {
    /// The version.
    pub(super) version: &'static str,
    /// The commit, if it was known at build time.
    pub(super) revision: &'static str,
    /// Always empty: there is no Go in it. Clients expect the key.
    pub(super) golang_version: &'static str,
    /// `Clean`, or what is known of the source tree.
    pub(super) status: &'static str,
    /// The release.
    pub(super) tag: &'static str,
}

impl VersionInfo {
    /// Of this build. `MIZZEN_REVISION` and `MIZZEN_STATUS` are read when it is built.
    #[must_use]
    pub(super) const fn current() -> Self {
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

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen version
  mizzen version --short
  mizzen version -o json";

/// Flags of `mizzen version`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct VersionArgs {
    /// Only the version
    #[arg(short, long)]
    short: bool,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

/// What `mizzen version` prints.
///
/// # Errors
/// It cannot be written in the format.
pub(super) fn text(args: &VersionArgs) -> anyhow::Result<String> {
    let info = VersionInfo::current();
    let versions = json!({"clientVersion": info});
    Ok(match args.output {
        Output::Json => format!("{versions:#}\n"),
        Output::Yaml => serde_yaml_ng::to_string(&versions)?,
        Output::Text if args.short => format!("{}\n", info.version),
        Output::Text => format!("{info}\n"),
    })
}
