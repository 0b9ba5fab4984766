//! Objects from a directory of YAML and JSON files, live.
//!
//! ```text
//!  events (notify) ──► settled ──► scan: which files changed ──► store: which objects changed ──► Delivery
//! ```
//!
//! Events only say when to look; what is delivered comes from looking at the whole directory. Directories are searched
//! recursively and through links; hidden entries are skipped. A file that does not parse keeps its last good content.

mod document;
mod scan;
mod store;
mod watch;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task};

use self::{
    scan::Scanner,
    store::{Change, Content, Store},
    watch::{Dirty, Events, Watches},
};
use super::{Delivery, Intake, Origin, ProblemKey, SourceProblem};
use crate::telemetry::ready::Guard;

/// How often a directory that cannot be read is tried again. Only then is there a timer.
const RETRY: Duration = Duration::from_millis(500);

/// Why the file source cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory cannot be read.
    #[error("cannot read the configuration directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system does not report changes of files.
    #[error("cannot watch files")]
    Watch(#[source] notify::Error),
    /// Reading panicked: a bug.
    #[error("reading files failed")]
    Scan(#[source] task::JoinError),
}

/// The configuration directory as a source.
pub struct FileSource {
    directory: PathBuf,
    builtin: Vec<u8>,
    reader: Reader,
    events: Events,
}

/// What reading needs; moves to a blocking thread and back.
struct Reader {
    scanner: Scanner,
    watches: Watches,
}

impl FileSource {
    /// A source of what is in the directory and, unless a file says otherwise, of the built-in YAML documents.
    /// Nothing is read yet.
    ///
    /// # Errors
    /// The system does not report changes of files.
    pub fn new(directory: PathBuf, builtin: Vec<u8>) -> Result<Self, FilesError> {
        let (sender, events) = mpsc::unbounded_channel();
        let watches = Watches::new(sender).map_err(FilesError::Watch)?;
        let reader = Reader { scanner: Scanner::new(directory.clone()), watches };
        Ok(Self { directory, builtin, reader, events })
    }

    /// Delivers all objects, then every change, until dropped. The guard is released after the first full delivery.
    ///
    /// # Errors
    /// The directory cannot be read at the start. Later, what was known stays and it is tried again.
    pub async fn run(mut self, intake: Arc<dyn Intake>, guard: Guard) -> Result<(), FilesError> {
        let mut store = Store::default();
        let first = Dirty { all: true, ..Dirty::default() };
        let changes;
        (self.reader, changes) = self.reader.scan(first).await?;
        let mut changes = changes.map_err(|source| FilesError::Directory { path: self.directory.clone(), source })?;
        changes
            .push(Change { path: store::BUILTIN.into(), content: Content::Bytes(std::mem::take(&mut self.builtin)) });
        store.take_first(changes).into_iter().for_each(|delivery| intake.deliver(delivery));
        guard.release();
        let mut failing: Option<ProblemKey> = None;
        loop {
            let Some(dirty) = self.next(failing.is_some()).await else { return Ok(()) };
            let changes;
            (self.reader, changes) = self.reader.scan(dirty).await?;
            let failure = changes.as_ref().err().map(|error| self.unreadable(error));
            self.report(&*intake, failure, &mut failing);
            let deliveries = store.take(changes.unwrap_or_default());
            deliveries.into_iter().for_each(|delivery| intake.deliver(delivery));
        }
    }

    /// Waits for a change; while the directory cannot be read, also for the time to try again.
    async fn next(&mut self, failing: bool) -> Option<Dirty> {
        let next = self.reader.watches.next(&mut self.events);
        if !failing {
            return next.await;
        }
        let everything = Dirty { all: true, ..Dirty::default() };
        tokio::time::timeout(RETRY, next).await.unwrap_or(Some(everything))
    }

    fn unreadable(&self, error: &io::Error) -> ProblemKey {
        ProblemKey {
            origin: Origin::File(self.directory.to_string_lossy().as_ref().into()),
            object: None,
            field: String::new(),
            reason: format!("cannot be read, its last content stays: {error}"),
        }
    }

    fn report(&self, intake: &dyn Intake, now: Option<ProblemKey>, before: &mut Option<ProblemKey>) {
        if now != *before {
            if let Some(key) = before.take() {
                intake.deliver(Delivery::ProblemGone(key));
            }
            if let Some(key) = &now {
                intake.deliver(Delivery::Problem(SourceProblem { key: key.clone(), line: None }));
            }
            *before = now;
        }
    }
}

impl Reader {
    async fn scan(mut self, dirty: Dirty) -> Result<(Self, io::Result<Vec<Change>>), FilesError> {
        let scan = move || {
            let changes = self.scanner.scan(&dirty, &mut self.watches);
            (self, changes)
        };
        task::spawn_blocking(scan).await.map_err(FilesError::Scan)
    }
}

/// Reads everything once, without watching: for offline translation.
#[must_use]
pub fn read_once(files: Vec<(Arc<str>, Vec<u8>)>) -> Vec<Delivery> {
    let changes = files.into_iter().map(|(path, bytes)| Change { path, content: Content::Bytes(bytes) });
    Store::default().take_first(changes.collect())
}
