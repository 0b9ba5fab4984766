//! The `mizzen` program, as users run it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::{
    client::{Client, Reply, Request},
    ports::free_port,
    process::{Process, Signal},
    wait::PATIENCE,
};

/// How a control plane is started.
#[derive(Clone, Debug, Default)]
pub struct MizzenOptions {
    /// `--configDir`.
    pub config_dir: Option<PathBuf>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// More arguments.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
}

impl MizzenOptions {
    /// Objects from files.
    #[must_use]
    pub fn files(config_dir: &Path) -> Self {
        Self { config_dir: Some(config_dir.to_owned()), ..Self::default() }
    }

    /// Objects from an API server.
    #[must_use]
    pub fn cluster(kubeconfig: &Path) -> Self {
        Self { kubeconfig: Some(kubeconfig.to_owned()), ..Self::default() }
    }

    /// The same, with one more variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, with one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// `mizzen discovery`, running. Its ports stay the same over a restart. Dropping it kills it.
#[derive(Debug)]
pub struct Mizzen {
    process: Option<Process>,
    options: MizzenOptions,
    grpc: SocketAddr,
    secure_grpc: SocketAddr,
    http: SocketAddr,
    https: SocketAddr,
    monitoring: SocketAddr,
    dir: tempfile::TempDir,
}

impl Mizzen {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be built or started, or does not become ready.
    pub async fn start(options: MizzenOptions) -> Result<Self> {
        let mut mizzen = Self::launch(options)?;
        mizzen.wait_ready(PATIENCE).await?;
        Ok(mizzen)
    }

    /// Starts it without waiting.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn launch(options: MizzenOptions) -> Result<Self> {
        let address = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        let mut mizzen = Self {
            process: None,
            options,
            grpc: address()?,
            secure_grpc: address()?,
            http: address()?,
            https: address()?,
            monitoring: address()?,
            dir: tempfile::tempdir()?,
        };
        mizzen.spawn()?;
        Ok(mizzen)
    }

    fn spawn(&mut self) -> Result<()> {
        let mut command = Command::new(mizzen_program()?);
        command.arg("discovery");
        for (flag, address) in [
            ("--grpcAddr", self.grpc),
            ("--secureGRPCAddr", self.secure_grpc),
            ("--httpAddr", self.http),
            ("--httpsAddr", self.https),
            ("--monitoringAddr", self.monitoring),
        ] {
            // What a test says of it counts.
            if !self.options.args.iter().any(|arg| arg.starts_with(flag)) {
                command.arg(flag).arg(address.to_string());
            }
        }
        for (flag, path) in [("--configDir", &self.options.config_dir), ("--kubeconfig", &self.options.kubeconfig)] {
            if let Some(path) = path {
                command.arg(flag).arg(path);
            }
        }
        command.args(&self.options.args).envs(self.options.env.iter().map(|(k, v)| (k, v)));
        self.process = Some(Process::spawn("mizzen", &mut command, self.dir.path())?);
        Ok(())
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("mizzen does not run")
    }

    /// Waits until `/ready` answers 200.
    ///
    /// # Errors
    /// When it is not ready by the deadline, with what it says, or has ended, with the end of its log.
    pub async fn wait_ready(&mut self, deadline: Duration) -> Result<()> {
        let client = Client::http(self.http);
        let ready = || async {
            let reply = client.send(&Request::get("/ready")).await?;
            ensure!(reply.status == 200, "{} {}", reply.status, reply.text());
            Ok(())
        };
        let waited = self.process()?.until("mizzen to be ready", deadline, ready).await;
        waited.with_context(|| format!("log of mizzen:\n{}", self.log()))
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        let status = self.process()?.terminate(PATIENCE).await?;
        self.process = None;
        Ok(status)
    }

    /// Starts it again on the same ports, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Mizzen::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.spawn()?;
        self.wait_ready(PATIENCE).await
    }

    /// Starts it again with other arguments than before.
    ///
    /// # Errors
    /// As [`Mizzen::start`].
    pub async fn restart_with(&mut self, args: &[&str]) -> Result<()> {
        self.options.args = args.iter().map(ToString::to_string).collect();
        self.restart().await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process()?.signal(signal)
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Where ADS is served without TLS.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where ADS is served with TLS.
    #[must_use]
    pub fn secure_grpc(&self) -> SocketAddr {
        self.secure_grpc
    }

    /// Where `/ready` and `/debug` are.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where Pods are injected.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// Where `/metrics`, `/version` and `/debug` are.
    #[must_use]
    pub fn monitoring(&self) -> SocketAddr {
        self.monitoring
    }

    /// What it has logged, to standard output and standard error, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("mizzen.out"), read("mizzen.err")].concat()).into_owned()
    }

    /// A page of the HTTP port: `/debug/syncz`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        Client::http(self.http).send(&Request::get(path)).await
    }

    /// A page of JSON of the HTTP port.
    ///
    /// # Errors
    /// When it does not answer 200 with JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        let reply = self.get(path).await?;
        ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.text());
        serde_json::from_slice(&reply.body).with_context(|| format!("parse {path}"))
    }

    /// All metrics, as text.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn metrics(&self) -> Result<String> {
        let reply = Client::http(self.monitoring).send(&Request::get("/metrics")).await?;
        ensure!(reply.status == 200, "/metrics: {}", reply.status);
        Ok(reply.text())
    }

    /// The value of a metric with exactly these labels, written as in the exposition: `pilot_xds_pushes{type="eds"}`.
    ///
    /// # Errors
    /// When metrics cannot be had; an absent one is `None`.
    pub async fn metric(&self, series: &str) -> Result<Option<f64>> {
        let text = self.metrics().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        Ok(value)
    }

    /// Runs a command of `mizzen` to its end, e.g. `["translate", "-f", …]`.
    ///
    /// # Errors
    /// When it cannot be built or started. That the command fails is for the caller to see.
    pub fn run(args: &[&str]) -> Result<std::process::Output> {
        Self::command(args)?.output().context("run mizzen")
    }

    /// A command of `mizzen`, to be started by the caller.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn command(args: &[&str]) -> Result<Command> {
        let mut command = Command::new(mizzen_program()?);
        command.args(args);
        Ok(command)
    }
}

/// The path of the program; built first, so that `cargo test -p mizzen-e2e` never tests yesterday's.
pub fn mizzen_program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(|| build().map_err(|e| format!("{e:#}"))).as_deref().map_err(|e| anyhow!("{e}"))
}

/// Builds the same set of packages as `cargo test --workspace`, so that both share every dependency.
fn build() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    // <target>/<profile>/deps/<test>
    let profile = test.parent().and_then(Path::parent).context("the test is not in a target folder")?;
    let target = profile.parent().context("the test is not in a target folder")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate is not in a workspace")?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--target-dir"]).arg(target).current_dir(workspace);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo tells the test of its package would make build scripts that watch these variables (ring's) run again.
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
        if told.iter().any(|t| name.to_string_lossy().starts_with(t)) {
            cargo.env_remove(name);
        }
    }
    let built = cargo.output().context("run cargo")?;
    ensure!(built.status.success(), "cargo cannot build mizzen:\n{}", String::from_utf8_lossy(&built.stderr));
    Ok(profile.join("mizzen"))
}
