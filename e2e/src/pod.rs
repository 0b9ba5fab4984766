//! A pod on this machine: `mizzen agent` with a real Envoy, and an authority that signs its certificates.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Command, ExitStatus},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::stream::unfold;
use mizzen::pb::certificate::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{
    Request as Rpc, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};

use crate::{
    certs::{Authority, KeyPairPem},
    client::{Client, Reply, Request},
    envoy::Admin,
    mizzen::mizzen_program,
    ports::free_port,
    process::{Process, Signal},
    tools::tool,
    wait::{PATIENCE, eventually},
};

/// The name that the control plane proves.
pub const CONTROL_PLANE: &str = "istiod.istio-system.svc";

/// The token that the signer takes.
const TOKEN: &str = "a-token";

/// A control plane's service of certificates. Dropping it ends it.
#[derive(Debug)]
pub struct Signer {
    state: Arc<State>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    authority: Mutex<Arc<Authority>>,
    /// How long certificates are good.
    lifetime: Duration,
    refuses: AtomicBool,
    signed: AtomicU64,
}

impl Signer {
    /// Starts it, with certificates that are good for so long.
    ///
    /// # Errors
    /// When there is no port or no certificate.
    pub async fn start(authority: Arc<Authority>, own: &KeyPairPem, lifetime: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            authority: Mutex::new(authority),
            lifetime,
            refuses: AtomicBool::default(),
            signed: AtomicU64::default(),
        });
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(&own.cert, &own.key));
        let service = IstioCertificateServiceServer::new(Service(Arc::clone(&state)));
        let server = Server::builder().tls_config(tls)?.add_service(service);
        let mut tasks = JoinSet::new();
        let incoming = unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        tasks.spawn(async move {
            // The agent tells when it is not there.
            drop(server.serve_with_incoming(incoming).await);
        });
        Ok(Self { state, address, _tasks: tasks })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many certificates it has signed.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.state.signed.load(Ordering::Relaxed)
    }

    /// Refuses from now on, or does not.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Signs by another authority from now on.
    pub fn change(&self, authority: Arc<Authority>) {
        *self.state.authority.lock().unwrap_or_else(PoisonError::into_inner) = authority;
    }
}

struct Service(Arc<State>);

#[tonic::async_trait]
impl IstioCertificateService for Service {
    async fn create_certificate(
        &self,
        request: Rpc<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let header = |name: &str| request.metadata().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        if self.0.refuses.load(Ordering::Relaxed) {
            return Err(Status::unavailable("not now"));
        }
        if header("authorization").as_deref() != Some(&format!("Bearer {TOKEN}")) {
            return Err(Status::unauthenticated("no such token"));
        }
        if header("clusterid").as_deref() != Some("Kubernetes") {
            return Err(Status::invalid_argument("no such cluster"));
        }
        let authority = Arc::clone(&self.0.authority.lock().unwrap_or_else(PoisonError::into_inner));
        let name = "spiffe://cluster.local/ns/shop/sa/web";
        let signed = authority.sign(&request.get_ref().csr, name, self.0.lifetime);
        let signed = signed.map_err(|error| Status::invalid_argument(format!("{error:#}")))?;
        self.0.signed.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(IstioCertificateResponse { cert_chain: vec![signed, authority.pem().to_owned()] }))
    }
}

/// How a pod is started.
#[derive(Clone, Debug)]
pub struct PodOptions {
    /// `sidecar` or `router`.
    pub role: &'static str,
    /// Where configuration comes from.
    pub discovery: String,
    /// Where certificates come from.
    pub authority: Option<SocketAddr>,
    /// The service account's token.
    pub token: String,
    /// The roots that are mounted.
    pub roots: String,
    /// More fields of PROXY_CONFIG.
    pub config: Value,
    /// More variables.
    pub env: BTreeMap<String, String>,
    /// Labels of the pod.
    pub labels: Vec<(String, String)>,
}

impl PodOptions {
    /// A pod that is configured without TLS, and has no authority.
    #[must_use]
    pub fn plaintext(role: &'static str, discovery: SocketAddr) -> Self {
        Self {
            role,
            discovery: discovery.to_string(),
            authority: None,
            token: TOKEN.to_owned(),
            roots: String::new(),
            config: json!({"controlPlaneAuthPolicy": "NONE"}),
            env: BTreeMap::new(),
            labels: Vec::new(),
        }
    }

    /// The same, with a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same, with a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }
}

