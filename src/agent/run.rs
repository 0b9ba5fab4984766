//! The agent's life: sockets, Envoy, and the end of both.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixListener},
    process::Child,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    bootstrap::{Bootstrap, localhost},
    chain,
    client::Server,
    dns,
    envoy::{Admin, exit_code},
    identity::{Identity, Issuance},
    metrics::Metrics,
    names::{Learner, Lookup},
    sds::{self, Workload},
    settings::{Dns, End, Peer, Settings},
    status::{self, ProbeError, Probes, Scrape, ScrapeError, Status},
    upstream::{Upstream, UpstreamTls},
    xds_proxy::{XdsProxy, headers},
};
use crate::model::proxy_config::ProxyConfigError;

/// How long Envoy may take to end when it is asked to.
const QUIT_PATIENCE: Duration = Duration::from_secs(2);

/// Lists of certificates that are not trusted any more, where there are any (contract §5.3).
const REVOKED: &str = "./var/run/secrets/istio/crl/ca-crl.pem";

/// Why an agent ends.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file or socket cannot be made.
    #[error("make {}", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The port is taken.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A setting is wrong.
    #[error("write the bootstrap")]
    Config(#[from] ProxyConfigError),
    /// The probes are wrong.
    #[error("read the workload's probes")]
    Probes(#[from] ProbeError),
    /// The metrics' place is wrong.
    #[error("find the workload's metrics")]
    Scrape(#[from] ScrapeError),
    /// Envoy does not start.
    #[error("start {}", binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Envoy is lost.
    #[error("wait for Envoy")]
    Wait(#[source] io::Error),
    /// A part of the agent ended.
    #[error("the agent's {0} ended")]
    Part(String),
}

/// Runs until Envoy ends, or `stop` does; the exit code is Envoy's, or 0 when it was asked to end.
///
/// # Errors
/// The agent cannot do its work.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<u8, AgentError> {
    let local = localhost(&settings.pod);
    let admin = Admin::new(Server::local(local, settings.admin_port), settings.role);
    let quit = CancellationToken::new();
    let mut parts = start_parts(&settings, local, &admin, &quit).await?;
    write_bootstrap(&settings)?;
    let binary = settings.launch.binary.clone();
    let mut envoy = settings.launch.spawn().map_err(|source| AgentError::Spawn { binary, source })?;
    tracing::info!(id = &*settings.node.id, pid = envoy.id(), "Envoy runs: {}", settings.launch.args().join(" "));
    tokio::select! {
        ended = envoy.wait() => {
            let status = ended.map_err(AgentError::Wait)?;
            tracing::error!(%status, "Envoy ended");
            Ok(exit_code(status))
        }
        Some(part) = parts.join_next() => {
            let part = part.unwrap_or_else(|error| error.to_string());
            Err(AgentError::Part(part))
        }
        () = stop => terminate(envoy, &admin, settings.end).await,
        () = quit.cancelled() => terminate(envoy, &admin, settings.end).await,
    }
}

/// What serves Envoy and the workload. A part that ends says how.
async fn start_parts(
    settings: &Settings,
    local: IpAddr,
    admin: &Admin,
    quit: &CancellationToken,
) -> Result<JoinSet<String>, AgentError> {
    let metrics = Arc::new(Metrics::default());
    let (sender, identity) = watch::channel(None);
    let mut parts = JoinSet::new();
    let secrets = bind(&settings.secrets_socket)?;
    let (roots, revoked) = (settings.authority.roots.clone(), PathBuf::from(REVOKED));
    let source = Arc::new(Workload::new(identity.clone(), Some(roots), Some(revoked)));
    parts.spawn(async move {
        let ended = sds::serve_on(secrets, source, std::future::pending()).await;
        ended_part("server of secrets", ended)
    });
    let xds = bind(&settings.xds_socket)?;
    let (learner, names) = settings.dns.as_ref().map(|dns| Learner::new(dns.place.clone())).unzip();
    let proxy = Arc::new(xds_proxy(settings, &identity, &metrics, learner));
    parts.spawn(async move { match proxy.serve(xds).await {} });
    let issuance = issuance(settings, &identity, &metrics);
    parts.spawn(async move { match issuance.run(sender).await {} });
    let listener = listen(settings).await?;
    let pages = Arc::new(pages(settings, local, admin, &metrics, names.clone(), quit)?);
    parts.spawn(async move { ended_part("server of pages", status::serve(pages, listener).await) });
    if let (Some(dns), Some(names)) = (&settings.dns, names) {
        start_names(dns, names, &metrics, &mut parts).await?;
    }
    Ok(parts)
}

async fn start_names(
    dns: &Dns,
    names: Lookup,
    metrics: &Arc<Metrics>,
    parts: &mut JoinSet<String>,
) -> Result<(), AgentError> {
    let resolver = Arc::new(dns::Resolver::new(names, dns.servers.clone(), Arc::clone(metrics)));
    for address in dns.places.iter().copied() {
        let bound = dns::Server::bind(address, Arc::clone(&resolver)).await;
        let server = bound.map_err(|source| AgentError::Listen { address, source })?;
        parts.spawn(async move { ended_part("server of names", server.run().await) });
    }
    Ok(())
}

fn ended_part<E: std::error::Error>(name: &str, ended: Result<(), E>) -> String {
    ended.map_or_else(|error| format!("{name} ({})", chain(&error)), |()| name.to_owned())
}

/// Lets connections end, then ends Envoy. Meanwhile it is configured as ever.
async fn terminate(mut envoy: Child, admin: &Admin, end: End) -> Result<u8, AgentError> {
    let drained = async {
        if let Err(error) = admin.drain(false).await {
            tracing::warn!("Envoy cannot be drained: {}", chain(&error));
            return;
        }
        tracing::info!(?end, "draining");
        match end {
            End::After(duration) => sleep(duration).await,
            End::Idle(minimum) => admin.idle(minimum).await,
        }
    };
    tokio::select! {
        ended = envoy.wait() => {
            ended.map_err(AgentError::Wait)?;
            return Ok(0);
        }
        () = drained => {}
    }
    if let Err(error) = admin.quit().await {
        tracing::debug!("Envoy is not asked to end: {}", chain(&error));
    }
    if timeout(QUIT_PATIENCE, envoy.wait()).await.is_err() {
        envoy.kill().await.map_err(AgentError::Wait)?;
    }
    tracing::info!("Envoy has ended");
    Ok(0)
}

fn upstream(settings: &Settings, peer: &Peer, identity: &watch::Receiver<Option<Arc<Identity>>>) -> Upstream {
    let tls = peer.server_name.clone().map(|server_name| UpstreamTls {
        server_name,
        roots: peer.roots.clone(),
        identity: identity.clone(),
        without_certificate: AtomicBool::new(false),
    });
    Upstream { address: peer.address.clone(), tls, token: settings.token.clone() }
}

fn xds_proxy(
    settings: &Settings,
    identity: &watch::Receiver<Option<Arc<Identity>>>,
    metrics: &Arc<Metrics>,
    learner: Option<Learner>,
) -> XdsProxy {
    let variables = settings.pod.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    XdsProxy {
        upstream: upstream(settings, &settings.control_plane, identity),
        headers: headers(settings.cluster(), variables),
        metrics: Arc::clone(metrics),
        learner: learner.map(Arc::new),
    }
}

fn issuance(
    settings: &Settings,
    identity: &watch::Receiver<Option<Arc<Identity>>>,
    metrics: &Arc<Metrics>,
) -> Issuance {
    Issuance {
        authority: upstream(settings, &settings.authority, identity),
        name: settings.identity.clone(),
        cluster: settings.cluster().to_owned(),
        rsa: settings.rsa,
        lifetime: settings.certificate_lifetime,
        grace: settings.certificate_grace,
        metrics: Arc::clone(metrics),
    }
}

fn pages(
    settings: &Settings,
    local: IpAddr,
    admin: &Admin,
    metrics: &Arc<Metrics>,
    names: Option<Lookup>,
    quit: &CancellationToken,
) -> Result<Status, AgentError> {
    let pod = &settings.pod;
    // Kubelet asks pods at their own address.
    let host = if pod.is_true("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION") { local } else { pod.address() };
    let envoy = Server::local(local, pod.port("ENVOY_PROMETHEUS_PORT", 15090));
    let annotations = pod.variable("ISTIO_PROMETHEUS_ANNOTATIONS");
    Ok(Status {
        admin: admin.clone(),
        probes: Probes::parse(pod.variable("ISTIO_KUBE_APP_PROBERS"), host.to_string())?,
        scrape: Scrape::new(envoy, annotations, settings.status_port, Arc::clone(metrics), settings.workload())?,
        names,
        quit: quit.clone(),
    })
}

async fn listen(settings: &Settings) -> Result<TcpListener, AgentError> {
    // Where there is no IPv6, the second one works.
    let [both, v4]: [SocketAddr; 2] =
        [([0_u16; 8], settings.status_port).into(), ([0_u8; 4], settings.status_port).into()];
    match TcpListener::bind(both).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(v4).await.map_err(|source| AgentError::Listen { address: v4, source }),
    }
}

/// Listens on a socket; one that a former agent left behind is replaced.
fn bind(path: &Path) -> Result<UnixListener, AgentError> {
    let failed = |source| AgentError::Make { path: path.to_owned(), source };
    make_directory(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    UnixListener::bind(path).map_err(failed)
}

fn make_directory(file: &Path) -> Result<(), AgentError> {
    let Some(directory) = file.parent() else { return Ok(()) };
    std::fs::create_dir_all(directory).map_err(|source| AgentError::Make { path: directory.to_owned(), source })
}

fn write_bootstrap(settings: &Settings) -> Result<(), AgentError> {
    let bootstrap = Bootstrap {
        node: &settings.node,
        pod: &settings.pod,
        config: &settings.config,
        xds: &settings.xds_socket,
        secrets: &settings.secrets_socket,
        log_as_json: settings.log_as_json,
    };
    let path = &settings.launch.bootstrap;
    make_directory(path)?;
    let text = format!("{:#}\n", bootstrap.to_json()?);
    std::fs::write(path, text).map_err(|source| AgentError::Make { path: path.clone(), source })
}
