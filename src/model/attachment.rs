//! Whom an object is for.

use super::{Age, Labels, ObjectRef};

/// Whom an object says that it is for: workloads by their labels, or objects that it is attached to. With neither it is for
/// all of its namespace, or of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The object.
    pub object: ObjectRef,
    /// When it was made.
    pub age: Age,
    /// The field that selects workloads: `spec.selector` or `spec.workloadSelector`.
    pub field: &'static str,
    /// The labels there; `None` when it is not set.
    pub selector: Option<Labels>,
    /// The objects that it is attached to, in its own namespace.
    pub targets: Vec<Target>,
}

/// What something is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path, such as `spec.targetRefs[0]`.
    pub field: String,
    /// The API group; empty for Kubernetes' own kinds.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}
