//! The folder that mizzen reads objects from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A folder of YAML files, removed when dropped. Files are replaced as careful editors do: a whole new file is
/// renamed over the old one, so that a reader sees the old or the new, never a half.
#[derive(Debug)]
pub struct ConfigDir {
    dir: tempfile::TempDir,
    /// Where new files are written first: beside the folder, on the same file system.
    staging: tempfile::TempDir,
}

impl ConfigDir {
    /// An empty one.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self { dir: tempfile::tempdir()?, staging: tempfile::tempdir()? })
    }

    /// One that holds a copy of the YAML files directly in `source`.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn copy_of(source: &Path) -> Result<Self> {
        let copy = Self::new()?;
        for entry in fs::read_dir(source).with_context(|| format!("read {}", source.display()))? {
            let path = entry?.path();
            if let (true, Some(name)) = (path.extension().is_some_and(|e| e == "yaml"), path.file_name()) {
                fs::copy(&path, copy.path().join(name)).with_context(|| format!("copy {}", path.display()))?;
            }
        }
        Ok(copy)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Creates or replaces a file, in one step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let new = self.staging.path().join("new");
        fs::write(&new, content)?;
        let path = self.path().join(name);
        fs::rename(&new, &path).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Edits a file: `edit` gets its text and returns the new one.
    ///
    /// # Errors
    /// When it cannot be read or written, or `edit` changed nothing.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&str) -> String) -> Result<()> {
        let old = fs::read_to_string(self.path().join(name)).with_context(|| format!("read {name}"))?;
        let new = edit(&old);
        anyhow::ensure!(new != old, "the edit of {name} changes nothing");
        self.write(name, new).map(drop)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.path().join(name)).with_context(|| format!("remove {name}"))
    }
}
