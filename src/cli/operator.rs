//! `mizzen operator`: a cluster is kept as the IstioOperators in it say.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{cluster_args::ClusterArgs, discovery::stop_signal, log_args::LogArgs, operator_args::mesh_warnings};
use crate::{
    install::operator,
    leader::{Lock, lead},
};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen operator                                  in a pod: the pod's own cluster
  mizzen operator --kubeconfig ~/.kube/config
  kubectl get istiooperators -A                    how each installation is";

/// What keeps other replicas from installing at the same time.
const LOCK: &str = "istio-operator-lock";
/// When it is tried again to begin.
const RETRY: Duration = Duration::from_secs(5);

/// Keep a cluster as the IstioOperators in it say: each is installed, repaired when somebody changes what was installed,
/// and removed with its object. How it is, by component, is its status.
#[derive(Args, Clone, Debug)]
pub(super) struct RunArgs {
    /// Namespace of the lock by which one replica at a time installs
    #[arg(short, long, env = "POD_NAMESPACE", default_value = "istio-system")]
    namespace: String,
    /// Name of this replica
    #[arg(long, env = "POD_NAME", default_value = "mizzen-operator", value_name = "NAME")]
    pod_name: String,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl RunArgs {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// There is no cluster, or nobody answers there.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        self.log.start()?;
        let cluster = self.cluster.connect().await?;
        let client = cluster.client().clone();
        let stop = stop_signal().context("wait for signals")?;
        let shutdown = CancellationToken::new();
        let (namespace, name) = (self.namespace, LOCK.to_owned());
        let lock = Lock { namespace, name, identity: self.pod_name, revision: String::new() };
        let work = || async {
            if let Err(error) = operator::run(client.clone(), mesh_warnings).await {
                let reason = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(reason, "cannot look after IstioOperators; it is tried again");
                tokio::time::sleep(RETRY).await;
            }
        };
        let led = lead(client.clone(), lock, shutdown.clone(), work);
        tokio::pin!(led);
        tokio::select! {
            () = stop => {}
            () = &mut led => return Ok(()),
        }
        shutdown.cancel();
        led.await;
        Ok(())
    }
}
