//! Builds what the control plane serves: reconcilers, engine and xDS server, joined by the traits that each defines.

mod attach;
mod debug;
mod feedback;
mod intake;
mod pace;
mod reviews;
mod secrets;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    attach::Attach,
    debug::Debug,
    feedback::{ChangeTimes, Refusals},
    intake::ToEngine,
    pace::Pace,
    reviews::Reviews,
    secrets::SecretPolicy,
};
use super::{
    control_plane::{Core, Parts, ServeBoth, Settings},
    http,
};
use crate::{
    engine::{Engine, Report},
    model::MeshConfig,
    reconcilers::{
        intake::{MeshSource, Reconcilers},
        mesh_config,
    },
    telemetry::{metrics::Metrics, problems::Problems},
    xds::{
        self,
        auth::{Access, TrustDomain},
        clients::Clients,
        listen::Socket,
        serve::{Transport, serve},
        server::{Services, Shared, services},
        tls::{self, Demands},
    },
};

/// How often the files with certificates are looked at.
const CERTIFICATE_POLL: Duration = Duration::from_secs(5);

/// Builds the core of a control plane.
///
/// # Errors
/// A part cannot be started.
pub(super) fn build(parts: Parts) -> anyhow::Result<Core> {
    let Parts { settings, cluster, readiness, metrics, problems, grpc, secure_grpc, shutdown } = parts;
    let reconcilers = Arc::new(reconcilers(&settings, &problems)?);
    let times = Arc::new(ChangeTimes::default());
    let trust_domain = Arc::new(TrustDomain::default());
    let observer = observer(problems.clone(), metrics.clone(), times.clone(), trust_domain.clone());
    let (engine, thread) = Engine::start(observer)?;
    let initial = reconcilers.initial();
    engine.change(move |db| initial.apply(db));
    let (refusals, verdicts) = Refusals::new(metrics.clone(), times.clone());
    let refusals = Arc::new(refusals);
    let reviews = cluster.map(|client| Arc::new(Reviews::new(client)));
    let shared = Arc::new(Shared {
        proxies: Arc::new(Attach { engine: engine.clone(), readiness }),
        feedback: refusals.clone(),
        secrets: Arc::new(SecretPolicy { reviews: reviews.clone() }),
        debug: Arc::new(debug::Pages { engine: engine.clone(), id: settings.pod_name.clone() }),
        access: Access { system_namespace: settings.system_namespace.clone(), trust_domain, ..Access::default() },
        settings: xds::Settings {
            barrier_timeout: settings.barrier_timeout,
            removal_linger: settings.removal_linger,
            discover_hosts: settings.discover_hosts,
        },
        shutdown: shutdown.clone(),
        clients: Clients::default(),
    });
    let mut core = Core {
        intake: Arc::new(ToEngine { reconcilers, engine: engine.clone(), metrics: metrics.clone(), times }),
        debug: Arc::new(Debug { engine: engine.clone(), shared: shared.clone(), refusals: refusals.clone() }),
        servers: Vec::new(),
        serve_both: None,
    };
    let transport = transport(&settings);
    if settings.addresses.grpc.is_empty() {
        core.serve_both = Some(serve_both(shared.clone(), &transport, shutdown.clone()));
    }
    if let Some(listener) = grpc {
        let run = run(Socket::of_listener(listener), shared.clone(), transport.clone(), shutdown.clone());
        core.servers.push(("gRPC server", Box::pin(run)));
    }
    if let (Some(listener), Some(files)) = (secure_grpc, &settings.tls) {
        let files = tls::Files {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            client_authority: files.client_ca.clone(),
            demands: Demands::new(&files.min_version, &files.cipher_suites).context("--secureGRPCAddr")?,
        };
        let (newest, config) = watch::channel(files.load().context("load the certificates of --secureGRPCAddr")?);
        core.servers.push(("certificate reload", Box::pin(reload(files, newest, shutdown.clone()))));
        let run = run(Socket::of_tls_listener(listener, config), shared.clone(), transport, shutdown.clone());
        core.servers.push(("secure gRPC server", Box::pin(run)));
    }
    if let Some(reviews) = reviews {
        core.servers.push(("reviews of access", Box::pin(review(reviews, shared.clone(), shutdown.clone()))));
    }
    let refusals = feedback::follow(refusals, verdicts, engine, problems, shutdown.clone());
    core.servers.push(("refusals", Box::pin(refusals)));
    core.servers.push(("counts", Box::pin(feedback::count(shared, metrics, shutdown.clone()))));
    core.servers.push(("engine", Box::pin(watch_thread(thread, shutdown))));
    Ok(core)
}

