//! `mizzen discovery`: the control plane, under the flags of `pilot-discovery discovery` (contract §8).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgAction, Args};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    authority_args::AuthorityArgs,
    control_plane::{Addresses, ControlPlane, Settings, Source, StatusSettings, TlsFiles},
    core,
    injector_args::InjectorArgs,
    log_args::LogArgs,
    validator_args::ValidatorArgs,
    values::duration,
};
use crate::sources::kube::Scope;

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen discovery                                   in a pod: the pod's own cluster
  mizzen discovery --kubeconfig ~/.kube/config --grpcAddr 127.0.0.1:15010
  mizzen discovery --configDir manifests/samples --log_output_level default:debug";

/// Flags of the control plane. Those of `Compatibility` are accepted and have no effect.
#[derive(Args, Clone, Debug)]
pub(super) struct DiscoveryArgs {
    /// Read objects from this directory instead of a cluster
    #[arg(long = "configDir", value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Read objects from the cluster of this file; in a pod, the default is the pod's own cluster
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the control plane
    #[arg(short, long, env = "POD_NAMESPACE", default_value = "istio-system")]
    namespace: String,
    /// Revision of the control plane
    #[arg(long, env = "REVISION", default_value = "", hide = true)]
    revision: String,
    /// Mesh configuration, for when there is no ConfigMap `istio`
    #[arg(long = "meshConfig", value_name = "FILE", default_value = "./etc/istio/config/mesh")]
    mesh_config: PathBuf,
    /// DNS suffix of Kubernetes services
    #[arg(long, default_value = "cluster.local")]
    domain: String,
    /// Name of the cluster
    #[arg(long = "clusterID", env = "CLUSTER_ID", default_value = "Kubernetes")]
    cluster_id: String,
    /// Name of this replica, shown by proxy-status
    #[arg(long, env = "POD_NAME", default_value = "mizzen", value_name = "NAME")]
    pod_name: String,
    /// Where /ready and /debug are served
    #[arg(long = "httpAddr", value_name = "ADDR", default_value = ":8080")]
    http_addr: String,
    /// Where /metrics, /version and /debug are served; empty: on the HTTP address
    #[arg(long = "monitoringAddr", value_name = "ADDR", default_value = ":15014")]
    monitoring_addr: String,
    /// Where ADS is served without TLS
    #[arg(long = "grpcAddr", value_name = "ADDR", default_value = ":15010")]
    grpc_addr: String,
    /// Where ADS is served with TLS
    #[arg(long = "secureGRPCAddr", value_name = "ADDR", default_value = ":15012")]
    secure_grpc_addr: String,
    /// Certificate of the TLS server
    #[arg(long = "tlsCertFile", value_name = "FILE", requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Its private key
    #[arg(long = "tlsKeyFile", value_name = "FILE", requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// Certificates that client certificates are verified against
    #[arg(long = "caCertFile", value_name = "FILE", requires = "tls_cert_file")]
    ca_cert_file: Option<PathBuf>,
    /// Oldest version of TLS that is served, 1.2 or 1.3
    #[arg(long = "tls-min-version", value_name = "VERSION", default_value = "1.2")]
    tls_min_version: String,
    /// Cipher suites of TLS 1.2 that are served, by their IANA names; the default is all
    #[arg(long = "tls-cipher-suites", value_name = "NAME,…", value_delimiter = ',')]
    tls_cipher_suites: Vec<String>,
    /// How long to wait for open connections at the end
    #[arg(long = "shutdownDuration", default_value = "10s", value_parser = duration)]
    shutdown_duration: Duration,
    /// Between two keepalive pings of gRPC
    #[arg(long = "keepaliveInterval", default_value = "30s", value_parser = duration)]
    keepalive_interval: Duration,
    /// How long to wait for the answer to a ping
    #[arg(long = "keepaliveTimeout", default_value = "10s", value_parser = duration)]
    keepalive_timeout: Duration,
    /// How long a gRPC connection may live; the default is for ever
    #[arg(long = "keepaliveMaxServerConnectionAge", value_parser = duration)]
    max_connection_age: Option<Duration>,
    /// How long a route or listener waits for the endpoints of a new cluster that it leads to
    #[arg(long = "barrier-timeout", default_value = "10s", value_parser = duration)]
    barrier_timeout: Duration,
    /// How long a cluster stays after nothing leads to it any more, for requests that are under way
    #[arg(long = "removal-linger", default_value = "5s", value_parser = duration)]
    removal_linger: Duration,
    /// Serve workloads although a policy that selects them is not enforced yet
    #[arg(long = "allow-unenforced-policy")]
    allow_unenforced_policy: bool,
    /// Send virtual hosts one by one to sidecars that can take them (Envoy 1.40 and newer over incremental xDS)
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set)]
    vhds: bool,
    /// Whether a stream over TLS must prove who it is, by a certificate or a token
    #[arg(long = "xds-auth", value_name = "BOOL", env = "XDS_AUTH", default_value_t = true, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", action = ArgAction::Set, hide_short_help = true)]
    xds_auth: bool,
    #[command(flatten, next_help_heading = "Injection")]
    injector: InjectorArgs,
    #[command(flatten, next_help_heading = "Validation")]
    validator: ValidatorArgs,
    /// Write into the cluster on which proxies objects are live, and what proxies refuse
    #[arg(long = "write-status", value_name = "BOOL", env = "MIZZEN_WRITE_STATUS", default_value_t = true,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    write_status: bool,
    #[command(flatten, next_help_heading = "Certificate authority")]
    authority: AuthorityArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten, next_help_heading = "Accepted for existing manifests, without effect")]
    compatibility: CompatibilityArgs,
}

