//! The bootstrap of a stock Envoy (contract §6.2): what it must know to be configured, observed and drained.

mod stats;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, path::Path};

use serde_json::{Map, Value, json};

use super::node::{Node, Surroundings};
use crate::model::proxy_config::{ProxyConfig, ProxyConfigError};

/// The control plane, by way of the agent.
const XDS: &str = "xds-grpc";
/// The agent's secrets; configuration refers to it by this name.
const SDS: &str = "sds-grpc";
/// The agent's own pages.
const AGENT: &str = "agent";
/// Envoy's admin interface.
const PROMETHEUS: &str = "prometheus_stats";

/// As many connections and streams to the agent as Envoy likes.
const UNLIMITED: u32 = 100_000;

/// Types of what is compressed: metrics, as Prometheus asks for them.
const METRICS: [&str; 4] = [
    "text/plain",
    "application/vnd.google.protobuf",
    "application/openmetrics-text",
    "application/openmetrics-protobuf",
];

/// Bytes that an internal connection may hold, in KiB.
const INTERNAL_BUFFER: u32 = 64;

/// How Envoy's own log looks like in the pod's.
const LOG_FORMAT: &str = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t";

/// What a bootstrap is made of.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap<'a> {
    /// Who the proxy is.
    pub node: &'a Node,
    /// The pod.
    pub pod: &'a Surroundings,
    /// Its settings.
    pub config: &'a ProxyConfig,
    /// The socket of the agent's xDS.
    pub xds: &'a Path,
    /// The socket of the agent's secrets.
    pub secrets: &'a Path,
    /// Whether Envoy's log is JSON.
    pub log_as_json: bool,
}

impl Bootstrap<'_> {
    /// As JSON.
    ///
    /// # Errors
    /// A setting that it needs is wrong.
    pub fn to_json(&self) -> Result<Value, ProxyConfigError> {
        let (admin, status) = (self.config.port("proxyAdminPort")?, self.config.port("statusPort")?);
        let mut bootstrap = json!({
            "application_log_config": {"log_format": self.log_format()},
            "node": {
                "id": self.node.id,
                "cluster": self.node.cluster,
                "locality": self.node.locality,
                "metadata": self.node.metadata,
            },
            "layered_runtime": {"layers": [
                {"name": "global config", "static_layer": self.runtime()},
                {"name": "admin", "admin_layer": {}},
            ]},
            "bootstrap_extensions": [{
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
                    "buffer_size_kb": INTERNAL_BUFFER,
                },
            }],
            "stats_config": stats::config(self.pod, self.config),
            "admin": {
                "profile_path": "/var/lib/istio/data/envoy.prof",
                "address": socket(self.localhost(), admin),
            },
            "dynamic_resources": self.dynamic_resources(),
            "static_resources": {
                "clusters": [
                    cluster(PROMETHEUS, "0.250s", &socket(self.localhost(), admin)),
                    cluster(AGENT, "0.250s", &socket(self.localhost(), status)),
                    grpc_cluster(SDS, self.secrets),
                    xds_cluster(self.xds),
                ],
                "listeners": [
                    self.listener(self.pod.port("ENVOY_PROMETHEUS_PORT", 15090), "stats", "/stats/prometheus", PROMETHEUS, self.compressors()),
                    self.listener(self.pod.port("ENVOY_STATUS_PORT", 15021), "agent", "/healthz/ready", AGENT, Vec::new()),
                ],
            },
            "cluster_manager": {"enable_deferred_cluster_creation": true},
            "deferred_stat_options": {"enable_deferred_creation_stats": true},
        });
        if let Some(interval) = stats::flush_interval(self.pod) {
            bootstrap["stats_flush_interval"] = interval.into();
        }
        if let Some(interval) = stats::eviction_interval(self.pod) {
            bootstrap["stats_eviction_interval"] = interval.into();
        }
        if let Some(file) = self.node.metadata.get("OUTLIER_LOG_PATH") {
            bootstrap["cluster_manager"]["outlier_detection"] = json!({"event_log_path": file});
        }
        Ok(bootstrap)
    }

    fn log_format(&self) -> Value {
        if !self.log_as_json {
            return json!({"text_format": LOG_FORMAT});
        }
        json!({"json_format": {
            "time": "%Y-%m-%dT%T.%fZ", "level": "%l", "scope": "envoy %n", "msg": "%j", "caller": "%g:%#", "thread": "%t",
        }})
    }

    /// Runtime flags; those of the pod's settings win.
    fn runtime(&self) -> Value {
        let mut flags: Map<String, Value> = Map::new();
        // Tells Envoy that connections are not limited, which it would warn of otherwise.
        flags.insert("overload.global_downstream_max_connections".to_owned(), i32::MAX.to_string().into());
        // Regular expressions of routes may be long.
        flags.insert("re2.max_program_size.error_level".to_owned(), "32768".into());
        if let Some(set) = self.config.fields().get("runtimeValues").and_then(Value::as_object) {
            flags.extend(set.clone());
        }
        Value::Object(flags)
    }

    fn dynamic_resources(&self) -> Value {
        let is_incremental = self.pod.variable("ISTIO_DELTA_XDS") != "false";
        // Envoy waits as long as it takes: one that starts without configuration would refuse all.
        let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
        json!({
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": if is_incremental { "DELTA_GRPC" } else { "GRPC" },
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {
                    "cluster_name": XDS,
                    // Envoy would wait up to 30 s while workloads come and go that it does not hear of.
                    "retry_policy": {"retry_back_off": {"base_interval": "0.500s", "max_interval": "2s"}},
                }}],
            },
        })
    }

    /// What compresses metrics for who asks for that, the best first.
    fn compressors(&self) -> Vec<Value> {
        if !stats::compresses(self.pod, self.config) {
            return Vec::new();
        }
        ["Brotli", "Zstd", "Gzip"].map(compressor).into()
    }

    /// A listener that gives one page of a local server to the pod's network.
    fn listener(&self, port: u16, name: &str, page: &str, cluster: &str, mut filters: Vec<Value>) -> Value {
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }));
        let any: IpAddr = if self.pod.is_ipv6_only() { [0_u16; 8].into() } else { [0_u8; 4].into() };
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "codec_type": "AUTO",
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{
                "name": "backend",
                "domains": ["*"],
                "routes": [{"match": {"prefix": page}, "route": {"cluster": cluster}}],
            }]},
            "http_filters": filters,
        });
        json!({
            "name": format!("{any}_{port}"),
            "address": socket(any, port),
            // Probes and scrapes work under whatever load.
            "ignore_global_conn_limit": true,
            "bypass_overload_manager": true,
            "filter_chains": [{"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
            ]}],
        })
    }

    fn localhost(&self) -> IpAddr {
        localhost(self.pod)
    }
}

