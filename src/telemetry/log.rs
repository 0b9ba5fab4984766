//! The log. Levels are given as for istiod: `--log_output_level default:info,ads:debug`.

use std::{io, str::FromStr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Scopes of istiod and the modules that do their work here. Other names are taken as modules of ours.
const SCOPES: [(&str, &str); 14] = [
    ("ads", "mizzen::xds"),
    ("all", "mizzen"),
    ("ca", "mizzen::ca"),
    ("controllers", "mizzen::reconcilers"),
    ("default", "mizzen"),
    ("delta", "mizzen::xds"),
    ("gateway", "mizzen::reconcilers"),
    ("ingress", "mizzen::reconcilers"),
    ("klog", "kube"),
    ("krt", "mizzen::engine"),
    ("kube", "mizzen::sources"),
    ("model", "mizzen::translate"),
    ("status", "mizzen::reconcilers"),
    ("validationServer", "mizzen::webhook"),
];

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    /// The level is none of istiod's.
    #[error("{item:?}: level {level:?} is not one of none, fatal, error, warn, info, debug, trace")]
    Level {
        /// The part of the option.
        item: String,
        /// The level.
        level: String,
    },
    /// The scope cannot be a name.
    #[error("{0:?}: a scope is a name")]
    Scope(String),
    /// A log was set up before.
    #[error("the log is already set up")]
    Twice,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output, as istiod does.
    Stdout,
    /// Standard error, when standard output is for people.
    Stderr,
}

/// Starts logging.
///
/// # Errors
/// The levels cannot be understood, or the log was started before.
pub fn start(levels: &str, as_json: bool, target: Target) -> Result<(), LogError> {
    let filter = filter(levels)?;
    let writer = move || -> Box<dyn io::Write> {
        match target {
            Target::Stdout => Box::new(io::stdout()),
            Target::Stderr => Box::new(io::stderr()),
        }
    };
    let registry = tracing_subscriber::registry().with(EnvFilter::new(filter));
    let layer = fmt::layer().with_writer(writer).with_ansi(false);
    let result = if as_json { registry.with(layer.json()).try_init() } else { registry.with(layer).try_init() };
    result.map_err(|_| LogError::Twice)
}

/// istiod's levels as a filter of `tracing`. Libraries say only what is wrong, unless their scope is named.
fn filter(levels: &str) -> Result<String, LogError> {
    let mut directives = vec!["warn".to_owned(), "mizzen=info".to_owned()];
    for item in levels.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (scope, level) = item.rsplit_once(':').unwrap_or(("default", item));
        let level_filter = match level {
            "none" => Ok(LevelFilter::OFF),
            "fatal" => Ok(LevelFilter::ERROR),
            level => LevelFilter::from_str(level),
        };
        let level = level_filter.map_err(|_| LogError::Level { item: item.to_owned(), level: level.to_owned() })?;
        let known = SCOPES.iter().find(|(name, _)| *name == scope).map(|(_, module)| (*module).to_owned());
        let is_name = scope.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        let module = match known {
            Some(module) => module,
            None if is_name && !scope.is_empty() => format!("mizzen::{}", scope.replace('-', "_")),
            None => return Err(LogError::Scope(item.to_owned())),
        };
        directives.push(format!("{module}={level}"));
    }
    Ok(directives.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_understood_as_istiod_does() {
        assert_eq!(filter("").unwrap(), "warn,mizzen=info");
        assert_eq!(filter("default:info,ads:debug").unwrap(), "warn,mizzen=info,mizzen=info,mizzen::xds=debug");
        assert_eq!(filter("debug").unwrap(), "warn,mizzen=info,mizzen=debug");
        assert_eq!(filter("engine:none, all:fatal").unwrap(), "warn,mizzen=info,mizzen::engine=off,mizzen=error");
        let level = LogError::Level { item: "ads:loud".to_owned(), level: "loud".to_owned() };
        assert_eq!(filter("ads:loud"), Err(level));
        assert_eq!(filter("a b:info"), Err(LogError::Scope("a b:info".to_owned())));
    }
}
