//! `mizzen standalone`: the control plane and a local Envoy gateway in one command, without a cluster.

mod admin;
mod envoy;
mod report;

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;

use self::{
    envoy::{Bootstrap, Envoy},
    report::Report,
};
use super::{
    control_plane::{Addresses, ControlPlane, Settings, Source},
    core,
    discovery::stop_signal,
};
use crate::{
    agent::sds::{self, PrivateSocket},
    telemetry::log::{self, Target},
    xds,
};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen standalone --configDir manifests/samples
  mizzen standalone --configDir config --envoy /opt/envoy/bin/envoy";

/// Flags of `mizzen standalone`.
#[derive(Args, Clone, Debug)]
pub(super) struct StandaloneArgs {
    /// Directory of YAML and JSON files with Kubernetes and Istio objects; watched for changes
    #[arg(long = "configDir", value_name = "DIR")]
    config_dir: PathBuf,
    /// The Envoy binary; the default is `envoy` on PATH
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// Where a Gateway's port 80 listens; the default is 80, or 8080 if that is not allowed
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Where a Gateway's port 443 listens; the default is 443, or 8443 if that is not allowed
    #[arg(long, value_name = "PORT")]
    https_port: Option<u16>,
    /// Namespace of the gateway: credentials of Gateways are read from its Secrets
    #[arg(short, long, default_value = "istio-system")]
    namespace: String,
    /// Port of Envoy's admin interface on loopback
    #[arg(long, value_name = "PORT", default_value_t = 15000)]
    admin_port: u16,
    /// Port of the control plane's ADS on loopback; 0 is any
    #[arg(long, value_name = "PORT", default_value_t = 15010)]
    grpc_port: u16,
    /// Port of the control plane's /ready, /metrics and /debug on loopback; 0 is any
    #[arg(long, value_name = "PORT", default_value_t = 15014)]
    monitoring_port: u16,
    /// Serve workloads although a policy that selects them is not enforced yet
    #[arg(long = "allow-unenforced-policy")]
    allow_unenforced_policy: bool,
    /// Levels of the log, which goes to standard error
    #[arg(long = "log_output_level", value_name = "SCOPE:LEVEL,…", default_value = "default:error")]
    log_output_level: String,
}

/// How long open requests may take at the end.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// There is no Envoy, an address is in use, or a part failed.
pub(super) async fn run(args: StandaloneArgs) -> anyhow::Result<()> {
    log::start(&args.log_output_level, false, Target::Stderr)?;
    let binary = envoy::find(args.envoy.as_deref())?;
    let (http, https) = (args.http_port.unwrap_or(port_or(80, 8080)), args.https_port.unwrap_or(port_or(443, 8443)));
    let stop = stop_signal()?;
    let control_plane = ControlPlane::start(args.settings(http, https), core::build).await?;
    let bound = control_plane.bound();
    let ads = bound.grpc.context("ADS does not listen")?;
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, args.admin_port));
    let secrets = PrivateSocket::bind(&std::env::temp_dir()).context("listen for Envoy's requests for secrets")?;
    let bootstrap = Bootstrap { namespace: &args.namespace, ads, secrets: &secrets.path(), admin };
    let mut envoy = Envoy::start(binary, &bootstrap.to_json())?;
    let mut out = io::stdout();
    writeln!(out, "reading      {}", args.config_dir.display())?;
    writeln!(out, "gateway      port 80 on {http}, port 443 on {https}, labels istio=ingressgateway")?;
    if let Some(monitoring) = bound.monitoring {
        writeln!(out, "status       http://{monitoring}/debug, /metrics, /ready")?;
    }
    writeln!(out, "envoy admin  http://{admin}")?;
    let report = Report::new(control_plane.problems(), admin);
    let ended = CancellationToken::new();
    let (stopped, supervised) = (ended.clone(), envoy.supervise());
    let secrets = sds::serve(secrets, Arc::new(sds::Files::default()), ended.clone().cancelled_owned());
    let result = tokio::select! {
        result = control_plane.run(async { tokio::select! { () = stop => {}, () = stopped.cancelled() => {} } }) => result,
        result = supervised => result,
        result = report.run(&mut out) => result,
        result = secrets => result.context("serve secrets"),
    };
    envoy.stop(admin).await;
    result
}

impl StandaloneArgs {
    fn settings(&self, http: u16, https: u16) -> Settings {
        let local = |port: u16| format!("127.0.0.1:{port}");
        let waits = xds::Settings::default();
        Settings {
            source: Source::Files {
                directory: self.config_dir.clone(),
                builtin: gateway_service(&self.namespace, http, https),
            },
            addresses: Addresses {
                http: String::new(),
                monitoring: local(self.monitoring_port),
                grpc: local(self.grpc_port),
                secure_grpc: String::new(),
                https: String::new(),
            },
            tls: None,
            tls_min_version: "1.2".to_owned(),
            tls_cipher_suites: Vec::new(),
            authority: None,
            injector: None,
            validator: None,
            xds_auth: true,
            system_namespace: "istio-system".to_owned(),
            mesh_config_map: "istio".to_owned(),
            mesh_config_file: PathBuf::new(),
            domain: "cluster.local".to_owned(),
            pod_name: "mizzen-standalone".to_owned(),
            cluster_id: envoy::CLUSTER_ID.to_owned(),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_connection_age: None,
            shutdown: SHUTDOWN,
            barrier_timeout: waits.barrier_timeout,
            removal_linger: waits.removal_linger,
            allow_unenforced_policy: self.allow_unenforced_policy,
            // Nobody gives workloads certificates here.
            status: None,
            auto_mtls: false,
            discover_hosts: true,
        }
    }
}

/// The privileged port if this process may bind it, else the other.
fn port_or(privileged: u16, other: u16) -> u16 {
    match StdListener::bind((Ipv4Addr::LOCALHOST, privileged)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => other,
        _ => privileged,
    }
}

/// The gateway's Service, as an installation in a cluster has one: it says which of Envoy's ports a port of a Gateway
/// is. One in the files, of the same name, counts instead.
fn gateway_service(namespace: &str, http: u16, https: u16) -> Vec<u8> {
    let port = |name: &str, port: u16, target: u16| {
        format!("  - {{name: {name}, port: {port}, targetPort: {target}, protocol: TCP}}\n")
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: istio-ingressgateway, namespace: {namespace}}}\n\
         spec:\n  selector: {{istio: ingressgateway}}\n  ports:\n{}{}",
        port("http2", 80, http),
        port("https", 443, https),
    )
    .into_bytes()
}
