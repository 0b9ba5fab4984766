//! Which directories are watched, and when their files are settled enough to be read.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};

/// How long a file that was touched but not closed, or that vanished, must be quiet before it is believed: editors
/// move the old file away before they write the new one.
const QUIET: Duration = Duration::from_millis(20);

/// How long to wait for quiet at most.
const PATIENCE: Duration = Duration::from_millis(80);

/// What may have changed since the last scan.
#[derive(Default)]
pub(super) struct Dirty {
    /// These files, by canonical path.
    pub(super) paths: HashSet<PathBuf>,
    /// Anything: events were lost.
    pub(super) all: bool,
}

impl Dirty {
    /// Anything may have changed.
    pub(super) fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    fn is_clean(&self) -> bool {
        self.paths.is_empty() && !self.all
    }
}

/// What is of interest in a directory.
pub(super) enum Watched {
    /// Every entry.
    All,
    /// This path: the directory is only on the way to what we want.
    Name(PathBuf),
    /// These paths.
    Names(HashSet<PathBuf>),
}

impl Watched {
    pub(super) fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Names(names), Self::Name(name)) => {
                names.insert(name);
            }
            (Self::Names(names), Self::Names(more)) => names.extend(more),
            (Self::Name(one), Self::Name(other)) => *self = Self::Names([one.clone(), other].into()),
            (Self::Name(one), Self::Names(mut more)) => {
                more.insert(one.clone());
                *self = Self::Names(more);
            }
        }
    }

    fn concerns(&self, path: &Path) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => name == path,
            Self::Names(names) => names.contains(path),
        }
    }
}

/// The watched directories, by canonical path.
pub(super) struct Watches {
    watcher: RecommendedWatcher,
    /// With the identity of the directory: another one may have taken its place.
    directories: HashMap<PathBuf, (u64, u64)>,
    watched: HashMap<PathBuf, Watched>,
}

/// What wakes the source.
pub(super) enum Wake {
    /// An event, or the error that says that some were lost.
    Event(notify::Result<Event>),
    /// The source shall end.
    Stop,
}

impl Watches {
    /// Watches nothing yet; events go to the channel.
    pub(super) fn new(wakes: Sender<Wake>) -> notify::Result<Self> {
        let send = move |event| {
            // The receiver is gone when the source has ended; then nobody wants events.
            let _ = wakes.send(Wake::Event(event));
        };
        let watcher = notify::recommended_watcher(send)?;
        Ok(Self { watcher, directories: HashMap::new(), watched: HashMap::new() })
    }

    /// Watches a directory unless it is watched already. One that cannot be watched (it vanished, or the limit of
    /// watches is reached) is tried again at the next scan.
    pub(super) fn ensure(&mut self, directory: &Path, id: (u64, u64)) {
        if self.directories.get(directory) == Some(&id) {
            return;
        }
        if self.directories.remove(directory).is_some() {
            // Fails when the kernel dropped the watch together with the directory.
            let _ = self.watcher.unwatch(directory);
        }
        match self.watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.directories.insert(directory.to_owned(), id);
            }
            Err(error) => tracing::warn!(scope = "files", directory = %directory.display(), %error, "cannot watch"),
        }
    }

    /// Forgets all but these.
    pub(super) fn keep_only(&mut self, watched: HashMap<PathBuf, Watched>) {
        let watcher = &mut self.watcher;
        self.directories.retain(|directory, _| {
            let keep = watched.contains_key(directory);
            if !keep {
                let _ = watcher.unwatch(directory);
            }
            keep
        });
        self.watched = watched;
    }

    /// Whether an event at this path can matter: an entry of a watched directory, or such a directory itself.
    fn concerns(&self, path: &Path) -> bool {
        let by_parent = path.parent().and_then(|parent| self.watched.get(parent));
        by_parent.is_some_and(|watched| watched.concerns(path)) || self.watched.contains_key(path)
    }

    /// Waits for the next change and until it is settled; when there is none for so long, everything is to be looked at.
    /// `None` when the source shall end.
    pub(super) fn next(&self, wakes: &Receiver<Wake>, retry: Option<Duration>) -> Option<Dirty> {
        let mut pending = Pending::default();
        let retry_at = retry.map(|after| Instant::now() + after);
        while pending.dirty.is_clean() {
            match receive(wakes, retry_at)? {
                Some(event) => pending.add(event, self),
                None => return Some(Dirty::everything()),
            }
        }
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            // What came meanwhile is looked at together.
            let quiet = if pending.unsettled.is_empty() { Duration::ZERO } else { QUIET };
            match receive(wakes, Some(give_up.min(Instant::now() + quiet)))? {
                Some(event) => pending.add(event, self),
                None => break,
            }
        }
        Some(pending.dirty)
    }
}

/// The next event; `Some(None)` when there is none in time, `None` when the source shall end.
fn receive(wakes: &Receiver<Wake>, until: Option<Instant>) -> Option<Option<notify::Result<Event>>> {
    let wake = match until {
        None => wakes.recv().map_err(RecvTimeoutError::from),
        Some(until) => wakes.recv_timeout(until.saturating_duration_since(Instant::now())),
    };
    match wake {
        Ok(Wake::Event(event)) => Some(Some(event)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// Events not yet acted on.
#[derive(Default)]
struct Pending {
    dirty: Dirty,
    /// Files that may be written to still, or may come back at once.
    unsettled: HashSet<PathBuf>,
}

impl Pending {
    fn add(&mut self, event: notify::Result<Event>, watches: &Watches) {
        let Ok(event) = event else {
            self.dirty.all = true;
            return;
        };
        self.dirty.all |= event.need_rescan();
        let Some(settles) = settles(event.kind) else { return };
        for path in event.paths.into_iter().filter(|path| watches.concerns(path)) {
            if settles {
                self.unsettled.remove(&path);
            } else {
                self.unsettled.insert(path.clone());
            }
            self.dirty.paths.insert(path);
        }
    }
}

/// Whether what happened leaves a file complete; `None` when nothing happened (it was only read).
fn settles(kind: EventKind) -> Option<bool> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(true),
        // Comes after `From` and `To` with both paths: says nothing new.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        _ => Some(false),
    }
}
