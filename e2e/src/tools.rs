//! Where the programs are that the tests run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The list that `e2e/tools/fetch` reads too: program, version, and where it comes from.
const VERSIONS: &str = include_str!("../tools/versions");

/// The path of a program in the cache (`${XDG_CACHE_HOME:-~/.cache}/mizzen-e2e/<program>-<version>/<program>`).
///
/// # Errors
/// When it is not there, saying how to get it.
pub fn tool(program: &str) -> Result<PathBuf> {
    let version = version(program)?;
    let path = cache()?.join(format!("{program}-{version}")).join(program);
    if !path.is_file() {
        bail!("{program} {version} is not at {}: run e2e/tools/fetch {program}", path.display());
    }
    Ok(path)
}

fn version(program: &str) -> Result<&'static str> {
    VERSIONS
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.first() == Some(&program))
        .and_then(|words| words.get(1).copied())
        .with_context(|| format!("no program {program} in e2e/tools/versions"))
}

fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = match base {
        Some(base) => base,
        None => Path::new(&std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache"),
    };
    Ok(base.join("mizzen-e2e"))
}
