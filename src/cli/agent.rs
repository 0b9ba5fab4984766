//! `mizzen agent`: what runs beside an Envoy, under the flags and variables of `pilot-agent`.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use http::{HeaderMap, Method, Uri};
use tokio::time::{Instant, sleep};

use super::{discovery::stop_signal, log_args::LogArgs, values::duration};
use crate::agent::{
    client::Server,
    dns,
    identity::RsaKeys,
    node::{Role, Surroundings, parse_pod_info},
    run,
    settings::{Flags, Settings},
};
use crate::{
    ca::key::{KeyKind, PrivateKey},
    model::proxy_config::ProxyConfig,
};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen agent sidecar --domain shop.svc.cluster.local
  mizzen agent router --domain istio-system.svc.cluster.local --proxyLogLevel warning
  mizzen agent wait
  mizzen agent request GET stats/prometheus";

/// What the downward API tells, and what is laid over a bootstrap.
const LABELS: &str = "./etc/istio/pod/labels";
const ANNOTATIONS: &str = "./etc/istio/pod/annotations";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const CONFIG_ANNOTATION: &str = "proxy.istio.io/config";

#[derive(Subcommand, Clone, Debug)]
pub(super) enum AgentCommand {
    /// Run the proxy beside a workload
    #[command(args_override_self = true)]
    Sidecar(ProxyArgs),
    /// Run a gateway
    #[command(args_override_self = true)]
    Router(ProxyArgs),
    /// Wait until the proxy is ready
    Wait(WaitArgs),
    /// Send a request to Envoy's admin interface
    Request(RequestArgs),
}

/// Flags of a proxy.
#[derive(Args, Clone, Debug)]
pub(super) struct ProxyArgs {
    /// DNS domain of the pod's namespace; the default is that of POD_NAMESPACE
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Level of Envoy's log
    #[arg(long = "proxyLogLevel", value_name = "LEVEL", default_value = "warning,misc:error")]
    log_level: String,
    /// Levels of parts of it
    #[arg(long = "proxyComponentLogLevel", value_name = "PART:LEVEL,…")]
    component_log_level: Option<String>,
    /// Threads that handle connections; the default is one for each processor
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<u64>,
    /// Mesh configuration, whose defaultConfig is the default of PROXY_CONFIG
    #[arg(long = "meshConfig", value_name = "FILE", default_value = "./etc/istio/config/mesh")]
    mesh_config: PathBuf,
    /// Mesh-wide settings of the proxy
    #[arg(long, value_name = "YAML", env = "PROXY_CONFIG", default_value = "", hide_env_values = true)]
    proxy_config: String,
    /// What is laid over the bootstrap
    #[arg(long, value_name = "FILE", env = "ISTIO_BOOTSTRAP_OVERRIDE")]
    bootstrap_override: Option<PathBuf>,
    /// How long a certificate should be good
    #[arg(long, env = "SECRET_TTL", default_value = "24h", value_parser = duration)]
    secret_ttl: Duration,
    /// Makes keys RSA with so many bits; the default is ECDSA on P-256
    #[arg(long, value_name = "BITS", env = "WORKLOAD_RSA_KEY_SIZE")]
    workload_rsa_key_size: Option<u16>,
    /// Part of a certificate's life that is left at its renewal
    #[arg(long, env = "SECRET_GRACE_PERIOD_RATIO", default_value_t = 0.5)]
    secret_grace_period_ratio: f64,
    /// Accepted for compatibility
    #[arg(long = "serviceCluster", hide = true)]
    service_cluster: Option<String>,
    /// Accepted for compatibility
    #[arg(long = "stsPort", hide = true)]
    sts_port: Option<u16>,
    /// Accepted for compatibility
    #[arg(long = "tokenManagerPlugin", hide = true)]
    token_manager_plugin: Option<String>,
    #[command(flatten)]
    log: LogArgs,
}

/// Flags of `mizzen agent wait`.
#[derive(Args, Clone, Debug)]
pub(super) struct WaitArgs {
    /// How long at most, in seconds
    #[arg(long = "timeoutSeconds", default_value_t = 60)]
    timeout: u64,
    /// How long a request may take, in milliseconds
    #[arg(long = "requestTimeoutMillis", default_value_t = 500)]
    request_timeout: u64,
    /// Between two requests, in milliseconds
    #[arg(long = "periodMillis", default_value_t = 500)]
    period: u64,
    /// Before the first one, in seconds
    #[arg(long = "initialDelaySeconds", default_value_t = 0)]
    initial_delay: u64,
    /// What to ask
    #[arg(long, default_value = "http://localhost:15021/healthz/ready")]
    url: Uri,
}

/// Flags of `mizzen agent request`.
#[derive(Args, Clone, Debug)]
pub(super) struct RequestArgs {
    /// Port on this machine
    #[arg(long = "debug-port", default_value_t = 15000)]
    port: u16,
    /// Method
    method: Method,
    /// Path, with or without a slash before it
    path: String,
}

/// Runs it.
///
/// # Errors
/// The proxy cannot run, is not ready in time, or refuses.
pub(super) async fn run(command: AgentCommand, unknown_flags: &[String]) -> anyhow::Result<ExitCode> {
    match command {
        AgentCommand::Sidecar(args) => args.run(Role::Sidecar, unknown_flags).await,
        AgentCommand::Router(args) => args.run(Role::Router, unknown_flags).await,
        AgentCommand::Wait(args) => args.run().await,
        AgentCommand::Request(args) => args.run().await,
    }
}

