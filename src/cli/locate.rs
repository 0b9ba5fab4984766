//! Which line of a file something is on.

use std::sync::Arc;

use super::findings::Place;
use crate::sources::files::{Lines, Spot};

/// The files that were read. Of the document that was asked about last the lines of everything are known.
pub(super) struct Locator {
    files: Vec<super::input::File>,
    last: Option<(usize, Spot, Lines)>,
}

/// A document within the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    /// Which file.
    pub(super) file: usize,
    /// Where in it.
    pub(super) spot: Spot,
}

impl Locator {
    pub(super) fn new(files: Vec<super::input::File>) -> Self {
        Self { files, last: None }
    }

    /// The files.
    pub(super) fn files(&self) -> &[super::input::File] {
        &self.files
    }

    /// The line of a field of a document, or of the nearest that there is around it.
    pub(super) fn place(&mut self, at: Whereabouts, path: &str) -> Place {
        let Whereabouts { file, spot } = at;
        let (name, content) = &self.files[file];
        let name: Arc<str> = name.clone();
        let is_last = |(f, s, _): &(usize, Spot, Lines)| *f == file && s.is_of_same_text(&spot);
        if !self.last.as_ref().is_some_and(is_last) {
            self.last = Some((file, spot, spot.lines(content)));
        }
        let line = self.last.as_ref().and_then(|(.., lines)| lines.line_of(spot.item, path));
        Place { file: name, line: line.unwrap_or(spot.line) }
    }
}
