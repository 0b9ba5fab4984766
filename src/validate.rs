//! The judgement of one object, by itself: what the webhook refuses, what is told without a cluster, and what the status
//! of an object says come from here. Translation reads objects by the same conversions ([`crate::reconcilers`]), so that
//! what is accepted here is understood there. Pure, and bounded in time by the size of the object.
//!
//! ```text
//!  JSON ──► kind ──► fields of the type ──► metadata ──► the kind's own rules (reconcilers) ──► findings
//! ```

mod judge;
mod path;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use serde_json::Value;

pub use crate::model::{Code, Severity};
use crate::model::{ObjectRef, Problem};

/// What a judgement may take into account beside the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The suffix of Kubernetes host names.
    pub domain_suffix: Arc<str>,
}

impl Default for Context {
    fn default() -> Self {
        Self { domain_suffix: "cluster.local".into() }
    }
}

/// Something that is wrong with an object, or that its author should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule that is broken.
    pub code: Code,
    /// The object; of kind `Object` when the kind is not known.
    pub object: ObjectRef,
    /// The path of the field, such as `spec.http[2].route[0].weight`; empty for the whole object.
    pub path: String,
    /// The value there, unless there is none or it is long.
    pub value: Option<Value>,
    /// What is wrong, with the value, and what would be right.
    pub message: String,
}

impl Finding {
    /// How much it matters.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// What has to hold.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.code.rule()
    }

    /// What to do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.code.hint()
    }

    fn of(problem: Problem, object: &Value) -> Self {
        let Problem { object: of, field, reason, code } = problem;
        Self { code, object: of, value: path::value_at(object, &field), path: field, message: reason }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{} [{}]", self.message, self.code),
            path => write!(f, "{path}: {} [{}]", self.message, self.code),
        }
    }
}

/// All findings of an object, at most a thousand: errors first, then by path.
#[must_use]
pub fn validate(object: &Value, context: &Context) -> Vec<Finding> {
    findings(judge::problems(object, context), object)
}

/// All findings of a mesh configuration, the YAML of the key `mesh` in its ConfigMap; paths are relative to it.
#[must_use]
pub fn validate_mesh_config(text: &str) -> Vec<Finding> {
    let object = serde_yaml_ng::from_str(text).unwrap_or_default();
    let relative = |problem: Problem| {
        let field = problem.field.trim_start_matches("data.mesh").trim_start_matches(": ").to_owned();
        Problem { field, ..problem }
    };
    findings(judge::mesh_config(text).into_iter().map(relative).collect(), &object)
}

/// Whether there is no error among findings.
#[must_use]
pub fn is_valid(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity() != Severity::Error)
}

/// Of more problems the first ones are told: nobody reads them all, and a page of each would be too much for anybody.
const MOST: usize = 1000;

fn findings(mut problems: Vec<Problem>, object: &Value) -> Vec<Finding> {
    if problems.len() > MOST {
        let (errors, others): (Vec<_>, Vec<_>) =
            problems.into_iter().partition(|problem| problem.code.severity() == Severity::Error);
        problems = errors.into_iter().chain(others).take(MOST).collect();
    }
    let mut findings: Vec<Finding> = problems.into_iter().map(|problem| Finding::of(problem, object)).collect();
    findings.sort_by(|a, b| {
        let order = a.severity().cmp(&b.severity()).then_with(|| path::compare(&a.path, &b.path));
        order.then_with(|| a.code.cmp(&b.code)).then_with(|| a.message.cmp(&b.message))
    });
    findings.dedup();
    findings
}
