//! What sources of objects cannot read.

use std::{fmt, sync::Arc};

use super::{Code, ObjectRef};

/// Where a problem was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A file of the configuration directory.
    File(Arc<str>),
    /// The watch of a resource, `<plural>.<group>`.
    Watch(Arc<str>),
    /// An object of the API server.
    Cluster,
}

/// What tells one problem from another. The line of a file is not part of it: an edit further up is no new problem.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProblemKey {
    /// Where it was found.
    pub origin: Origin,
    /// The object, when it is known which.
    pub object: Option<ObjectRef>,
    /// The path of the field, empty when it is the whole object or file.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// Which rule it breaks.
    pub code: Code,
}

/// Something that a source cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceProblem {
    /// What it is.
    pub key: ProblemKey,
    /// The line of the file, from 1; `None` when there is no file or the whole file is meant.
    pub line: Option<u32>,
}

impl fmt::Display for SourceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key.origin, self.line) {
            (Origin::File(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Origin::File(file), None) => write!(f, "{file}: ")?,
            (Origin::Watch(resource), _) => write!(f, "watch of {resource}: ")?,
            (Origin::Cluster, _) => {}
        }
        if let Some(object) = &self.key.object {
            write!(f, "{object}: ")?;
        }
        if !self.key.field.is_empty() {
            write!(f, "{}: ", self.key.field)?;
        }
        write!(f, "{} [{}]", self.key.reason, self.key.code)
    }
}
