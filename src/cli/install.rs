//! `mizzen install`: an IstioOperator into a cluster.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::{bail, ensure};
use clap::Args;

use super::{cluster_args::ClusterArgs, operator_args::OperatorArgs, progress::Progress, values::duration};
use crate::install::{apply, ready};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen install -f istio-operator.yaml
  mizzen install --set profile=demo --set hub=registry.example.org/mizzen --set tag=1.0.0 -y
  mizzen install -f istio-operator.yaml --dry-run
  mizzen install -f istio-operator.yaml --revision canary";

/// Install a control plane and its gateways into a cluster. What an earlier installation had and this one has not is
/// removed; CRDs and namespaces stay. To run it again changes nothing, and goes on where one was interrupted.
#[derive(Args, Clone, Debug)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// Let the API server say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short = 'y', long = "skip-confirmation")]
    yes: bool,
    /// How long workloads may take to become ready; 0 does not wait for them
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    readiness_timeout: Duration,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl InstallArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// Something of the input cannot be used, the API server refuses something, or a workload does not become ready.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let manifest = self.operator.manifest()?;
        let cluster = self.cluster.connect().await?;
        let cluster = if self.dry_run { cluster.dry() } else { cluster };
        if !self.dry_run && !self.yes {
            let objects = manifest.objects.len();
            confirm(&format!("This installs {objects} objects, the control plane in {}.", manifest.namespace))?;
        }
        let mut progress = Progress::new(self.dry_run);
        apply::apply(&cluster, &manifest, &mut |event| progress.on(&event)).await?;
        if self.dry_run {
            progress.finish("nothing was changed; it would be");
            return Ok(());
        }
        if !self.readiness_timeout.is_zero() {
            ready::wait(&cluster, &manifest, self.readiness_timeout, &mut |event| progress.on(&event)).await?;
        }
        progress.finish("installed");
        Ok(())
    }
}

/// Asks whether to go on.
///
/// # Errors
/// The answer is no, or there is nobody to ask.
pub(super) fn confirm(what: &str) -> anyhow::Result<()> {
    ensure!(io::stdin().is_terminal(), "{what} There is nobody to ask: say -y to go on");
    write!(io::stderr(), "{what} Go on? (y/N) ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was changed"),
    }
}
