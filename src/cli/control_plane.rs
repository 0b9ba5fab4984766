//! The control plane as a set of joined tasks: sources, servers, and what the core adds.
//!
//! ```text
//!  source ──► intake (core) ──► … ──► servers (core: xDS)      HTTP: ready, metrics, debug
//! ```
//!
//! When a task ends before it is asked to, the process ends with its error.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use axum::Router;
use futures::{FutureExt, future::BoxFuture};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    http::{self, DebugData},
    values::listen,
    version::VersionInfo,
};
use crate::{
    ca::{authority, distribute, service::Lifetimes},
    sources::{
        Delivery, Intake,
        files::FileSource,
        kube::{self, KubeSource, Scope},
    },
    telemetry::{metrics::Metrics, problems::Problems, ready::Readiness},
    webhook::inject::live::NativeSidecars,
};

/// Where objects come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A directory of files.
    Files {
        /// The directory.
        directory: PathBuf,
        /// Objects, as YAML, that are there as well; those of files win.
        builtin: Vec<u8>,
    },
    /// An API server.
    Kube {
        /// How to connect; `None` as a pod.
        kubeconfig: Option<PathBuf>,
        /// What is read of it.
        scope: Scope,
    },
}

/// Where to listen, as flags give it; empty is nowhere.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// `--httpAddr`.
    pub http: String,
    /// `--monitoringAddr`; empty means on the HTTP address.
    pub monitoring: String,
    /// `--grpcAddr`; empty means on the HTTP address.
    pub grpc: String,
    /// `--secureGRPCAddr`.
    pub secure_grpc: String,
    /// `--httpsAddr`; empty means on the HTTP address.
    pub https: String,
}

/// Certificates of the TLS gRPC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `--tlsCertFile`.
    pub certificate: PathBuf,
    /// `--tlsKeyFile`.
    pub key: PathBuf,
    /// `--caCertFile`: client certificates are verified against it.
    pub client_ca: Option<PathBuf>,
}

/// What the command line decides on the certificate authority.
#[derive(Clone, Debug)]
pub struct AuthoritySettings {
    /// Where it comes from and how long it lasts.
    pub source: authority::Settings,
    /// How long certificates of workloads are valid.
    pub lifetimes: Lifetimes,
    /// What tokens of workloads are for (`TOKEN_AUDIENCES`).
    pub token_audiences: Vec<String>,
    /// Accounts that may ask for certificates of the workloads on their node (`CA_TRUSTED_NODE_ACCOUNTS`).
    pub trusted_node_accounts: Vec<String>,
    /// What is distributed.
    pub distribute: distribute::Settings,
    /// The names in the certificate of our own TLS server.
    pub hosts: Vec<String>,
    /// The revision of this control plane.
    pub revision: String,
    /// Whether only one replica distributes (`ENABLE_LEADER_ELECTION`).
    pub elect_leader: bool,
}

/// What the command line decides on the injector.
#[derive(Clone, Debug)]
pub struct InjectorSettings {
    /// The name of its ConfigMap.
    pub config_map: String,
    /// Whether webhook configurations are kept right.
    pub mends_webhooks: bool,
    /// Which sidecars are native.
    pub native_sidecars: NativeSidecars,
    /// The revision of this control plane; empty is the default one.
    pub revision: String,
    /// What proxies are told in `COMPLIANCE_POLICY`; empty is nothing.
    pub compliance_policy: String,
}

/// What the command line decides on validation.
#[derive(Clone, Debug)]
pub struct ValidatorSettings {
    /// Whether webhook configurations are kept right.
    pub mends_webhooks: bool,
    /// The revision of this control plane; empty is the default one.
    pub revision: String,
}

/// What the command line decides on status.
#[derive(Clone, Debug)]
pub struct StatusSettings {
    /// The revision of this control plane.
    pub revision: String,
    /// Whether only one replica at a time writes for all (`ENABLE_LEADER_ELECTION`).
    pub elect_leader: bool,
}

