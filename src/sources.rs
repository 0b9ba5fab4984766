//! Where objects come from: a Kubernetes API server or a directory of files.
//!
//! ```text
//!  API server ── kube.rs  (one guarded watch per kind) ──┐
//!                                                        ├──► Delivery ──► Intake (reconcilers, engine)
//!  directory ─── files.rs (scan, diff per object)  ──────┘
//! ```
//!
//! Both end in the same calls: apply, delete and, for a full list, reset. A relist is one reset, never a storm of
//! applies. What cannot be read is a [`SourceProblem`], which goes when its cause goes; it never stops the rest.

mod decode;
pub mod files;
pub mod kube;

use std::{fmt, sync::Arc};

pub use self::decode::{Reading, read};
pub use crate::model::{Origin, ProblemKey, SourceProblem};
use crate::{
    api::{Kind, Object},
    model::ObjectRef,
};

/// One thing that a source has to say.
pub enum Delivery {
    /// The object is new or has changed.
    Apply(Object),
    /// The object is gone.
    Delete(ObjectRef),
    /// The full list of a kind: what is neither live nor kept is gone. The first one makes the kind complete.
    Reset {
        /// The kind.
        kind: Kind,
        /// Every object that could be read.
        live: Vec<Object>,
        /// Objects that exist but could not be read now: what was known of them stays.
        kept: Vec<ObjectRef>,
    },
    /// An object of an API server cannot be read as it is now: what was known of it stays. Its problems come before.
    Unreadable {
        /// The object.
        object: ObjectRef,
        /// Its `metadata.uid`.
        uid: Arc<str>,
        /// Its `metadata.generation`.
        generation: i64,
    },
    /// Something cannot be read. The same key again replaces the line.
    Problem(SourceProblem),
    /// It can be read again, or is gone.
    ProblemGone(ProblemKey),
}

/// Names the objects without their content: Secrets are among them.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |object: &Object| {
            let meta = object.meta();
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            ObjectRef::new(object.kind().kind(), namespace.unwrap_or_default(), name.unwrap_or_default())
        };
        match self {
            Self::Apply(object) => write!(f, "apply {}", name(object)),
            Self::Delete(object) => write!(f, "delete {object}"),
            Self::Reset { kind, live, kept } => {
                write!(f, "reset {kind}: {} live, {} kept", live.len(), kept.len())
            }
            Self::Unreadable { object, generation, .. } => write!(f, "unreadable {object}, generation {generation}"),
            Self::Problem(problem) => write!(f, "problem {problem}"),
            Self::ProblemGone(key) => write!(f, "problem gone {}", key.reason),
        }
    }
}

/// Takes what sources deliver. Called in the order of events of one kind; kinds are unordered.
pub trait Intake: Send + Sync + 'static {
    /// Takes one delivery; must not block.
    fn deliver(&self, delivery: Delivery);

    /// Takes what was found at once, and so takes effect at once where that is possible.
    fn deliver_all(&self, deliveries: Vec<Delivery>) {
        deliveries.into_iter().for_each(|delivery| self.deliver(delivery));
    }
}
