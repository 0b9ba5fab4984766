//! `mizzen crds`: writes the custom resource definitions.

use crate::api::crds::crds_yaml;
use anyhow::Context;
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen crds | kubectl apply --server-side -f -
  mizzen crds --output-dir crds";

/// Print the custom resource definitions of Istio's kinds, for `kubectl apply --server-side -f -`.
#[derive(Args, Clone, Debug)]
pub struct CrdsArgs {
    /// Write one file per kind into this folder instead, and remove other YAML files from it.
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// With --output-dir: change nothing, and fail if the folder does not hold exactly these files.
    #[arg(long, requires = "output_dir")]
    pub check: bool,
}

impl CrdsArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the output cannot be written, or `--check` finds a difference.
    pub fn run(&self) -> anyhow::Result<()> {
        match &self.output_dir {
            None => print(&mut std::io::stdout().lock()),
            Some(folder) if self.check => check(folder),
            Some(folder) => write(folder),
        }
    }
}

fn print(out: &mut impl Write) -> anyhow::Result<()> {
    for (_, content) in crds_yaml() {
        write!(out, "---\n{content}").context("writing to the standard output")?;
    }
    Ok(())
}

fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for orphan in orphans(folder)? {
        std::fs::remove_file(&orphan).with_context(|| format!("removing {}", orphan.display()))?;
    }
    for (name, content) in crds_yaml() {
        let path = folder.join(name);
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn check(folder: &Path) -> anyhow::Result<()> {
    let mut wrong: Vec<String> = orphans(folder)?.iter().map(|path| path.display().to_string()).collect();
    for (name, content) in crds_yaml() {
        let path = folder.join(name);
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&content) {
            wrong.push(path.display().to_string());
        }
    }
    anyhow::ensure!(wrong.is_empty(), "not as generated: {}", wrong.join(", "));
    Ok(())
}

/// YAML files in the folder that no kind has.
fn orphans(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let names: Vec<String> = crds_yaml().into_iter().map(|(name, _)| name).collect();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        let known = path.file_name().is_some_and(|name| names.iter().any(|known| name == known.as_str()));
        if path.extension().is_some_and(|extension| extension == "yaml") && !known {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::CrdsArgs;

    #[test]
    fn a_folder_is_written_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let run = |check| CrdsArgs { output_dir: Some(folder.path().into()), check }.run();
        run(false).unwrap();
        run(true).unwrap();
        let orphan = folder.path().join("old.yaml");
        std::fs::write(&orphan, "").unwrap();
        let changed = folder.path().join("networking.istio.io_gateways.yaml");
        std::fs::write(&changed, "").unwrap();
        let message = run(true).unwrap_err().to_string();
        assert_eq!(message, format!("not as generated: {}, {}", orphan.display(), changed.display()));
        run(false).unwrap();
        run(true).unwrap();
        assert!(!orphan.exists());
    }
}