/// Everything that the command line decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where objects come from.
    pub source: Source,
    /// Where to listen.
    pub addresses: Addresses,
    /// Certificates in files; without them the authority issues one.
    pub tls: Option<TlsFiles>,
    /// `--tls-min-version`.
    pub tls_min_version: String,
    /// `--tls-cipher-suites`; none means all.
    pub tls_cipher_suites: Vec<String>,
    /// The certificate authority; `None` without one. It needs a cluster.
    pub authority: Option<AuthoritySettings>,
    /// The injector; `None` without one. It needs a cluster.
    pub injector: Option<InjectorSettings>,
    /// Validation of what is to be stored; `None` without it.
    pub validator: Option<ValidatorSettings>,
    /// Whether streams over TLS must prove who they are (`XDS_AUTH`).
    pub xds_auth: bool,
    /// The namespace of the control plane.
    pub system_namespace: String,
    /// The name of the ConfigMap with the mesh configuration.
    pub mesh_config_map: String,
    /// A file with the mesh configuration, for when there is no ConfigMap.
    pub mesh_config_file: PathBuf,
    /// The suffix of Kubernetes host names.
    pub domain: String,
    /// The name of this replica.
    pub pod_name: String,
    /// The name of the cluster.
    pub cluster_id: String,
    /// Between keepalive pings of gRPC.
    pub keepalive_interval: Duration,
    /// How long to wait for the answer to one.
    pub keepalive_timeout: Duration,
    /// How long a gRPC connection may live; `None` is for ever.
    pub max_connection_age: Option<Duration>,
    /// How long open requests may take to end after SIGTERM.
    pub shutdown: Duration,
    /// How long a route or listener waits for the endpoints of a new cluster (design §2 truth 2).
    pub barrier_timeout: Duration,
    /// How long a cluster stays after its last use (design §2 truth 2).
    pub removal_linger: Duration,
    /// Whether policies that are not enforced yet are let through (design §2 truth 5).
    pub allow_unenforced_policy: bool,
    /// Whether connections between workloads are mutual TLS unless the mesh configuration says otherwise.
    pub auto_mtls: bool,
    /// Whether and how status is written into the cluster that objects come from.
    pub status: Option<StatusSettings>,
    /// Whether sidecars that can are sent virtual hosts one by one instead of whole route configurations.
    pub discover_hosts: bool,
}

/// What the core is built from.
pub struct Parts {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The cluster that objects come from, if they do.
    pub cluster: Option<::kube::Client>,
    /// A core that must become ready takes a guard. It is ready when all guards are released.
    pub readiness: Readiness,
    /// The metrics to count in.
    pub metrics: Arc<Metrics>,
    /// Where the engine's problems go; those of sources are there already.
    pub problems: Arc<Problems>,
    /// Bound for plaintext gRPC.
    pub grpc: Option<TcpListener>,
    /// Bound for gRPC over TLS.
    pub secure_grpc: Option<TcpListener>,
    /// Bound for webhooks.
    pub https: Option<TcpListener>,
    /// Servers end when it is cancelled, after draining.
    pub shutdown: CancellationToken,
}

/// The engine and what serves its results.
pub struct Core {
    /// Takes objects. Problems of sources are taken care of before.
    pub intake: Arc<dyn Intake>,
    /// Answers debug endpoints.
    pub debug: Arc<dyn DebugData>,
    /// More pages of the HTTP address.
    pub pages: Router,
    /// Tasks by name, each to run until the shutdown.
    pub servers: Vec<(&'static str, BoxFuture<'static, anyhow::Result<()>>)>,
    /// Serves the HTTP address, when gRPC has no address of its own.
    pub serve_both: Option<ServeBoth>,
}

/// Serves plain HTTP and gRPC on one socket.
pub type ServeBoth = Box<dyn FnOnce(TcpListener, Router) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// Builds the core.
pub type Build = fn(Parts) -> anyhow::Result<Core>;