/// A running pod. Dropping it kills its agent, and Envoy.
#[derive(Debug)]
pub struct Pod {
    agent: Process,
    admin: Admin,
    ports: Ports,
    dir: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    admin: u16,
    status: u16,
    ready: u16,
    prometheus: u16,
}

impl Pod {
    /// Starts it and does not wait.
    ///
    /// # Errors
    /// When a program is missing or a file cannot be written.
    pub fn start(options: &PodOptions) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports = Ports { admin: free_port()?, status: free_port()?, ready: free_port()?, prometheus: free_port()? };
        write_files(dir.path(), options)?;
        let mut config = json!({
            "binaryPath": tool("envoy")?,
            "concurrency": 1,
            "discoveryAddress": options.discovery,
            "proxyAdminPort": ports.admin,
            "statusPort": ports.status,
        });
        if let (Some(all), Some(more)) = (config.as_object_mut(), options.config.as_object()) {
            all.extend(more.clone());
        }
        // As the link in the image is called.
        let link = dir.path().join("pilot-agent");
        std::os::unix::fs::symlink(mizzen_program()?, &link)?;
        let mut command = Command::new(link);
        command
            .args(["proxy", options.role, "--domain", "shop.svc.cluster.local", "--proxyLogLevel=warning"])
            .args(["--proxyComponentLogLevel=misc:error", "--log_output_level=default:info", "--unknown=1"])
            .current_dir(dir.path())
            .env("POD_NAME", "web-1")
            .env("POD_NAMESPACE", "shop")
            .env("SERVICE_ACCOUNT", "web")
            .env("INSTANCE_IP", "127.0.0.1")
            .env("ISTIO_META_CLUSTER_ID", "Kubernetes")
            .env("PROXY_CONFIG", config.to_string())
            .env("ENVOY_STATUS_PORT", ports.ready.to_string())
            .env("ENVOY_PROMETHEUS_PORT", ports.prometheus.to_string())
            .envs(&options.env);
        if let Some(authority) = options.authority {
            command.env("CA_ADDR", authority.to_string());
        }
        let agent = Process::spawn("agent", &mut command, dir.path())?;
        let admin = Admin::new(SocketAddr::from(([127, 0, 0, 1], ports.admin)));
        Ok(Self { agent, admin, ports, dir })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it is not so by the deadline, or ends.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let client = self.client(self.ports.ready);
        let ready = || async {
            let reply = client.send(&Request::get("/healthz/ready")).await?;
            ensure!(reply.status == 200, "{} {}", reply.status, reply.text());
            Ok(())
        };
        let waited = self.agent.until("the pod to be ready", PATIENCE, ready).await;
        waited.with_context(|| self.log())
    }

    /// A page of the agent.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn page(&self, request: &Request) -> Result<Reply> {
        self.client(self.ports.status).send(request).await
    }

    /// A page of Envoy's status listener or its Prometheus listener.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn envoy_page(&self, path: &str) -> Result<Reply> {
        let port = if path.starts_with("/stats") { self.ports.prometheus } else { self.ports.ready };
        self.client(port).send(&Request::get(path)).await
    }

    /// Envoy's metrics, for who takes this encoding.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics_in(&self, encoding: &str) -> Result<Reply> {
        let request = Request::get("/stats/prometheus").header("accept-encoding", encoding);
        self.client(self.ports.prometheus).send(&request).await
    }

    /// Envoy's admin interface.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The process id of its agent.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.agent.id()
    }

    /// Sends its agent a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.agent.signal(signal)
    }

    /// Waits for the end of its agent.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.agent.ended(PATIENCE).await
    }

    /// What agent and Envoy have logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.agent.stdout() + &self.agent.stderr()
    }

    /// Waits for a line of the log.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn logs(&self, part: &str) -> Result<()> {
        eventually(&format!("{part:?} in the log"), PATIENCE, || async {
            let log = self.log();
            ensure!(log.contains(part), "{log}");
            anyhow::Ok(())
        })
        .await
    }

    fn client(&self, port: u16) -> Client {
        Client::http(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

/// What a pod has mounted.
fn write_files(dir: &Path, options: &PodOptions) -> Result<()> {
    let labels = options.labels.iter().map(|(key, value)| format!("{key}={value:?}\n")).collect::<String>();
    for (file, text) in [
        ("etc/istio/pod/labels", labels.as_str()),
        ("etc/istio/pod/annotations", "istio.io/rev=\"default\"\n"),
        ("var/run/secrets/tokens/istio-token", options.token.as_str()),
        ("var/run/secrets/istio/root-cert.pem", &options.roots),
    ] {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}
