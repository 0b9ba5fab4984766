//! A directory that the server reads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A file system in memory. On a disk renaming 100 files takes longer than all that is measured.
const MEMORY: &str = "/dev/shm";

/// A directory with a file for every document. Files are replaced by renaming, so that the server sees the old or the
/// new.
pub(super) struct Files {
    path: PathBuf,
    /// New files are written here, on the same file system.
    staging: TempDir,
}

impl Files {
    /// Makes the directory, which must be empty or absent; one that goes with this value when none is named.
    pub(super) fn create(path: Option<&Path>) -> Result<Self> {
        let (path, staging) = match path {
            None => {
                let in_memory = Path::new(MEMORY);
                let staging = if in_memory.is_dir() { TempDir::new_in(in_memory)? } else { TempDir::new()? };
                (staging.path().join("config"), staging)
            }
            Some(path) => {
                let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                (path.to_owned(), TempDir::new_in(beside.unwrap_or(Path::new(".")))?)
            }
        };
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        let empty = fs::read_dir(&path)?.next().is_none();
        ensure!(empty, "{} is not empty", path.display());
        Ok(Self { path, staging })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&self, name: &str, content: &str) -> Result<()> {
        let (new, path) = (self.staging.path().join("new"), self.path.join(name));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        fs::write(&new, content).with_context(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("rename to {}", path.display()))
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }
}
