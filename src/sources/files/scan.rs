//! Looks at the directory: which files there are, which may have changed, and what must be watched to learn of the
//! next change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    fs::{self, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    store::{Change, Content},
    watch::{Dirty, Watched, Watches},
};

/// Looks at one directory again and again.
pub(super) struct Scanner {
    root: PathBuf,
    /// Files as last read.
    read: BTreeMap<Arc<str>, Stamp>,
    /// Directories that could not be read.
    unreadable: BTreeSet<PathBuf>,
    /// Directories by canonical path, as the user writes them. Empty when links make the tree ambiguous.
    plain: HashMap<PathBuf, PathBuf>,
}

/// What must differ when a file's content does. Edits too quick for the clock are covered by their events.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    id: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(meta: &Metadata) -> Self {
        Self {
            id: (meta.dev(), meta.ino()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A file that was found.
struct Found {
    /// Where it is, through the links that lead there.
    path: PathBuf,
    /// Names under which its events come.
    aliases: Vec<PathBuf>,
}

impl Scanner {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, read: BTreeMap::new(), unreadable: BTreeSet::new(), plain: HashMap::new() }
    }

    /// Reads what has, or may have, changed. Everything is watched before it is read, so nothing is missed.
    pub(super) fn scan(&mut self, dirty: &Dirty, watches: &mut Watches) -> io::Result<Vec<Change>> {
        if let Some(changes) = self.scan_files(dirty) {
            return Ok(changes);
        }
        let Tree { found, unreadable, plain } = self.walk(watches)?;
        self.plain = plain;
        let mut round = Round { changes: Vec::new(), read: BTreeMap::new() };
        for (name, file) in found {
            let is_dirty = dirty.all || file.aliases.iter().any(|alias| dirty.paths.contains(alias));
            round.read(name.clone(), &file.path, self.read.get(&name).filter(|_| !is_dirty));
        }
        for (name, stamp) in &self.read {
            let is_hidden = unreadable.keys().any(|directory| Path::new(&**name).starts_with(directory));
            if is_hidden {
                round.read.insert(name.clone(), *stamp);
            } else if !round.read.contains_key(name) {
                round.change(name.clone(), Content::Gone);
            }
        }
        let healed = self.unreadable.iter().filter(|directory| !unreadable.contains_key(*directory));
        healed.for_each(|directory| round.change(name_of(directory), Content::Gone));
        self.unreadable = unreadable.keys().cloned().collect();
        for (directory, reason) in unreadable {
            round.change(name_of(&directory), Content::Unreadable(reason));
        }
        self.read = round.read;
        Ok(round.changes)
    }

    /// The common case costs what changed, not what there is: only plain files were touched, in directories that are
    /// known and reached without links. `None` asks for a walk.
    fn scan_files(&mut self, dirty: &Dirty) -> Option<Vec<Change>> {
        if dirty.all || !self.unreadable.is_empty() {
            return None;
        }
        let mut round = Round { changes: Vec::new(), read: BTreeMap::new() };
        let mut gone = Vec::new();
        for path in &dirty.paths {
            let (directory, file) = (self.plain.get(path.parent()?)?, path.file_name()?);
            if is_hidden(file) {
                continue;
            }
            let as_written = directory.join(file);
            let name = name_of(&as_written);
            match fs::symlink_metadata(path) {
                Ok(meta) if meta.is_file() && is_config(path) => round.read(name.clone(), &as_written, None),
                Ok(meta) if meta.is_file() => continue,
                Err(error) if error.kind() == ErrorKind::NotFound && self.read.contains_key(&name) => {}
                // A directory, a link, or something that was never a file of ours.
                _ => return None,
            }
            if !round.read.contains_key(&name) && self.read.contains_key(&name) {
                gone.push(name);
            }
        }
        for name in gone {
            self.read.remove(&name);
            round.change(name, Content::Gone);
        }
        // Not `append`, which costs what both have.
        self.read.extend(round.read);
        Some(round.changes)
    }

    fn walk(&self, watches: &mut Watches) -> io::Result<Tree> {
        let mut walk = Walk {
            tree: Tree::default(),
            visited: HashSet::new(),
            watched: HashMap::new(),
            has_links: fs::canonicalize(&self.root)? != std::path::absolute(&self.root)?,
            watches,
        };
        walk.links(&self.root);
        let result = walk.directory(&self.root);
        let Walk { mut tree, watched, watches, has_links, .. } = walk;
        watches.keep_only(watched);
        if has_links {
            tree.plain.clear();
        }
        result.map(|()| tree)
    }
}

/// What one scan makes of the files.
struct Round {
    changes: Vec<Change>,
    read: BTreeMap<Arc<str>, Stamp>,
}

impl Round {
    fn change(&mut self, path: Arc<str>, content: Content) {
        self.changes.push(Change { path, content });
    }

