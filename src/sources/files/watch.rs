//! Which directories are watched, and when their files are settled enough to be read.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::{Instant, timeout_at},
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

/// An event, or the error that says that some were lost.
pub(super) type Events = UnboundedReceiver<notify::Result<Event>>;

impl Watches {
    /// Watches nothing yet; events go to the channel.
    pub(super) fn new(events: UnboundedSender<notify::Result<Event>>) -> notify::Result<Self> {
        let send = move |event| {
            // The receiver is gone when the source has ended; then nobody wants events.
            let _ = events.send(event);
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

    /// Waits for the next change and until it is settled. `None` when there will be no more.
    pub(super) async fn next(&self, events: &mut Events) -> Option<Dirty> {
        let mut pending = Pending::default();
        while pending.dirty.paths.is_empty() && !pending.dirty.all {
            pending.add(events.recv().await?, self);
        }
        let give_up = Instant::now() + PATIENCE;
        loop {
            while let Ok(event) = events.try_recv() {
                pending.add(event, self);
            }
            if pending.unsettled.is_empty() {
                break;
            }
            match timeout_at(give_up.min(Instant::now() + QUIET), events.recv()).await {
                Ok(Some(event)) => pending.add(event, self),
                Ok(None) | Err(_) => break,
            }
        }
        Some(pending.dirty)
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