/// Where the servers listen.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// `/ready`, `/debug`.
    pub http: Option<SocketAddr>,
    /// `/metrics`, `/version`, `/debug`.
    pub monitoring: Option<SocketAddr>,
    /// Plaintext ADS.
    pub grpc: Option<SocketAddr>,
    /// ADS over TLS.
    pub secure_grpc: Option<SocketAddr>,
    /// Webhooks.
    pub https: Option<SocketAddr>,
}

/// A running control plane.
pub struct ControlPlane {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    shutdown: CancellationToken,
    drain: Duration,
    readiness: Readiness,
    problems: Arc<Problems>,
    bound: Bound,
}

/// Listeners, bound before anything runs.
struct Listeners {
    http: Option<TcpListener>,
    monitoring: Option<TcpListener>,
    grpc: Option<TcpListener>,
    secure_grpc: Option<TcpListener>,
    https: Option<TcpListener>,
}

impl ControlPlane {
    /// Binds, builds and starts everything.
    ///
    /// # Errors
    /// An address cannot be bound, the source cannot be reached, or the core cannot be built.
    pub async fn start(settings: Settings, build: Build) -> anyhow::Result<Self> {
        let settings = Arc::new(settings);
        let listeners = Listeners::bind(&settings).await?;
        let bound = listeners.addresses();
        let metrics = Arc::new(Metrics::new(VersionInfo::current().version));
        let mut this = Self {
            tasks: JoinSet::new(),
            shutdown: CancellationToken::new(),
            drain: settings.shutdown,
            readiness: Readiness::default(),
            problems: Arc::new(Problems::new(metrics.clone())),
            bound,
        };
        let cluster = match &settings.source {
            Source::Files { .. } => None,
            Source::Kube { kubeconfig, .. } => Some(kube::connect(kubeconfig.as_deref()).await?),
        };
        let core = build(Parts {
            settings: settings.clone(),
            cluster: cluster.clone(),
            readiness: this.readiness.clone(),
            metrics: metrics.clone(),
            problems: this.problems.clone(),
            grpc: listeners.grpc,
            secure_grpc: listeners.secure_grpc,
            https: listeners.https,
            shutdown: this.shutdown.clone(),
        })?;
        core.servers.into_iter().for_each(|(name, server)| this.spawn(name, server));
        this.start_source(&settings.source, cluster, core.intake)?;
        let (readiness, problems) = (this.readiness.clone(), this.problems.clone());
        let context = http::Context { readiness, metrics, problems, debug: core.debug };
        let main = listeners.http.map(|listener| (listener, core.pages));
        this.start_http(context, main, listeners.monitoring, core.serve_both);
        Ok(this)
    }

    /// Where the servers listen.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// Whether everything is ready, and if not, what is missing.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The problems that exist.
    #[must_use]
    pub fn problems(&self) -> Arc<Problems> {
        self.problems.clone()
    }

