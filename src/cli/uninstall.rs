//! `mizzen uninstall`: what was installed goes.

use anyhow::bail;
use clap::Args;

use super::{cluster_args::ClusterArgs, install::confirm, operator_args::OperatorArgs, progress::Progress};
use crate::install::remove::{self, Selection};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen uninstall -f istio-operator.yaml     what this file installed
  mizzen uninstall --revision canary          everything of a revision; default is the one without a name
  mizzen uninstall --purge                    everything, with the namespaces that were made for it";

/// Remove what was installed. CRDs stay, and so do the objects of their kinds, which are yours; without --purge namespaces
/// stay too.
#[derive(Args, Clone, Debug)]
pub(super) struct UninstallArgs {
    /// Everything of all revisions, with the namespaces that were made for it and all that is in them
    #[arg(long, conflicts_with_all = ["files", "revision", "settings"])]
    purge: bool,
    #[command(flatten)]
    operator: OperatorArgs,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short = 'y', long = "skip-confirmation")]
    yes: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl UninstallArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// It is not said what is meant, or the API server refuses.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let selection = self.selection()?;
        let cluster = self.cluster.connect().await?;
        let cluster = if self.dry_run { cluster.dry() } else { cluster };
        let objects = remove::selected(&cluster, &selection).await?;
        if !self.dry_run && !self.yes && !objects.is_empty() {
            let list: Vec<String> = objects.iter().map(|id| format!("\n  {id}")).collect();
            confirm(&format!("This removes:{}\n", list.concat()))?;
        }
        let mut progress = Progress::new(self.dry_run);
        remove::remove(&cluster, &objects, &mut |event| progress.on(&event)).await?;
        progress.finish(if self.dry_run { "nothing was removed; it would be" } else { "uninstalled" });
        Ok(())
    }

    fn selection(&self) -> anyhow::Result<Selection> {
        if self.purge {
            return Ok(Selection::All);
        }
        match self.operator.revision() {
            Some(revision) if !self.operator.has_files() => {
                Ok(Selection::Revision(if revision == "default" { String::new() } else { revision.to_owned() }))
            }
            _ if self.operator.has_files() => {
                let manifest = self.operator.manifest()?;
                let (name, namespace) = manifest.owner;
                Ok(Selection::Owner { name, namespace, revision: Some(manifest.revision) })
            }
            _ => bail!("say what is to be removed: -f FILE, --revision REVISION or --purge"),
        }
    }
}
