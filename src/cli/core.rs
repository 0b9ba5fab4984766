//! Builds what the control plane serves: reconcilers, engine and xDS server, joined by the traits that each defines.

mod attach;
mod authority;
mod debug;
mod duties;
mod feedback;
mod https;
mod intake;
mod pace;
mod reviews;
mod secrets;
mod secure;
mod serving;
mod status;
mod webhooks;

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    attach::Attach,
    authority::{Certificates, Connected, Mesh, MeshRead, Task},
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
    ca::service::CertificateService,
    engine::{Engine, Report},
    model::MeshConfig,
    pb::certificate::istio_certificate_service_server::IstioCertificateServiceServer,
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
    },
};

/// The service that signs certificates.
type Service = IstioCertificateServiceServer<CertificateService<Connected>>;

/// Builds the core of a control plane.
///
/// # Errors
/// A part cannot be started.
pub(super) fn build(mut parts: Parts) -> anyhow::Result<Core> {
    let (grpc, secure_grpc, https) = (parts.grpc.take(), parts.secure_grpc.take(), parts.https.take());
    let Parts { settings, cluster, readiness, metrics, problems, shutdown, .. } = &parts;
    let reconcilers = Arc::new(reconcilers(settings, problems)?);
    let times = Arc::new(ChangeTimes::default());
    let trust_domain = Arc::new(TrustDomain::default());
    let writes_status = cluster.clone().zip(settings.status.clone());
    let moves = writes_status.as_ref().map(|_| status::Moves::default());
    let discovery_host = watch::Sender::new(Arc::from(""));
    let names = discovery_host.subscribe();
    let of_mesh = OfMesh { trust_domain: trust_domain.clone(), discovery_host };
    let observer = observer(problems.clone(), metrics.clone(), times.clone(), of_mesh, moves.clone());
    let (engine, thread) = Engine::start(observer)?;
    let initial = reconcilers.initial();
    engine.change(move |db| initial.apply(db));
    let mesh_read = watch::Sender::new(false);
    let (refusals, verdicts) = Refusals::new(metrics.clone(), times.clone());
    let refusals = Arc::new(refusals);
    let mut servers: Vec<Task> = Vec::new();
    let certificates = settings.authority.clone().zip(cluster.clone()).map(|(authority, client)| {
        let mesh = MeshRead { read: mesh_read.subscribe(), engine: engine.clone() };
        let mesh = Mesh { first: mesh, trust_domain: trust_domain.subscribe(), discovery_host: names };
        let (certificates, task) = Certificates::new(&parts, authority, client, mesh);
        servers.push(task);
        certificates
    });
    let webhooks = webhooks::build(&parts, https, certificates.as_ref())?;
    servers.extend(webhooks.tasks);
    let of_mesh = certificates.iter().map(Certificates::distribution).collect();
    servers.extend(duties::task(duties::LOCK.to_owned(), of_mesh, cluster.as_ref(), &parts));
    let lock = duties::lock_of_revision(&webhooks.revision);
    servers.extend(duties::task(lock, webhooks.duties, cluster.as_ref(), &parts));
    let reviews = cluster.clone().map(|client| Arc::new(Reviews::new(client)));
    let shared = Arc::new(Shared {
        proxies: Arc::new(Attach { engine: engine.clone(), readiness: readiness.clone() }),
        feedback: refusals.clone(),
        secrets: Arc::new(SecretPolicy { reviews: reviews.clone() }),
        debug: Arc::new(debug::Pages {
            engine: engine.clone(),
            refusals: refusals.clone(),
            id: settings.pod_name.clone(),
        }),
        tokens: certificates.as_ref().map(Certificates::tokens),
        access: access(settings, trust_domain),
        settings: waits(settings),
        shutdown: shutdown.clone(),
        clients: Clients::default(),
    });
    let transport = transport(settings);
    let on_http = settings.addresses.grpc.is_empty();
    let serve_both = on_http.then(|| serve_both(shared.clone(), &transport, shutdown.clone()));
    if let Some(listener) = grpc {
        let run = run(Socket::of_listener(listener), shared.clone(), None, transport.clone(), shutdown.clone());
        servers.push(("gRPC server", Box::pin(run)));
    }
    if let Some(listener) = secure_grpc {
        servers.extend(secure::servers(listener, &parts, certificates.as_ref(), &shared, transport)?);
    }
    if let Some(reviews) = reviews {
        servers.push(("reviews of access", Box::pin(review(reviews, shared.clone(), shutdown.clone()))));
    }
    let following = feedback::follow(refusals.clone(), verdicts, engine.clone(), problems.clone(), shutdown.clone());
    servers.push(("refusals", Box::pin(following)));
    if let Some(((client, how), moves)) = writes_status.zip(moves.clone()) {
        servers.extend(status::tasks(&parts, &client, how, (&engine, &shared, &refusals), moves));
    }
    servers.push(("counts", Box::pin(feedback::count(shared.clone(), metrics.clone(), shutdown.clone()))));
    servers.push(("engine", Box::pin(watch_thread(thread, shutdown.clone()))));
    let metrics = metrics.clone();
    Ok(Core {
        intake: Arc::new(ToEngine {
            reconcilers,
            engine: engine.clone(),
            metrics,
            times,
            identities: moves.map(|moves| moves.identities),
            mesh_read,
        }),
        debug: Arc::new(Debug { engine, shared, refusals }),
        pages: webhooks.pages,
        servers,
        serve_both,
    })
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

/// What others than the engine follow of the mesh configuration.
struct OfMesh {
    trust_domain: Arc<TrustDomain>,
    discovery_host: watch::Sender<Arc<str>>,
}

impl OfMesh {
    fn tell(&self, report: &Report<'_>) {
        report.trust_domain.iter().for_each(|now| self.trust_domain.set(now));
        if let Some(now) = &report.discovery_host {
            self.discovery_host.send_if_modified(|known| {
                let differs = **known != **now;
                known.clone_from(now);
                differs
            });
        }
    }
}

fn observer(
    problems: Arc<Problems>,
    metrics: Arc<Metrics>,
    times: Arc<ChangeTimes>,
    mesh: OfMesh,
    moves: Option<status::Moves>,
) -> crate::engine::Observer {
    let pace = Pace::current();
    Box::new(move |report: &Report<'_>| {
        moves.iter().for_each(|moves| moves.tell(report));
        mesh.tell(report);
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

fn access(settings: &Settings, trust_domain: Arc<TrustDomain>) -> Access {
    let (system_namespace, require_identity) = (settings.system_namespace.clone(), settings.xds_auth);
    Access { require_identity, trust_domain, system_namespace }
}

fn waits(settings: &Settings) -> xds::Settings {
    xds::Settings {
        barrier_timeout: settings.barrier_timeout,
        removal_linger: settings.removal_linger,
        discover_hosts: settings.discover_hosts,
        ..xds::Settings::default()
    }
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
    certificates: Option<Service>,
    transport: Transport,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Services { ads, mut others } = services(shared).await;
    if let Some(service) = certificates {
        others = others.add_service(service);
    }
    serve(socket, Services { ads, others }, &transport, shutdown).await;
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

/// Ends the process when the engine's thread ends.
async fn watch_thread(thread: std::thread::JoinHandle<()>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let joined = tokio::task::spawn_blocking(move || thread.join());
    match shutdown.run_until_cancelled(joined).await {
        None => Ok(()),
        Some(_) => anyhow::bail!("the engine stopped"),
    }
}