    /// Runs until asked to stop, then drains: it is not ready any more, takes nothing new, and waits for what is open.
    ///
    /// # Errors
    /// A task ended before that.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = stop => {}
            Some(ended) = self.tasks.join_next() => {
                let (name, result) = ended.context("a task panicked")?;
                result.with_context(|| name.to_owned())?;
                return Err(anyhow!("{name} ended"));
            }
        }
        tracing::info!(limit = ?self.drain, "shutting down");
        let _never_ready = self.readiness.guard("shutting down");
        self.shutdown.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(self.drain, drained).await.is_err() {
            tracing::info!("connections were still open");
        }
        self.tasks.shutdown().await;
        Ok(())
    }

    fn start_source(
        &mut self,
        source: &Source,
        cluster: Option<::kube::Client>,
        core: Arc<dyn Intake>,
    ) -> anyhow::Result<()> {
        let intake: Arc<dyn Intake> = Arc::new(WithProblems { core, problems: self.problems.clone() });
        let shutdown = self.shutdown.clone();
        match source {
            Source::Files { directory, builtin } => {
                let guard = self.readiness.guard("files");
                let source = FileSource::new(directory.clone(), builtin.clone())?;
                let run =
                    async move { shutdown.run_until_cancelled(source.run(intake, guard)).await.unwrap_or(Ok(())) };
                self.spawn("file source", async { Ok(run.await?) });
            }
            Source::Kube { scope, .. } => {
                let client = cluster.context("there is no cluster to read from")?;
                let source = KubeSource::new(client, scope.clone(), intake, &self.readiness);
                let run = async move { shutdown.run_until_cancelled(source.run()).await.unwrap_or(Ok(())) };
                self.spawn("Kubernetes source", async { Ok(run.await?) });
            }
        }
        Ok(())
    }

    fn start_http(
        &mut self,
        context: http::Context,
        main: Option<(TcpListener, Router)>,
        monitoring: Option<TcpListener>,
        serve_both: Option<ServeBoth>,
    ) {
        let (main_router, monitoring_router) = match (&main, &monitoring) {
            (Some(_), Some(_)) => (http::http_router(context.clone()), http::monitoring_router(context)),
            _ => (http::combined_router(context.clone()), http::combined_router(context)),
        };
        let plain = |listener, router| {
            let shutdown = self.shutdown.clone();
            async move { Ok(http::serve(listener, router, shutdown).await?) }.boxed()
        };
        let main = main.map(|(listener, more)| match serve_both {
            Some(serve) => serve(listener, main_router.merge(more)),
            None => plain(listener, main_router.merge(more)),
        });
        let monitoring = monitoring.map(|listener| plain(listener, monitoring_router));
        main.into_iter().chain(monitoring).for_each(|server| self.spawn("HTTP server", server));
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await) });
    }
}

impl Listeners {
    async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let Addresses { http, monitoring, grpc, secure_grpc, https } = &settings.addresses;
        // Without certificates there is nothing to say on the TLS port.
        let has_certificate = settings.tls.is_some() || settings.authority.is_some();
        let secure_grpc = if has_certificate { secure_grpc } else { "" };
        let has_webhooks = settings.injector.is_some() || settings.validator.is_some();
        let https = if has_certificate && has_webhooks { https } else { "" };
        Ok(Self {
            http: bind("--httpAddr", http).await?,
            monitoring: bind("--monitoringAddr", monitoring).await?,
            grpc: bind("--grpcAddr", grpc).await?,
            secure_grpc: bind("--secureGRPCAddr", secure_grpc).await?,
            https: bind("--httpsAddr", https).await?,
        })
    }

    fn addresses(&self) -> Bound {
        let of = |listener: &Option<TcpListener>| listener.as_ref().and_then(|listener| listener.local_addr().ok());
        Bound {
            http: of(&self.http),
            monitoring: of(&self.monitoring),
            // Without an address of its own it is on the HTTP address.
            grpc: of(self.grpc.as_ref().map_or(&self.http, |_| &self.grpc)),
            secure_grpc: of(&self.secure_grpc),
            https: of(&self.https),
        }
    }
}

async fn bind(flag: &str, address: &str) -> anyhow::Result<Option<TcpListener>> {
    if address.is_empty() { Ok(None) } else { listen(flag, address).await.map(Some) }
}

/// Keeps the problems of sources on the way to the core.
struct WithProblems {
    core: Arc<dyn Intake>,
    problems: Arc<Problems>,
}

impl Intake for WithProblems {
    fn deliver(&self, delivery: Delivery) {
        self.deliver_all(vec![delivery]);
    }

    fn deliver_all(&self, deliveries: Vec<Delivery>) {
        for delivery in &deliveries {
            match delivery {
                Delivery::Problem(problem) => self.problems.appeared_in_source(problem),
                Delivery::ProblemGone(key) => self.problems.gone_from_source(key.clone()),
                _ => {}
            }
        }
        self.core.deliver_all(deliveries);
    }
}

#[cfg(test)]
mod tests;