/// The reconcilers, with what the command line and the file of `--meshConfig` say of the mesh.
fn reconcilers(settings: &Settings, problems: &Problems) -> anyhow::Result<Reconcilers> {
    let base = MeshConfig {
        domain_suffix: settings.domain.as_str().into(),
        root_namespace: settings.system_namespace.as_str().into(),
        deny_unenforced: !settings.allow_unenforced_policy,
        auto_mtls: settings.auto_mtls,
        ..MeshConfig::default()
    };
    let file = &settings.mesh_config_file;
    let base = match std::fs::read_to_string(file) {
        Ok(text) => {
            let (made, found) = mesh_config::convert_file(&text, &file.to_string_lossy(), &base);
            found.iter().for_each(|p| problems.appeared(p));
            made.with_context(|| format!("read the mesh configuration {}", file.display()))?
        }
        // Its default path need not exist: the ConfigMap is where the mesh configuration usually is.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => base,
        Err(e) => return Err(e).with_context(|| format!("read the mesh configuration {}", file.display())),
    };
    let source = MeshSource {
        namespace: settings.system_namespace.as_str().into(),
        name: settings.mesh_config_map.as_str().into(),
    };
    Ok(Reconcilers::new(base, source))
}

fn observer(
    problems: Arc<Problems>,
    metrics: Arc<Metrics>,
    times: Arc<ChangeTimes>,
    trust_domain: Arc<TrustDomain>,
) -> crate::engine::Observer {
    let pace = Pace::current();
    Box::new(move |report: &Report<'_>| {
        report.trust_domain.iter().for_each(|now| trust_domain.set(now));
        times.closed(report.generation);
        metrics.services.set(report.services as i64);
        metrics.virtual_services.set(report.virtual_services as i64);
        metrics.engine_nodes.set(report.stats.nodes as i64);
        report.appeared.iter().for_each(|p| problems.appeared(p));
        report.vanished.iter().for_each(|p| problems.gone(p));
        tracing::debug!(generation = report.generation, concerned = report.concerned, stats = ?report.stats, "round");
        pace.wait(report.concerned);
    })
}

fn transport(settings: &Settings) -> Transport {
    Transport {
        keepalive_interval: settings.keepalive_interval,
        keepalive_timeout: settings.keepalive_timeout,
        max_connection_age: settings.max_connection_age,
        ..Transport::default()
    }
}

async fn run(
    socket: Socket,
    shared: Arc<Shared>,
    transport: Transport,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    serve(socket, services(shared).await, &transport, shutdown).await;
    Ok(())
}

async fn review(reviews: Arc<Reviews>, shared: Arc<Shared>, shutdown: CancellationToken) -> anyhow::Result<()> {
    reviews.run(&shared.clients, shutdown).await;
    Ok(())
}

/// Plain HTTP and gRPC on one socket (contract §1).
fn serve_both(shared: Arc<Shared>, transport: &Transport, shutdown: CancellationToken) -> ServeBoth {
    let transport = Transport { http1: true, ..transport.clone() };
    Box::new(move |listener, http| {
        let both = async move {
            let Services { ads, others } = services(shared).await;
            let others = http::with_grpc(http, others.into_axum_router()).into();
            serve(Socket::of_listener(listener), Services { ads, others }, &transport, shutdown).await;
            Ok(())
        };
        Box::pin(both)
    })
}

/// Takes in certificates that were replaced; broken ones are reported and the old ones stay.
async fn reload(
    files: tls::Files,
    newest: watch::Sender<Arc<rustls::ServerConfig>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let read = |files: &tls::Files| {
        let authority = files.client_authority.as_ref().map(std::fs::read).and_then(Result::ok);
        (std::fs::read(&files.certificate).ok(), std::fs::read(&files.key).ok(), authority)
    };
    let mut seen = read(&files);
    let mut ticks = tokio::time::interval(CERTIFICATE_POLL);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = read(&files);
        if now != seen {
            seen = now;
            match files.load() {
                Ok(config) => drop(newest.send_replace(config)),
                Err(error) => tracing::error!(%error, "the new certificates cannot be used; the old ones stay"),
            }
        }
    }
    Ok(())
}

/// Ends the process when the engine's thread ends.
async fn watch_thread(thread: std::thread::JoinHandle<()>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let joined = tokio::task::spawn_blocking(move || thread.join());
    match shutdown.run_until_cancelled(joined).await {
        None => Ok(()),
        Some(_) => anyhow::bail!("the engine stopped"),
    }
}
