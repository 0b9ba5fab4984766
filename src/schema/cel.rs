//! CEL rules (`x-kubernetes-validations`), with the functions that an API server adds.
//!
//! What these functions make are plain values here: a duration is its nanoseconds, a URL its text. Our rules only compare
//! durations and ask URLs for their scheme.

use std::{collections::HashMap, sync::Arc};

use cel::{Context, ExecutionError, Program, Value as Cel, extractors::This, objects::Key};
use serde_json::Value;

use super::{Path, Rule, Violation, duration, structural::Node, url};

/// A compiled rule.
pub(super) struct CelRule {
    /// The text and what is wrong with it: then it never holds.
    program: Result<Program, String>,
    message: String,
}

impl CelRule {
    pub(super) fn compile(rule: &Value) -> Self {
        let text = |key: &str| rule[key].as_str().unwrap_or_default();
        let message = match text("message") {
            "" => format!("failed rule: {}", text("rule")),
            message => message.to_owned(),
        };
        let program = Program::compile(text("rule"));
        Self { program: program.map_err(|e| format!("rule {:?} cannot be compiled: {e}", text("rule"))), message }
    }

    /// Why it does not hold.
    fn broken(&self, context: &Context<'_, '_>) -> Option<String> {
        let program = match &self.program {
            Ok(program) => program,
            Err(why) => return Some(why.clone()),
        };
        match program.execute(context) {
            Ok(Cel::Bool(true)) => None,
            Ok(Cel::Bool(false)) => Some(self.message.clone()),
            Ok(other) => Some(format!("rule evaluation error: {other:?} is neither true nor false")),
            Err(error) => Some(format!("{} (rule evaluation error: {error})", self.message)),
        }
    }
}

/// The functions that rules may use.
pub(super) struct Environment(Context<'static, 'static>);

impl Default for Environment {
    fn default() -> Self {
        let mut context = Context::default();
        let failed = |function: &str, why: String| ExecutionError::function_error(function, why);
        let read_duration = move |text: Arc<String>| -> Result<Cel, ExecutionError> {
            duration::parse(&text).map(Cel::Int).map_err(|why| failed("duration", why))
        };
        let read_url = move |text: Arc<String>| -> Result<Cel, ExecutionError> {
            url::scheme(&text).map_err(|why| failed("url", why))?;
            Ok(Cel::String(text))
        };
        let is_url = |text: Arc<String>| Cel::Bool(url::scheme(&text).is_ok());
        let scheme = |This(text): This<Arc<String>>| Cel::String(Arc::new(url::scheme(&text).unwrap_or_default()));
        let free = "no function of CEL has this name";
        context.add_function("duration", read_duration).expect(free);
        context.add_function("url", read_url).expect(free);
        context.add_function("isURL", is_url).expect(free);
        context.add_function("getScheme", scheme).expect(free);
        Self(context)
    }
}

/// The rules that do not hold for a value and what it contains.
pub(super) fn check(environment: &Environment, root: &Node, value: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    walk(&environment.0, root, value, Path::Root, &mut found);
    found
}

fn walk(root: &Context<'_, '_>, node: &Node, value: &Value, at: Path<'_>, found: &mut Vec<Violation>) {
    if !node.has_rules || value.is_null() {
        return;
    }
    if !node.rules.is_empty() {
        let mut context = root.new_inner_scope();
        context.add_variable_from_value("self", to_cel(value));
        let broken = node.rules.iter().filter_map(|rule| rule.broken(&context));
        found.extend(broken.map(|why| Violation {
            path: at.to_string(),
            rule: Rule::Cel,
            value: Some(value.clone()),
            message: format!("Invalid value: {}: {why}", quoted(value)),
            too_many: false,
        }));
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let Some(inner) = node.member(name) else { continue };
                let place = if node.is_map(name) { Path::Key(&at, name) } else { Path::Field(&at, name) };
                walk(root, inner, member, place, found);
            }
        }
        Value::Array(items) => {
            let Some(inner) = node.items() else { return };
            for (n, item) in items.iter().enumerate() {
                walk(root, inner, item, Path::Item(&at, n), found);
            }
        }
        _ => {}
    }
}

/// The API server quotes scalars, and the type of what is bigger.
fn quoted(value: &Value) -> String {
    match value {
        Value::Array(_) => "\"array\"".to_owned(),
        Value::Object(_) => "\"object\"".to_owned(),
        scalar => scalar.to_string(),
    }
}

/// A member that is null counts as one that is not there.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => n.as_i64().map_or_else(|| Cel::Float(n.as_f64().unwrap_or_default()), Cel::Int),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let set = members.iter().filter(|(_, member)| !member.is_null());
            let map: HashMap<Key, Cel> = set.map(|(k, v)| (Key::String(Arc::new(k.clone())), to_cel(v))).collect();
            Cel::Map(map.into())
        }
    }
}
