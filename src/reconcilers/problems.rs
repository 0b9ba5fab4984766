//! Collecting what is wrong with an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(crate) use crate::model::Flaw;
use crate::model::{Code, ObjectRef, Problem};

/// The problems of one object.
#[derive(Debug)]
pub(crate) struct Problems {
    object: ObjectRef,
    found: Vec<Problem>,
}

impl Problems {
    pub(crate) fn of(kind: &'static str, meta: &ObjectMeta) -> Self {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        Self { object: ObjectRef::new(kind, &text(&meta.namespace), &text(&meta.name)), found: Vec::new() }
    }

    pub(crate) fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// Something is wrong at a field.
    pub(crate) fn add(&mut self, code: Code, field: impl Into<String>, reason: impl Into<String>) {
        self.found.push(Problem { object: self.object.clone(), field: field.into(), reason: reason.into(), code });
    }

    /// The same, of what a check found.
    pub(crate) fn flaw(&mut self, field: impl Into<String>, flaw: Flaw) {
        self.add(flaw.code, field, flaw.reason);
    }

    /// A field is understood, but nothing follows from it.
    pub(crate) fn not_honoured(&mut self, field: impl Into<String>) {
        self.add(Code::FieldNotHonoured, field, "not honoured yet");
    }

    /// The object is of a kind that nothing follows from.
    pub(crate) fn kind_not_honoured(&mut self) {
        let reason = format!("{} is not honoured yet; it has no effect", self.object.kind);
        self.add(Code::KindNotHonoured, "", reason);
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.found
    }
}
