//! Objects from a directory of YAML and JSON files, live.
//!
//! ```text
//!  events (notify) ──► settled ──► scan: which files changed ──► store: which objects changed ──► Delivery
//! ```
//!
//! Events only say when to look; what is delivered comes from looking at the whole directory. Directories are searched
//! recursively and through links; hidden entries are skipped. A file that does not parse keeps its last good content.
//!
//! All of it is done on a thread of its own: that is the shortest way from a change to the engine. What changes while it
//! looks is looked at together.

mod document;
mod lines;
mod scan;
mod store;
mod watch;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::task;

pub use self::{
    document::{Document, Parsed, Spot, SyntaxError},
    lines::Lines,
};
use self::{
    scan::Scanner,
    store::{Change, Content, Store},
    watch::{Dirty, Wake, Watches},
};
use super::{Delivery, Intake, Origin, ProblemKey, SourceProblem};
use crate::{model::Code, telemetry::ready::Guard};

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
    /// The thread panicked: a bug.
    #[error("the thread that reads files failed")]
    Thread(#[source] task::JoinError),
}

/// The configuration directory as a source.
pub struct FileSource {
    directory: PathBuf,
    builtin: Vec<u8>,
    scanner: Scanner,
    watches: Watches,
    wakes: mpsc::Receiver<Wake>,
    stop: mpsc::Sender<Wake>,
}

/// Ends the thread of a source when dropped.
struct Stop(mpsc::Sender<Wake>);

impl Drop for Stop {
    fn drop(&mut self) {
        // The receiver is gone when the thread has ended.
        let _ = self.0.send(Wake::Stop);
    }
}

impl FileSource {
    /// A source of what is in the directory and, unless a file says otherwise, of the built-in YAML documents.
    /// Nothing is read yet.
    ///
    /// # Errors
    /// The system does not report changes of files.
    pub fn new(directory: PathBuf, builtin: Vec<u8>) -> Result<Self, FilesError> {
        let (stop, wakes) = mpsc::channel();
        let watches = Watches::new(stop.clone()).map_err(FilesError::Watch)?;
        Ok(Self { scanner: Scanner::new(directory.clone()), directory, builtin, watches, wakes, stop })
    }

    /// Delivers all objects, then every change, until dropped. The guard is released after the first full delivery.
    ///
    /// # Errors
    /// The directory cannot be read at the start. Later, what was known stays and it is tried again.
    pub async fn run(self, intake: Arc<dyn Intake>, guard: Guard) -> Result<(), FilesError> {
        let _stop = Stop(self.stop.clone());
        task::spawn_blocking(move || self.follow(&*intake, &guard)).await.map_err(FilesError::Thread)?
    }

    fn follow(mut self, intake: &dyn Intake, guard: &Guard) -> Result<(), FilesError> {
        let mut store = Store::default();
        let first = self.scanner.scan(&Dirty::everything(), &mut self.watches);
        let mut changes = first.map_err(|source| FilesError::Directory { path: self.directory.clone(), source })?;
        changes
            .push(Change { path: store::BUILTIN.into(), content: Content::Bytes(std::mem::take(&mut self.builtin)) });
        intake.deliver_all(store.take_first(changes));
        guard.release();
        let mut failing: Option<ProblemKey> = None;
        while let Some(dirty) = self.watches.next(&self.wakes, failing.as_ref().map(|_| RETRY)) {
            let changes = self.scanner.scan(&dirty, &mut self.watches);
            let failure = changes.as_ref().err().map(|error| self.unreadable(error));
            self.report(intake, failure, &mut failing);
            intake.deliver_all(store.take(changes.unwrap_or_default()));
        }
        Ok(())
    }

    fn unreadable(&self, error: &io::Error) -> ProblemKey {
        ProblemKey {
            origin: Origin::File(self.directory.to_string_lossy().as_ref().into()),
            object: None,
            field: String::new(),
            reason: format!("cannot be read, its last content stays: {error}"),
            code: Code::SourceUnreadable,
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

/// The documents of a file: JSON by its name, else YAML (and so JSON, unless it has tabs). Their objects are not read yet.
#[must_use]
pub fn parse(path: &str, content: &[u8]) -> Parsed {
    document::parse(content, path.ends_with(".json"))
}

/// Reads everything once, without watching: for offline translation.
#[must_use]
pub fn read_once(files: Vec<(Arc<str>, Vec<u8>)>) -> Vec<Delivery> {
    let changes = files.into_iter().map(|(path, bytes)| Change { path, content: Content::Bytes(bytes) });
    Store::default().take_first(changes.collect())
}
