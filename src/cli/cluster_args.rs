//! Which cluster a command works on.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::install::cluster::Cluster;

/// How long the API server may take to accept a connection.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Flags of it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// The cluster of this file; the default is that of kubectl, or the pod's own
    #[arg(short = 'c', long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context within it
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl ClusterArgs {
    /// A client of the cluster.
    ///
    /// # Errors
    /// There is no usable configuration. Nothing is sent yet.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let what = || format!("use the kubeconfig {}", path.display());
                let file = Kubeconfig::read_from(path).with_context(what)?;
                Config::from_custom_kubeconfig(file, &options).await.with_context(what)?
            }
            (None, Some(context)) => Config::from_kubeconfig(&options)
                .await
                .with_context(|| format!("use the context {context:?} of the kubeconfig"))?,
            // What kube says of it repeats itself three times.
            (None, None) => Config::infer().await.map_err(|_| {
                anyhow!("there is no kubeconfig, and this is no pod: give --kubeconfig FILE, or set KUBECONFIG")
            })?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        Ok(Client::try_from(config)?)
    }

    /// The cluster, which answers.
    ///
    /// # Errors
    /// There is no usable configuration, or nobody answers.
    pub(super) async fn connect(&self) -> anyhow::Result<Cluster> {
        let cluster = Cluster::new(self.client().await?);
        cluster.check().await?;
        Ok(cluster)
    }
}
