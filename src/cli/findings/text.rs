//! Findings for people: a line that can be searched for and clicked at, and below it the rule and what to do.

use std::fmt::Write as _;

use super::{Finding, Place, Summary};
use crate::{cli::terminal::Terminal, model::Severity};

/// All findings, what could not be looked at, and a line that sums them up.
pub(super) fn render(findings: &[Finding], unchecked: &[String], summary: Summary, terminal: Terminal) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing into a string does not fail.
        let _ = write(&mut text, finding, terminal);
    }
    for what in unchecked {
        let _ = writeln!(text, "{}: {what}", terminal.yellow("not checked"));
    }
    let _ = sum(&mut text, summary, terminal);
    text
}

fn write(text: &mut String, finding: &Finding, terminal: Terminal) -> std::fmt::Result {
    if let Some(Place { file, line }) = &finding.place {
        write!(text, "{file}:{line}: ")?;
    }
    write!(text, "{}: ", word(finding.code.severity(), finding.code.severity().as_str(), terminal))?;
    finding.write_subject(text)?;
    writeln!(text, "{} [{}]", finding.message, finding.code)?;
    writeln!(text, "    rule: {}", finding.code.rule())?;
    writeln!(text, "    hint: {}", finding.code.hint())
}

fn word(severity: Severity, word: &str, terminal: Terminal) -> String {
    match severity {
        Severity::Error => terminal.red(word),
        Severity::Warning => terminal.yellow(word),
        Severity::Info => word.to_owned(),
    }
}

fn sum(text: &mut String, summary: Summary, terminal: Terminal) -> std::fmt::Result {
    let parts = [
        (summary.errors, "error", Severity::Error),
        (summary.warnings, "warning", Severity::Warning),
        (summary.infos, "info", Severity::Info),
    ];
    let found = parts.iter().filter(|(count, ..)| *count > 0);
    let found: Vec<String> =
        found.map(|(count, what, severity)| word(*severity, &counted(*count, what), terminal)).collect();
    let verdict = if found.is_empty() { terminal.green("no problems") } else { found.join(", ") };
    write!(text, "{verdict} in {}", counted(summary.scope.objects, "object"))?;
    if summary.scope.files > 0 {
        write!(text, " of {}", counted(summary.scope.files, "file"))?;
    }
    let mut rest = Vec::new();
    if summary.scope.skipped > 0 {
        rest.push(format!("{} of other kinds skipped", summary.scope.skipped));
    }
    if summary.suppressed > 0 {
        rest.push(format!("{} suppressed", summary.suppressed));
    }
    if summary.hidden > 0 {
        rest.push(format!("{} below --severity not shown", summary.hidden));
    }
    if !rest.is_empty() {
        write!(text, " ({})", rest.join(", "))?;
    }
    writeln!(text)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
