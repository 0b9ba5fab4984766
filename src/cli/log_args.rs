//! The flags of the log, shared by commands that run for long.

use clap::{Args, ValueEnum};

use crate::telemetry::log::{self, LogError, Target};

/// Flags of the log, named as istiod's.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArgs {
    /// Levels by scope, e.g. default:info,ads:debug
    #[arg(long = "log_output_level", value_name = "SCOPE:LEVEL,…", default_value = "default:info")]
    output_level: String,
    /// Write JSON lines
    #[arg(long = "log_as_json")]
    as_json: bool,
    /// Where lines go
    #[arg(long = "log_target", value_enum, default_value_t = Stream::Stdout)]
    target: Stream,
    /// Accepted for compatibility
    #[arg(long = "log_caller", hide = true)]
    caller: Option<String>,
    /// Accepted for compatibility
    #[arg(long = "log_stacktrace_level", hide = true)]
    stacktrace_level: Option<String>,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogArgs {
    /// Whether lines are JSON.
    pub(super) fn is_json(&self) -> bool {
        self.as_json
    }

    /// Starts the log as the flags say.
    ///
    /// # Errors
    /// The levels cannot be understood.
    pub(super) fn start(&self) -> Result<(), LogError> {
        let target = match self.target {
            Stream::Stdout => Target::Stdout,
            Stream::Stderr => Target::Stderr,
        };
        log::start(&self.output_level, self.as_json, target)
    }
}
