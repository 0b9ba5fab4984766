//! A real Envoy.

mod admin;
mod bootstrap;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use admin::{Admin, Warming};
pub use bootstrap::{Node, XdsServer, XdsTls, XdsTransport};

use crate::{
    agent::Agent,
    process::{Process, Signal},
    tools::tool,
    wait::{PATIENCE, eventually},
};

/// How an Envoy is started.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    /// Who it says it is.
    pub node: Node,
    /// Where its configuration comes from; `None` for what `static_resources` holds only.
    pub xds: Option<XdsServer>,
    /// Instead, a folder whose files `clusters.json` and `listeners.json` are responses of CDS and LDS.
    pub files: Option<PathBuf>,
    /// Listeners and clusters of the bootstrap (`envoy.config.bootstrap.v3.Bootstrap.StaticResources` as JSON).
    pub static_resources: Value,
    /// Worker threads.
    pub concurrency: u32,
    /// How long it drains (`--drain-time-s`).
    pub drain: Duration,
}

impl EnvoyOptions {
    /// An Envoy that is configured by a control plane over incremental xDS, plaintext.
    #[must_use]
    pub fn dynamic(node: Node, control_plane: SocketAddr) -> Self {
        Self { xds: Some(XdsServer::plaintext(control_plane)), ..Self::fixed(node, Value::Null) }
    }

    /// An Envoy that reads its clusters and listeners from files: see [`EnvoyOptions::files`].
    #[must_use]
    pub fn files(node: Node, folder: &Path) -> Self {
        Self { files: Some(folder.to_owned()), ..Self::fixed(node, Value::Null) }
    }

    /// An Envoy with a configuration of its own.
    #[must_use]
    pub fn fixed(node: Node, static_resources: Value) -> Self {
        Self { node, xds: None, files: None, static_resources, concurrency: 1, drain: Duration::from_secs(5) }
    }
}

/// A running Envoy. Dropping it kills it.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: Admin,
    _agent: Option<Agent>,
    _dir: tempfile::TempDir,
}

impl Envoy {
    /// Starts Envoy and waits until its admin interface answers; [`Envoy::wait_ready`] waits for the rest.
    ///
    /// # Errors
    /// When Envoy is not in the cache or does not start.
    pub async fn start(options: &EnvoyOptions) -> Result<Self> {
        let program = tool("envoy")?;
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("bootstrap.json");
        let admin_file = dir.path().join("admin");
        let agent = (options.xds.is_some() || options.files.is_some()).then(Agent::start).transpose()?;
        std::fs::write(&config, serde_json::to_vec_pretty(&bootstrap::bootstrap(options, agent.as_ref()))?)?;
        let text = |path: &Path| path.display().to_string();
        let args = [
            "--config-path".to_owned(),
            text(&config),
            "--admin-address-path".to_owned(),
            text(&admin_file),
            "--concurrency".to_owned(),
            options.concurrency.to_string(),
            "--drain-time-s".to_owned(),
            options.drain.as_secs().to_string(),
            "--drain-strategy".to_owned(),
            "immediate".to_owned(),
            "--disable-hot-restart".to_owned(),
            // Access logs are looked at right after a request.
            "--file-flush-interval-msec".to_owned(),
            "50".to_owned(),
            "--log-level".to_owned(),
            "warning".to_owned(),
            "--component-log-level".to_owned(),
            "config:info,upstream:info".to_owned(),
        ];
        let mut process = Process::start("envoy", &program, &args, dir.path())?;
        let address = process
            .until("Envoy's admin address", PATIENCE, || {
                let text = std::fs::read_to_string(&admin_file);
                async move { text?.trim().parse().context("parse the admin address") }
            })
            .await?;
        let admin = Admin::new(address);
        process.until("Envoy's admin interface", PATIENCE, || admin.get("/server_info")).await?;
        Ok(Self { process, admin, _agent: agent, _dir: dir })
    }

    /// Starts Envoy and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start or does not become ready.
    pub async fn start_ready(options: &EnvoyOptions) -> Result<Self> {
        let mut envoy = Self::start(options).await?;
        envoy.wait_ready(PATIENCE).await?;
        Ok(envoy)
    }

    /// Waits until it is live: it has all its configuration, and its workers run.
    ///
    /// # Errors
    /// When it is not so by the deadline, with what it says instead, or when it ends.
    pub async fn wait_ready(&mut self, deadline: Duration) -> Result<()> {
        let admin = &self.admin;
        self.process.until("Envoy to be live", deadline, || async { admin.get("/ready").await.map(drop) }).await
    }

    /// Waits until nothing warms: every cluster and listener it was given is in service.
    ///
    /// # Errors
    /// When something still warms at the deadline.
    pub async fn wait_warm(&self, deadline: Duration) -> Result<()> {
        eventually("Envoy to have warmed everything", deadline, || async {
            let warming = self.admin.warming().await?;
            ensure!(warming == Warming::default(), "{warming:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Its admin interface.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// What it has written to standard output, where access logs go.
    #[must_use]
    pub fn access_log(&self) -> String {
        self.process.stdout()
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal: frozen ([`Signal::Stop`]), it acknowledges nothing.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}
