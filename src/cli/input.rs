//! Files of objects: `-f FILE`, `-f DIR`, `-f -`.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};

/// What a file is called, and its content.
pub(super) type File = (Arc<str>, Vec<u8>);

/// What the standard input is called.
pub(super) const STANDARD_INPUT: &str = "-";

/// Reads files; of directories all YAML and JSON files within, in order of their names. `-` is the standard input.
///
/// # Errors
/// One cannot be read, or a directory holds none.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<File>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        if path.as_os_str() == STANDARD_INPUT {
            let mut content = Vec::new();
            std::io::stdin().lock().read_to_end(&mut content).context("cannot read the standard input")?;
            found.push((STANDARD_INPUT.into(), content));
        } else if path.is_dir() {
            let before = found.len();
            directory(path, &mut seen, &mut found)?;
            ensure!(found.len() > before, "{} holds no YAML or JSON files", path.display());
        } else {
            found.push(file(path)?);
        }
    }
    Ok(found)
}

fn file(path: &Path) -> anyhow::Result<File> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((path.to_string_lossy().as_ref().into(), content))
}

/// Adds what a directory holds. Hidden entries are skipped, links followed, and each directory is looked at once.
fn directory(path: &Path, seen: &mut BTreeSet<PathBuf>, found: &mut Vec<File>) -> anyhow::Result<()> {
    let what = || format!("cannot read {}", path.display());
    if !seen.insert(path.canonicalize().with_context(what)?) {
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).with_context(what)? {
        entries.push(entry.with_context(what)?.path());
    }
    entries.sort();
    for entry in entries {
        let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden {
            continue;
        }
        if entry.is_dir() {
            directory(&entry, seen, found)?;
        } else if entry.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|known| e == *known)) {
            found.push(file(&entry)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_searched_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(dir.path().join(name), name).unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("c/up")).unwrap();
        ["b.yml", "a.yaml", "c/d.json", "c/.e.yaml", "f.txt"].into_iter().for_each(write);
        let found = read(&[dir.path().to_owned(), dir.path().join("f.txt")]).unwrap();
        let contents: Vec<_> = found.iter().map(|(_, content)| str::from_utf8(content).unwrap()).collect();
        assert_eq!(contents, ["a.yaml", "b.yml", "c/d.json", "f.txt"]);
        assert!(read(&[dir.path().join("none.yaml")]).unwrap_err().to_string().contains("none.yaml"));
    }
}