/// Loopback in the family of a pod.
#[must_use]
pub fn localhost(pod: &Surroundings) -> IpAddr {
    if pod.is_ipv6_only() { [0, 0, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() }
}

fn socket(address: IpAddr, port: u16) -> Value {
    json!({"socket_address": {"protocol": "TCP", "address": address, "port_value": port}})
}

/// A filter that compresses metrics by an algorithm.
fn compressor(algorithm: &str) -> Value {
    let name = algorithm.to_ascii_lowercase();
    let library = format!("type.googleapis.com/envoy.extensions.compression.{name}.compressor.v3.{algorithm}");
    json!({
        "name": format!("envoy.filters.http.compressor.{name}"),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor",
            "compressor_library": {"name": format!("stats_{name}"), "typed_config": {"@type": library}},
            "response_direction_config": {"common_config": {"content_type": METRICS}},
        },
    })
}

fn cluster(name: &str, timeout: &str, address: &Value) -> Value {
    json!({
        "name": name,
        // The name of its statistics ends with what the tags' expressions look for.
        "alt_stat_name": format!("{name};"),
        "type": "STATIC",
        "connect_timeout": timeout,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}

fn grpc_cluster(name: &str, path: &Path) -> Value {
    let mut cluster = cluster(name, "1s", &json!({"pipe": {"path": path}}));
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    cluster
}

fn xds_cluster(path: &Path) -> Value {
    let mut cluster = grpc_cluster(XDS, path);
    let threshold = |priority: &str| {
        json!({
            "priority": priority,
            "max_connections": UNLIMITED,
            "max_pending_requests": UNLIMITED,
            "max_requests": UNLIMITED,
        })
    };
    cluster["circuit_breakers"] = json!({"thresholds": [threshold("DEFAULT"), threshold("HIGH")]});
    // One stream each: the agent, too, opens a connection to the control plane for each.
    cluster["max_requests_per_connection"] = 1.into();
    cluster
}
