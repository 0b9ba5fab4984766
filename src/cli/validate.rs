//! `mizzen validate`: what would be refused about objects in files, and what of them has no effect. Offline.

mod judge;

use std::{collections::HashMap, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;

use self::judge::{Judge, Verdict};
use super::{
    findings::{Finding, Place, Report, ReportArgs},
    input,
    locate::{Locator, Whereabouts},
};
use crate::{
    model::{Code, ObjectRef},
    sources::files,
};

/// Shown with `--help`; the exit codes follow.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen validate -f config/                                  all YAML and JSON files within
  kubectl get virtualservices -A -o yaml | mizzen validate -f -
  mizzen validate -f config/ -o sarif > mizzen.sarif           for code hosts and editors
  mizzen validate -f config/ --severity warning --suppress 'MZ0103=DestinationRule/legacy/*'

Judged are Istio's kinds, IstioOperators and ConfigMaps with a mesh configuration: by the schema of their definition and
the rules in it, as an API server does, and as the webhook of the control plane does. Others are skipped.";

/// Flags of `mizzen validate`.
#[derive(Args, Clone, Debug)]
pub(super) struct ValidateArgs {
    /// YAML or JSON files with objects, directories of such files, or `-` for the standard input
    #[arg(short, long = "filename", value_name = "FILE|DIR", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// The suffix of the cluster's host names
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    domain: Arc<str>,
    #[command(flatten)]
    report: ReportArgs,
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read, or the output cannot be written.
pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let report = validate(input::read(&args.files)?, &args.domain);
    args.report.print(report)
}

/// Judges all documents of files.
fn validate(files: Vec<input::File>, domain: &Arc<str>) -> Report {
    let mut run = Run {
        judge: Judge::new(domain.clone()),
        locator: Locator::new(files),
        seen: HashMap::new(),
        report: Report::default(),
    };
    for file in 0..run.locator.files().len() {
        run.file(file);
    }
    run.report
}

struct Run {
    judge: Judge,
    locator: Locator,
    /// Where each object stands first.
    seen: HashMap<ObjectRef, Whereabouts>,
    report: Report,
}

impl Run {
    fn file(&mut self, file: usize) {
        let (path, content) = &self.locator.files()[file];
        let parsed = files::parse(path, content);
        let path = path.clone();
        self.report.scope.files += 1;
        self.report.findings.extend(parsed.errors.into_iter().map(|error| unreadable(&path, error)));
        for document in parsed.documents {
            let at = Whereabouts { file, spot: document.spot };
            let Verdict::Judged(object, findings) = self.judge.judge(document.value) else {
                self.report.scope.skipped += 1;
                continue;
            };
            self.report.scope.objects += 1;
            for finding in findings {
                let place = self.locator.place(at, &finding.path);
                self.report.findings.push(Finding { place: Some(place), ..finding });
            }
            self.note(object, at);
        }
    }

    /// An object that stands twice counts once.
    fn note(&mut self, object: Option<ObjectRef>, at: Whereabouts) {
        let Some(object) = object else { return };
        if let Some(first) = self.seen.get(&object) {
            let Place { file, line } = self.locator.place(*first, "");
            let place = Some(self.locator.place(at, "metadata.name"));
            let message = format!("stands at {file}:{line} already");
            let (code, path) = (Code::ObjectDuplicate, "metadata.name".to_owned());
            self.report.findings.push(Finding { code, object: Some(object), path, value: None, message, place });
        } else {
            self.seen.insert(object, at);
        }
    }
}

/// A document that is neither YAML nor JSON.
pub(super) fn unreadable(path: &Arc<str>, error: files::SyntaxError) -> Finding {
    Finding {
        code: Code::DocumentUnreadable,
        object: None,
        path: String::new(),
        value: None,
        message: error.reason,
        place: Some(Place { file: path.clone(), line: error.line }),
    }
}
