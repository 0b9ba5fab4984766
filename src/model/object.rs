//! Identity of a configuration object, and what is wrong with one.

use std::{fmt, sync::Arc};

use super::{Code, Severity};

/// Names one object: kind, namespace (empty when cluster-scoped) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// The kind, e.g. `VirtualService`; static, from the API types.
    pub kind: &'static str,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// Names an object.
    #[must_use]
    pub fn new(kind: &'static str, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Age of an object in seconds since the epoch (`metadata.creationTimestamp`), with name and namespace as
/// tie-breakers: the order in which conflicts are decided, oldest first (translation §0).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Age {
    /// Seconds since the epoch; objects without a timestamp are the youngest (`i64::MAX`).
    pub created: i64,
    /// The name.
    pub name: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
}

/// Something that a user should know about an object: it is wrong, or a field is not honoured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// The object.
    pub object: ObjectRef,
    /// The path of the field, e.g. `spec.http[0].route[1].destination`; empty when it is the whole object.
    pub field: String,
    /// What is wrong, with the value, and what would be right.
    pub reason: String,
    /// Which rule it breaks.
    pub code: Code,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "{}: {} [{}]", self.object, self.reason, self.code),
            field => write!(f, "{}: {field}: {} [{}]", self.object, self.reason, self.code),
        }
    }
}

/// What is wrong with a value, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The rule that is broken.
    pub code: Code,
    /// What is wrong, with the value.
    pub reason: String,
}

impl Flaw {
    /// By a code, with a reason.
    #[must_use]
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Whether the object is to be refused for it.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self.code.severity(), Severity::Error)
    }

    /// The same, and what follows from it.
    #[must_use]
    pub fn then(self, consequence: &str) -> Self {
        Self { reason: format!("{}; {consequence}", self.reason), ..self }
    }

    /// As a problem of an object's field.
    #[must_use]
    pub fn at(self, object: ObjectRef, field: String) -> Problem {
        Problem { object, field, reason: self.reason, code: self.code }
    }
}
