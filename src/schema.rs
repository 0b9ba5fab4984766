//! What an API server says of an object by its CRD, without one: the structural schema, then the CEL rules.
//!
//! ```text
//!  CRD (src/api) ──► Node per place: types, bounds, patterns ──► violations ┐
//!                    CEL rules, compiled once                ──► violations ┴─ a rule is asked only about what has its types
//! ```
//!
//! The words are the API server's, since these are what one finds when one searches for them. What it does before it judges
//! (removing unknown fields) and what it does to `metadata` is not done here.

mod cel;
mod duration;
mod structural;
mod url;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use self::structural::Node;
use crate::api::{Kind, Path, crds};

/// What kind of rule does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A field that has to be there is not.
    Required,
    /// It is of another type.
    Type,
    /// It is none of the values that there are.
    Enum,
    /// A number, text, list or map is too small, too big, or of another form.
    Bounds,
    /// Fields that exclude each other are set.
    OneOf,
    /// An entry of a list stands twice.
    Duplicate,
    /// A CEL rule does not hold, or cannot be asked.
    Cel,
}

impl Rule {
    /// Whether an API server asks no CEL rule while this does not hold.
    const fn stops_cel(self, too_many: bool) -> bool {
        matches!(self, Self::Required | Self::Type | Self::Enum) || too_many
    }
}

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Where, such as `spec.http[0].timeout`.
    pub path: String,
    /// Which rule.
    pub rule: Rule,
    /// What is there; `None` where nothing is.
    pub value: Option<Value>,
    /// What is wrong, in the API server's words.
    pub message: String,
    /// The list, map or text is too long.
    too_many: bool,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The schemas of Istio's kinds, each compiled when it is first asked for.
#[derive(Default)]
pub struct Schemas {
    compiled: Mutex<HashMap<Kind, Option<Arc<Node>>>>,
    rules: cel::Environment,
}

impl Schemas {
    /// What an API server with our CRDs would refuse about an object of a kind; nothing for kinds of Kubernetes.
    #[must_use]
    pub fn check(&self, kind: Kind, object: &Value) -> Vec<Violation> {
        let Some(root) = self.root(kind) else { return Vec::new() };
        self.check_by(&root, object)
    }

    /// The same by the schema of a definition of another kind.
    #[must_use]
    pub fn check_definition(&self, definition: &Value, object: &Value) -> Vec<Violation> {
        self.check_by(&Node::compile(schema_of(definition)), object)
    }

    fn check_by(&self, root: &Node, object: &Value) -> Vec<Violation> {
        let mut found = structural::check(root, object);
        if !found.iter().any(|v| v.rule.stops_cel(v.too_many)) {
            found.extend(cel::check(&self.rules, root, object));
        }
        found
    }

    fn root(&self, kind: Kind) -> Option<Arc<Node>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let compile = || crds::definition(kind).map(|d| Arc::new(Node::compile(schema_of(&d))));
        compiled.entry(kind).or_insert_with(compile).clone()
    }
}

fn schema_of(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}