/// What istiod has a flag for and this control plane has no use for, or not yet.
#[derive(Args, Clone, Debug)]
struct CompatibilityArgs {
    #[arg(long, hide_short_help = true)]
    registries: Vec<String>,
    #[arg(long = "clusterRegistriesNamespace", hide_short_help = true)]
    cluster_registries_namespace: Option<String>,
    #[arg(long = "clusterAliases", hide_short_help = true)]
    cluster_aliases: Vec<String>,
    #[arg(long = "kubernetesApiQPS", hide_short_help = true)]
    kubernetes_api_qps: Option<f32>,
    #[arg(long = "kubernetesApiBurst", hide_short_help = true)]
    kubernetes_api_burst: Option<u32>,
    #[arg(long = "networksConfig", hide_short_help = true)]
    networks_config: Option<PathBuf>,
    #[arg(long = "cniNamespace", hide_short_help = true)]
    cni_namespace: Option<String>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = ArgAction::Set, hide_short_help = true)]
    profile: Option<bool>,
    #[arg(long = "ctrlz_address", hide_short_help = true)]
    ctrlz_address: Option<String>,
    #[arg(long = "ctrlz_port", hide_short_help = true)]
    ctrlz_port: Option<u16>,
}

impl CompatibilityArgs {
    /// Those that were given.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            // Kubernetes is the only registry that there is.
            ("registries", self.registries.iter().any(|r| r != "Kubernetes")),
            ("clusterRegistriesNamespace", self.cluster_registries_namespace.is_some()),
            ("clusterAliases", !self.cluster_aliases.is_empty()),
            ("kubernetesApiQPS", self.kubernetes_api_qps.is_some()),
            ("kubernetesApiBurst", self.kubernetes_api_burst.is_some()),
            ("networksConfig", self.networks_config.is_some()),
            ("cniNamespace", self.cni_namespace.is_some()),
            ("profile", self.profile.is_some()),
            ("ctrlz_address", self.ctrlz_address.is_some()),
            ("ctrlz_port", self.ctrlz_port.is_some()),
        ];
        flags.into_iter().filter_map(|(flag, given)| given.then_some(flag))
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// It cannot start, or a part of it failed.
pub(super) async fn run(args: DiscoveryArgs, unknown_flags: &[String]) -> anyhow::Result<()> {
    args.log.start()?;
    for flag in unknown_flags {
        tracing::warn!(flag, "unknown flag is ignored");
    }
    for flag in args.compatibility.given() {
        tracing::warn!(flag = format!("--{flag}"), "the flag has no effect");
    }
    let control_plane = ControlPlane::start(args.settings(), core::build).await?;
    let bound = control_plane.bound();
    let shown = |address: Option<std::net::SocketAddr>| address.map_or("-".to_owned(), |address| address.to_string());
    tracing::info!(
        grpc = shown(bound.grpc),
        secure_grpc = shown(bound.secure_grpc),
        https = shown(bound.https),
        http = shown(bound.http),
        monitoring = shown(bound.monitoring),
        "listening"
    );
    let stop = stop_signal()?;
    control_plane.run(stop).await
}