impl ProxyArgs {
    async fn run(self, role: Role, unknown_flags: &[String]) -> anyhow::Result<ExitCode> {
        self.log.start()?;
        for flag in unknown_flags {
            tracing::warn!("flag {flag} is not known: it has no effect");
        }
        let settings = self.settings(role)?;
        let stop = stop_signal()?;
        Ok(ExitCode::from(run::run(settings, stop).await?))
    }

    fn settings(self, role: Role) -> anyhow::Result<Settings> {
        let resolver = read_if_there(Path::new(RESOLV_CONF))?;
        let pod = surroundings()?;
        let mesh = default_config(&self.mesh_config)?;
        let annotation = pod.annotation(CONFIG_ANNOTATION).unwrap_or_default().to_owned();
        let layers = [
            ("defaultConfig of the mesh", mesh.as_str()),
            ("PROXY_CONFIG", &self.proxy_config),
            (CONFIG_ANNOTATION, &annotation),
        ];
        let config = ProxyConfig::new(&layers)?;
        let overlay = self.bootstrap_override.filter(|path| !path.as_os_str().is_empty());
        let overlay = overlay.map(|path| {
            std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read ISTIO_BOOTSTRAP_OVERRIDE {}", path.display()))
        });
        let namespace = pod.variable("POD_NAMESPACE");
        // As injectors of old write it, both in one.
        let (level, parts) = self.log_level.split_once(',').unwrap_or((&self.log_level, ""));
        let flags = Flags {
            role,
            domain: self.domain.unwrap_or_else(|| format!("{namespace}.svc.cluster.local")),
            log_level: level.to_owned(),
            component_log_level: self.component_log_level.unwrap_or_else(|| parts.to_owned()),
            log_as_json: self.log.is_json(),
            concurrency: self.concurrency,
            rsa: self.workload_rsa_key_size.map(|bits| RsaKeys { bits, make: rsa_key }),
            certificate_lifetime: self.secret_ttl,
            certificate_grace: self.secret_grace_period_ratio,
            dns_servers: dns::servers(&resolver),
            dns_search: dns::search_domain(&resolver).to_owned(),
        };
        Ok(Settings::new(flags, pod, config, overlay.transpose()?)?)
    }
}

fn rsa_key(bits: u16) -> Result<String, String> {
    let key = PrivateKey::generate(KeyKind::Rsa(bits)).map_err(|error| error.to_string())?;
    Ok(key.pem().to_owned())
}

/// What this pod is told about itself.
fn surroundings() -> anyhow::Result<Surroundings> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    let variables: BTreeMap<_, _> = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    let listed = variables.get("INSTANCE_IP").map(String::as_str).unwrap_or_default();
    let listed = listed.split(',').map(str::trim).filter(|address| !address.is_empty());
    let addresses =
        listed.map(|address| address.parse().with_context(|| format!("INSTANCE_IP {address} is no address")));
    let addresses = addresses.collect::<anyhow::Result<Vec<IpAddr>>>()?;
    Ok(Surroundings { labels: pod_info(LABELS)?, annotations: pod_info(ANNOTATIONS)?, addresses, variables })
}

fn pod_info(file: &str) -> anyhow::Result<BTreeMap<String, String>> {
    Ok(parse_pod_info(&read_if_there(Path::new(file))?))
}

fn read_if_there(file: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The field `defaultConfig` of a mesh configuration, as YAML.
fn default_config(file: &Path) -> anyhow::Result<String> {
    let text = read_if_there(file)?;
    let mesh: serde_json::Value =
        serde_yaml_ng::from_str(&text).with_context(|| format!("{} is no YAML", file.display()))?;
    Ok(mesh.get("defaultConfig").map(ToString::to_string).unwrap_or_default())
}

impl WaitArgs {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let server = Server {
            host: self.url.host().context("the URL has no host")?.to_owned(),
            port: self.url.port_u16().unwrap_or(80),
            is_tls: false,
            from: None,
            patience: Duration::from_millis(self.request_timeout),
            limit: 1 << 20,
        };
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        sleep(Duration::from_secs(self.initial_delay)).await;
        let deadline = Instant::now() + Duration::from_secs(self.timeout);
        loop {
            let reason = match server.get(path).await {
                Ok(answer) if answer.status.is_success() => return Ok(ExitCode::SUCCESS),
                Ok(answer) => format!("{} {}", answer.status, answer.text().trim()),
                Err(error) => format!("{:#}", anyhow::Error::new(error)),
            };
            if Instant::now() >= deadline {
                bail!("{} is not ready after {} s: {reason}", self.url, self.timeout);
            }
            sleep(Duration::from_millis(self.period)).await;
        }
    }
}

impl RequestArgs {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let server = Server::local(IpAddr::from([127, 0, 0, 1]), self.port);
        let path = format!("/{}", self.path.trim_start_matches('/'));
        let answer = server.send(self.method, &path, &HeaderMap::new()).await?;
        io::stdout().write_all(&answer.body)?;
        if answer.status.is_success() { Ok(ExitCode::SUCCESS) } else { bail!("{path}: {}", answer.status) }
    }
}