    /// Reads a file unless it is as it was. One that is gone already is left to the caller.
    fn read(&mut self, name: Arc<str>, path: &Path, known: Option<&Stamp>) {
        let stamp = match fs::metadata(path) {
            Ok(meta) => Stamp::from(&meta),
            Err(_) => return,
        };
        if known != Some(&stamp) {
            let content = match fs::read(path) {
                Ok(bytes) => Content::Bytes(bytes),
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Err(error) => Content::Unreadable(error.to_string()),
            };
            self.change(name.clone(), content);
        }
        self.read.insert(name, stamp);
    }
}

fn name_of(path: &Path) -> Arc<str> {
    path.to_string_lossy().as_ref().into()
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
}

/// One walk through the tree.
struct Walk<'a> {
    tree: Tree,
    /// Directories by canonical path: each is read once, however many links lead there.
    visited: HashSet<PathBuf>,
    watched: HashMap<PathBuf, Watched>,
    has_links: bool,
    watches: &'a mut Watches,
}

/// What a walk found.
#[derive(Default)]
struct Tree {
    found: BTreeMap<Arc<str>, Found>,
    /// Directories that could not be read, and why: what was known of them stays.
    unreadable: BTreeMap<PathBuf, String>,
    /// See [`Scanner::plain`].
    plain: HashMap<PathBuf, PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Path) -> io::Result<()> {
        let canonical = fs::canonicalize(directory)?;
        self.watch(&canonical, Watched::All);
        if !self.visited.insert(canonical.clone()) {
            return Ok(());
        }
        self.tree.plain.insert(canonical.clone(), directory.to_owned());
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            names.insert((entry.file_name(), entry.file_type()?.is_symlink()));
        }
        for (name, is_link) in names {
            // Hidden entries hold the versions of a ConfigMap mount (`..data`) and editors' copies.
            if !is_hidden(&name) {
                self.entry(directory.join(&name), canonical.join(&name), is_link);
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, canonical: PathBuf, is_link: bool) {
        if is_link {
            self.has_links = true;
            self.links(&path);
        }
        // An entry that is gone meanwhile, or a link to nothing, is not there.
        let Ok(meta) = fs::metadata(&path) else { return };
        if meta.is_dir() {
            match self.directory(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    self.tree.unreadable.insert(path, error.to_string());
                }
                _ => {}
            }
        } else if meta.is_file() && is_config(&path) {
            let mut aliases = vec![canonical];
            if is_link {
                aliases.extend(fs::canonicalize(&path));
            }
            self.tree.found.insert(name_of(&path), Found { path, aliases });
        }
    }

    /// Follows a link, and watches the directory of each step for the step's name.
    fn links(&mut self, path: &Path) {
        /// As many as Linux follows.
        const MOST: usize = 40;
        let mut step = path.to_owned();
        for _ in 0..MOST {
            let (Some(parent), Some(name)) = (step.parent(), step.file_name()) else { return };
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            let Ok(canonical) = fs::canonicalize(parent) else { return };
            self.watch(&canonical, Watched::Name(canonical.join(name)));
            let Ok(target) = fs::read_link(&step) else { return };
            step = parent.join(target);
        }
    }

    fn watch(&mut self, directory: &Path, what: Watched) {
        let Ok(meta) = fs::metadata(directory) else { return };
        self.watches.ensure(directory, (meta.dev(), meta.ino()));
        match self.watched.get_mut(directory) {
            Some(watched) => watched.add(what),
            None => {
                self.watched.insert(directory.to_owned(), what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Changes `a` and `b`, tells of `a` only, and returns what was found.
    fn found_of_two(link: bool) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
        let write = |text: &str| [&a, &b].map(|path| fs::write(path, text).expect("written"));
        write("1");
        if link {
            std::os::unix::fs::symlink(&b, dir.path().join("c.yaml")).expect("linked");
        }
        let (sender, _events) = mpsc::channel();
        let mut watches = Watches::new(sender).expect("watches");
        let mut scanner = Scanner::new(dir.path().to_owned());
        scanner.scan(&Dirty::everything(), &mut watches).expect("scanned");
        write("22");
        let dirty = Dirty { paths: [a.clone()].into(), all: false };
        let changes = scanner.scan(&dirty, &mut watches).expect("scanned");
        let mut names: Vec<_> = changes.iter().filter_map(|c| Some(c.path.rsplit_once('/')?.1.to_owned())).collect();
        names.sort();
        names
    }

    #[test]
    fn one_file_costs_one_look_unless_links_lead_elsewhere() {
        assert_eq!(found_of_two(false), ["a.yaml"]);
        assert_eq!(found_of_two(true), ["a.yaml", "b.yaml", "c.yaml"]);
    }
}