/// Waits for SIGTERM or SIGINT. The handlers are in place when it returns.
///
/// # Errors
/// The system does not allow handlers.
pub(super) fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Where manifests mount a Secret with the certificate of the TLS server, if there is one (contract §4.5).
const MOUNTED: &str = "./var/run/secrets/istiod";

/// The files of such a Secret, and the authority beside it.
fn mounted_files(directory: &Path) -> Option<TlsFiles> {
    let file = |name: &str| Some(directory.join(name)).filter(|path| path.exists());
    let (certificate, key) = (file("tls/tls.crt")?, file("tls/tls.key")?);
    Some(TlsFiles { certificate, key, client_ca: file("ca/root-cert.pem").or_else(|| file("tls/ca.crt")) })
}

impl DiscoveryArgs {
    fn settings(self) -> Settings {
        let mesh_config_map = match self.revision.as_str() {
            "" | "default" => "istio".to_owned(),
            revision => format!("istio-{revision}"),
        };
        let scope = Scope { system_namespace: self.namespace.clone(), mesh_config_map: mesh_config_map.clone() };
        let source = match self.config_dir {
            Some(directory) => Source::Files { directory, builtin: Vec::new() },
            // Manifests set the variable to nothing.
            None => Source::Kube { kubeconfig: self.kubeconfig.filter(|path| !path.as_os_str().is_empty()), scope },
        };
        let tls = self.tls_cert_file.zip(self.tls_key_file);
        let (revision, elect_leader) = (self.revision.clone(), self.authority.elect_leader);
        let status = self.write_status.then_some(StatusSettings { revision, elect_leader });
        let authority = match &source {
            Source::Kube { .. } => self.authority.settings(&self.namespace, &self.revision),
            // Nobody can tell whose a token is, and there is no place to keep a root in.
            Source::Files { .. } => None,
        };
        let injector = match &source {
            Source::Kube { .. } => self.injector.settings(&self.revision),
            // Nobody sends Pods.
            Source::Files { .. } => None,
        };
        let validator = Some(self.validator.settings(&self.revision));
        Settings {
            source,
            addresses: Addresses {
                http: self.http_addr,
                monitoring: self.monitoring_addr,
                grpc: self.grpc_addr,
                secure_grpc: self.secure_grpc_addr,
                https: self.injector.https_addr,
            },
            tls: tls.map_or_else(
                || mounted_files(Path::new(MOUNTED)),
                |(certificate, key)| Some(TlsFiles { certificate, key, client_ca: self.ca_cert_file }),
            ),
            tls_min_version: self.tls_min_version,
            tls_cipher_suites: self.tls_cipher_suites,
            authority,
            injector,
            validator,
            xds_auth: self.xds_auth,
            system_namespace: self.namespace,
            mesh_config_map,
            mesh_config_file: self.mesh_config,
            domain: self.domain,
            pod_name: self.pod_name,
            cluster_id: self.cluster_id,
            keepalive_interval: self.keepalive_interval,
            keepalive_timeout: self.keepalive_timeout,
            max_connection_age: self.max_connection_age,
            shutdown: self.shutdown_duration,
            barrier_timeout: self.barrier_timeout,
            removal_linger: self.removal_linger,
            allow_unenforced_policy: self.allow_unenforced_policy,
            status,
            auto_mtls: true,
            discover_hosts: self.vhds,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_mounted_certificate_is_found_with_its_authority() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| fs::write(&path, "")).expect("written");
            path
        };
        assert_eq!(mounted_files(dir.path()), None);
        let certificate = write("tls/tls.crt");
        assert_eq!(mounted_files(dir.path()), None, "without a key");
        let key = write("tls/tls.key");
        let found = || mounted_files(dir.path()).expect("there");
        let without = TlsFiles { certificate, key, client_ca: None };
        assert_eq!(found(), without);
        let beside = write("tls/ca.crt");
        assert_eq!(found(), TlsFiles { client_ca: Some(beside), ..without.clone() });
        let own = write("ca/root-cert.pem");
        assert_eq!(found(), TlsFiles { client_ca: Some(own), ..without });
    }
}
