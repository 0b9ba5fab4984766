//! `mizzen manifest`: what would be installed, and how a cluster differs from it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{cluster_args::ClusterArgs, operator_args::OperatorArgs, terminal::Terminal};
use crate::{
    install::{
        apply::{self, Event},
        cluster::Change,
        operator_manifest,
    },
    webhook::patch,
};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen manifest generate -f istio-operator.yaml | kubectl apply --server-side -f -
  mizzen manifest generate --set profile=demo
  mizzen manifest diff -f istio-operator.yaml      (exit code 1 when something differs)
  mizzen manifest operator | kubectl apply -f -    (then: kubectl apply -f istio-operator.yaml)";

/// What to print.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum ManifestCommand {
    /// Print the objects as YAML
    Generate(GenerateArgs),
    /// Print how a cluster differs from the objects; the exit code is 1 when it does
    Diff(DiffArgs),
    /// Print what runs `mizzen operator` in a cluster, which looks after the IstioOperators there
    Operator(RunnerArgs),
}

/// What `generate` is asked for with.
#[derive(Args, Clone, Debug)]
pub(super) struct GenerateArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// What `operator` is asked for with.
#[derive(Args, Clone, Debug)]
pub(super) struct RunnerArgs {
    /// Where the image is
    #[arg(long)]
    hub: Option<String>,
    /// Which one it is
    #[arg(long)]
    tag: Option<String>,
}

/// What `diff` is asked for with.
#[derive(Args, Clone, Debug)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ManifestCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Something of the input cannot be used, or the API server refuses.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Generate(args) => {
                io::stdout().write_all(args.operator.manifest()?.to_yaml().as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Diff(args) => args.run().await,
            Self::Operator(RunnerArgs { hub, tag }) => {
                let (yaml, warnings) = operator_manifest(hub.as_deref(), tag.as_deref());
                let terminal = Terminal::standard_error();
                for warning in warnings {
                    writeln!(io::stderr(), "{} {warning}", terminal.yellow("warning:"))?;
                }
                io::stdout().write_all(yaml.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl DiffArgs {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let manifest = self.operator.manifest()?;
        let cluster = self.cluster.connect().await?.dry();
        let mut differences = String::new();
        let terminal = Terminal::standard_output();
        apply::apply(&cluster, &manifest, &mut |event| describe(terminal, &event, &mut differences)).await?;
        io::stdout().write_all(differences.as_bytes())?;
        Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// One line for an object, and one for each place that differs.
fn describe(terminal: Terminal, event: &Event<'_>, out: &mut String) {
    match event {
        Event::Applied(object, Change::Created) => {
            out.push_str(&terminal.green(&format!("+ {}", object.id())));
            out.push('\n');
        }
        Event::Applied(object, Change::Changed(before, after)) => {
            out.push_str(&terminal.yellow(&format!("~ {}", object.id())));
            out.push('\n');
            for operation in patch::diff(before, after) {
                out.push_str(&place(&operation, before));
            }
        }
        Event::Removed(id) => {
            out.push_str(&terminal.red(&format!("- {id}")));
            out.push('\n');
        }
        Event::Applied(_, Change::Unchanged) | Event::Waiting(_) => {}
    }
}

/// `    /spec/replicas: 1 -> 2`.
fn place(operation: &Value, before: &Value) -> String {
    let path = operation["path"].as_str().unwrap_or_default();
    let shown = |value: Option<&Value>| value.map_or("(nothing)".to_owned(), Value::to_string);
    let old = before.pointer(path).filter(|_| operation["op"] != "add");
    format!("    {path}: {} -> {}\n", shown(old), shown(operation.get("value")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_told_with_both_values() {
        let (before, after) = (json!({"a": 1, "b": {"c": "x"}, "d": []}), json!({"a": 2, "b": {}, "d": [], "e": true}));
        let lines: String = patch::diff(&before, &after).iter().map(|operation| place(operation, &before)).collect();
        assert_eq!(lines, "    /a: 1 -> 2\n    /b/c: \"x\" -> (nothing)\n    /e: (nothing) -> true\n");
    }
}
