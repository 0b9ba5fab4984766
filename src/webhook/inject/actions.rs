//! Templates of one's own that have actions (`{{ … }}`), in Go's template language, as users of Istio have them in the
//! injector's ConfigMap (contract §5.1). They are read and carried out by the crate `gotmpl`; what they see of a Pod and the
//! mesh, and the functions that they call, are Istio's.
//!
//! ```text
//!  text ─ parse, functions known? ─► marks (line, limits) ─ data ─► YAML of a Pod
//! ```

mod data;
mod functions;
mod istio;
mod json;
mod marks;
mod sprig;
#[cfg(test)]
mod tests;

use std::{
    fmt::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use gotmpl::{FuncMap, Template, TemplateError, Value, parse::Parser};
use k8s_openapi::api::core::v1::Pod;

use super::Context;

/// The longest Pod that a template may make, in bytes: the API server takes none of more than 1.5 MiB.
const LONGEST: usize = 1536 * 1024;
/// How long it may take: the API server waits for 10 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often all loops together may go round.
const ROUNDS: u64 = 100_000;
/// The name of a template's outermost part, which no `define` can have.
const MAIN: &str = "\u{1}main";

/// A template with actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions {
    text: Arc<str>,
}

/// Why a template makes no Pod.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActionsError {
    /// It is not in Go's language.
    #[error("cannot be read: line {line}: {reason}")]
    Syntax { line: usize, reason: String },
    /// It calls what is not there.
    #[error("cannot be used: line {line}: there is no function {name:?}")]
    Function { line: usize, name: String },
    /// An action of it failed.
    #[error("fails in line {line}: {reason}")]
    Action { line: usize, reason: String },
    /// What it made is something else.
    #[error("makes no Pod in YAML for this Pod")]
    Made(#[source] serde_yaml_ng::Error),
}

impl Actions {
    /// Reads one.
    pub(super) fn read(text: &str) -> Result<Self, ActionsError> {
        let known = functions::all();
        for (_, tree) in parts(text)? {
            let unknown = marks::calls(&tree).into_iter().find(|(name, _)| !known.contains(name));
            if let Some((name, line)) = unknown {
                return Err(ActionsError::Function { line, name });
            }
        }
        Ok(Self { text: text.into() })
    }

    /// What it makes of a Pod.
    pub(super) fn carry_out(&self, context: &Context<'_>, pod: &Pod) -> Result<Pod, ActionsError> {
        let made = self.render(&data::of(context, pod))?;
        let made: Option<Pod> = serde_yaml_ng::from_str(&made).map_err(ActionsError::Made)?;
        // Nothing but conditions that did not hold.
        Ok(made.unwrap_or_default())
    }

    fn render(&self, data: &Value) -> Result<String, ActionsError> {
        let run = Arc::new(Run { line: AtomicUsize::new(1), end: Instant::now() + PATIENCE });
        let mut template = Template::new("").max_range_iters(ROUNDS).funcs(functions::map()).funcs(run.functions());
        for (name, tree) in parts(&self.text)? {
            template = template.add_parse_tree(&name, marks::put(tree));
        }
        let mut output = Output(String::new());
        template.execute_template_fmt(&mut output, MAIN, data).map_err(|error| ActionsError::Action {
            line: run.line.load(Ordering::Relaxed),
            reason: match error {
                TemplateError::Exec(reason) => reason,
                TemplateError::Write => format!("what it makes is longer than {LONGEST} bytes"),
                other => other.to_string(),
            },
        })?;
        Ok(output.0)
    }
}

/// The outermost part of a template, and those that it defines.
fn parts(text: &str) -> Result<Vec<(String, gotmpl::parse::ListNode)>, ActionsError> {
    let parsed = Parser::new(text, "{{", "}}").and_then(Parser::parse);
    let (main, defined) = parsed.map_err(|error| match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            ActionsError::Syntax { line, reason: message }
        }
        other => ActionsError::Syntax { line: 0, reason: other.to_string() },
    })?;
    let defined = defined.into_iter().map(|part| (part.name.to_string(), part.body));
    Ok(std::iter::once((MAIN.to_owned(), main)).chain(defined).collect())
}

/// One time that a template is carried out.
struct Run {
    /// Which line it is at.
    line: AtomicUsize,
    /// When it must have ended.
    end: Instant,
}

impl Run {
    /// What the marks call.
    fn functions(self: &Arc<Self>) -> FuncMap {
        let (at, bounded) = (self.clone(), self.clone());
        let mut map = FuncMap::new();
        map.insert(
            marks::AT.to_owned(),
            Arc::new(move |args| {
                let line = args.first().and_then(Value::as_int).and_then(|line| usize::try_from(line).ok());
                at.line.store(line.unwrap_or_default(), Ordering::Relaxed);
                at.in_time()?;
                Ok(Value::from(""))
            }),
        );
        map.insert(
            marks::BOUNDED.to_owned(),
            Arc::new(move |args| {
                bounded.in_time()?;
                let value = args.first().cloned().unwrap_or(Value::Nil);
                json::within_limits(&value).map_err(TemplateError::Exec)?;
                Ok(value)
            }),
        );
        map
    }

    fn in_time(&self) -> Result<(), TemplateError> {
        if Instant::now() < self.end {
            return Ok(());
        }
        Err(TemplateError::Exec(format!("it takes longer than {PATIENCE:?}")))
    }
}

/// What was written, as far as it may grow.
struct Output(String);

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LONGEST {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
