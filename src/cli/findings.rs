//! What `mizzen validate` and `mizzen analyze` found: what is shown of it, how, and the exit code.

mod sarif;
mod suppress;
mod text;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::suppress::Suppression;
use super::terminal::Terminal;
use crate::model::{Code, ObjectRef, Severity};

/// The exit codes, for `--help`.
pub(super) const EXIT_STATUS: &str = "Exit status:
  0  nothing was found that is as bad as --fail-on says
  1  something was
  2  it could not be found out";

/// Something that was found.
const FOUND: u8 = 1;
/// It could not be found out.
const FAILED: u8 = 2;

/// How findings are shown.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct ReportArgs {
    /// How to write findings
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Show what is at least as bad
    #[arg(long, value_enum, default_value_t = Level::Info, value_name = "SEVERITY")]
    severity: Level,
    /// Exit with 1 when something is at least as bad
    #[arg(long, value_enum, default_value_t = Level::Error, value_name = "SEVERITY")]
    fail_on: Level,
    /// Leave out what is found by a code (MZ1102 or its name), for objects Kind/namespace/name; `*` and `?` stand for any
    /// characters (repeatable)
    #[arg(long, value_name = "CODE[=KIND/NAMESPACE/NAME]")]
    suppress: Vec<Suppression>,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each, with the rule and what to do below it.
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// SARIF 2.1.0, which code hosts and editors read.
    Sarif,
}

/// A severity on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Worth knowing.
    Info,
    /// It does not do what it seems to say.
    Warning,
    /// It is refused.
    Error,
}

impl Level {
    fn includes(self, severity: Severity) -> bool {
        let least = match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
        };
        // The worst comes first.
        severity <= least
    }
}

/// Where in the files something is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The file.
    pub(super) file: Arc<str>,
    /// The line, from 1.
    pub(super) line: u32,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    /// By which rule.
    pub(super) code: Code,
    /// In which object, if it is known.
    pub(super) object: Option<ObjectRef>,
    /// The path of the field; empty for the whole object.
    pub(super) path: String,
    /// What is there.
    pub(super) value: Option<Value>,
    /// What is wrong.
    pub(super) message: String,
    /// Where; `None` in a cluster.
    pub(super) place: Option<Place>,
}

/// As `mizzen translate` writes problems: `file:line: Kind namespace/name: path: message [code]`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { file, line }) = &self.place {
            write!(f, "{file}:{line}: ")?;
        }
        self.write_subject(f)?;
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl Finding {
    /// The object and the field, each with a colon.
    fn write_subject(&self, f: &mut impl fmt::Write) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if self.path.is_empty() { Ok(()) } else { write!(f, "{}: ", self.path) }
    }

    fn to_json(&self) -> Value {
        let mut made = json!({
            "code": self.code.id(),
            "name": self.code.name(),
            "severity": self.code.severity().as_str(),
            "message": self.message,
            "rule": self.code.rule(),
            "hint": self.code.hint(),
        });
        if let Some(object) = &self.object {
            made["object"] = json!({ "kind": object.kind, "namespace": object.namespace, "name": object.name });
        }
        if !self.path.is_empty() {
            made["path"] = self.path.as_str().into();
        }
        if let Some(value) = &self.value {
            made["value"] = value.clone();
        }
        if let Some(place) = &self.place {
            made["file"] = (&*place.file).into();
            made["line"] = place.line.into();
        }
        made
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// Objects that were judged.
    pub(super) objects: usize,
    /// Files that were read.
    pub(super) files: usize,
    /// Objects of kinds that are none of our business.
    pub(super) skipped: usize,
}

/// What was found, and in how much.
#[derive(Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) scope: Scope,
    /// What could not be looked at, and why: a sentence each.
    pub(super) unchecked: Vec<String>,
}

/// The numbers of a report.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    errors: usize,
    warnings: usize,
    infos: usize,
    suppressed: usize,
    /// Not suppressed, but below `--severity`.
    hidden: usize,
    scope: Scope,
}

impl Summary {
    fn count(&mut self, severity: Severity) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Info => self.infos += 1,
        }
    }

    fn to_json(self) -> Value {
        let Scope { objects, files, skipped } = self.scope;
        json!({
            "errors": self.errors, "warnings": self.warnings, "infos": self.infos, "suppressed": self.suppressed,
            "hidden": self.hidden, "objects": objects, "files": files, "skipped": skipped,
        })
    }
}

impl ReportArgs {
    /// Writes the report to the standard output; returns the exit code.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn print(&self, report: Report) -> anyhow::Result<ExitCode> {
        let (text, code) = self.render(report, Terminal::standard_output())?;
        io::stdout().lock().write_all(text.as_bytes())?;
        Ok(code)
    }

    fn render(&self, report: Report, terminal: Terminal) -> anyhow::Result<(String, ExitCode)> {
        let mut summary = Summary { scope: report.scope, ..Summary::default() };
        let mut failed = false;
        let mut shown = Vec::new();
        for finding in report.findings {
            let severity = finding.code.severity();
            if self.suppress.iter().any(|s| s.covers(finding.code, finding.object.as_ref())) {
                summary.suppressed += 1;
                continue;
            }
            summary.count(severity);
            failed |= self.fail_on.includes(severity);
            if self.severity.includes(severity) {
                shown.push(finding);
            } else {
                summary.hidden += 1;
            }
        }
        shown.sort_by(|a, b| order(a).cmp(&order(b)));
        let text = match self.output {
            Format::Text => text::render(&shown, &report.unchecked, summary, terminal),
            Format::Json => serde_json::to_string_pretty(&tree(&shown, &report.unchecked, summary))? + "\n",
            Format::Yaml => serde_yaml_ng::to_string(&tree(&shown, &report.unchecked, summary))?,
            Format::Sarif => serde_json::to_string_pretty(&sarif::log(&shown, &report.unchecked))? + "\n",
        };
        Ok((text, if failed { ExitCode::from(FOUND) } else { ExitCode::SUCCESS }))
    }
}

/// By file and line; what is in no file by object. Of one place the worst first.
fn order(finding: &Finding) -> impl Ord + '_ {
    let Finding { code, object, path, message, place, .. } = finding;
    (place.is_none(), place, object, code.severity(), path, code.id(), message)
}

fn tree(findings: &[Finding], unchecked: &[String], summary: Summary) -> Value {
    let findings: Vec<Value> = findings.iter().map(Finding::to_json).collect();
    json!({ "findings": findings, "unchecked": unchecked, "summary": summary.to_json() })
}

/// Turns a failure of the command itself into its exit code.
pub(super) fn or_failed(done: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    done.or_else(|error| {
        writeln!(io::stderr(), "Error: {error:#}")?;
        Ok(ExitCode::from(FAILED))
    })
}
