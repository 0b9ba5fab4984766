//! What an installation tells while it goes on: lines of what changed, and on a terminal below them what it is at.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::terminal::Terminal;
use crate::install::{ObjectId, apply::Event, cluster::Change};

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// Tells of an installation on the standard error.
pub(super) struct Progress {
    terminal: Terminal,
    spinner: ProgressBar,
    is_dry: bool,
    counts: Counts,
    /// What was said last of what is waited for.
    waiting: Vec<String>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    created: usize,
    changed: usize,
    unchanged: usize,
    removed: usize,
}

impl Progress {
    /// Begins; `is_dry` says what would be.
    pub(super) fn new(is_dry: bool) -> Self {
        let spinner = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(TURN);
        Self { terminal: Terminal::standard_error(), spinner, is_dry, counts: Counts::default(), waiting: Vec::new() }
    }

    /// Takes what happens.
    pub(super) fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Applied(object, change) => {
                let id = object.id();
                self.spinner.set_message(id.to_string());
                match change {
                    Change::Created => {
                        self.counts.created += 1;
                        self.line(&self.terminal.green(self.word("created", "would create")), &id);
                    }
                    Change::Changed(..) => {
                        self.counts.changed += 1;
                        self.line(&self.terminal.yellow(self.word("changed", "would change")), &id);
                    }
                    Change::Unchanged => self.counts.unchanged += 1,
                }
            }
            Event::Removed(id) => {
                self.counts.removed += 1;
                self.line(&self.terminal.red(self.word("removed", "would remove")), id);
            }
            Event::Waiting(reasons) => {
                self.spinner.set_message(format!("waiting for {}", reasons.join("; ")));
                // Without a terminal, a line whenever it is something else.
                if self.spinner.is_hidden() && self.waiting != *reasons {
                    reasons.iter().for_each(|reason| self.print(&format!("waiting for {reason}")));
                }
                self.waiting = reasons.to_vec();
            }
        }
    }

    /// Ends with a line of what was done.
    pub(super) fn finish(self, what: &str) {
        let Counts { created, changed, unchanged, removed } = self.counts;
        self.spinner.finish_and_clear();
        self.print(&format!("{what}: {created} created, {changed} changed, {unchanged} unchanged, {removed} removed"));
    }

    fn word(&self, done: &'static str, would: &'static str) -> &'static str {
        if self.is_dry { would } else { done }
    }

    fn line(&self, word: &str, id: &ObjectId) {
        self.print(&format!("{word} {id}"));
    }

    fn print(&self, line: &str) {
        self.spinner.suspend(|| {
            // Nobody can be told that nobody can be told.
            let _ = writeln!(io::stderr(), "{line}");
        });
    }
}
