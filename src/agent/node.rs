//! Who a proxy says it is: id, cluster, metadata, locality (contract §2.1, §6.1).

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Map, Value, json};

use crate::model::proxy_config::ProxyConfig;

/// The API level of Istio that the control plane and its proxies speak: `proxyVersion` of an EnvoyFilter is matched
/// against it.
pub const ISTIO_API_LEVEL: &str = "1.32.0";

/// Variables with metadata as text, and as JSON that is merged.
const META: &str = "ISTIO_META_";
const META_JSON: &str = "ISTIO_METAJSON_";

/// A label of ReplicaSets that changes with every rollout and selects nothing.
const NOISE: &str = "pod-template-hash";

/// Labels that say where a workload runs.
const LOCALITY: [(&str, &str); 3] = [
    ("region", "topology.kubernetes.io/region"),
    ("zone", "topology.kubernetes.io/zone"),
    ("sub_zone", "topology.istio.io/subzone"),
];

/// The kind of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
}

impl Role {
    /// The first part of a node's id.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
        }
    }
}

/// What a pod is told about itself.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The pod's addresses, the first one first.
    pub addresses: Vec<IpAddr>,
}

impl Surroundings {
    /// A variable; nothing where it is not set.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether a variable says `true`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        matches!(self.variable(name), "true" | "1")
    }

    /// A port that a variable sets, or the usual one.
    #[must_use]
    pub fn port(&self, name: &str, usual: u16) -> u16 {
        self.variable(name).parse().unwrap_or(usual)
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    /// The first address; loopback where there is none.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.addresses.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]))
    }

    /// Whether there are addresses, and all are IPv6.
    #[must_use]
    pub fn is_ipv6_only(&self) -> bool {
        !self.addresses.is_empty() && self.addresses.iter().all(IpAddr::is_ipv6)
    }
}

/// Reads a file of the downward API: lines of `key="value"`.
#[must_use]
pub fn parse_pod_info(text: &str) -> BTreeMap<String, String> {
    let entries = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        // Escaped as in Go, which for what can stand there is as in JSON.
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.trim_matches('"').to_owned());
        Some((key.trim().to_owned(), value))
    });
    entries.collect()
}

/// A node, as the bootstrap has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `<role>~<ip>~<pod>.<namespace>~<domain>`.
    pub id: String,
    /// The name of the workload's group.
    pub cluster: String,
    /// Its metadata.
    pub metadata: Map<String, Value>,
    /// Region, zone and sub-zone.
    pub locality: Map<String, Value>,
}

impl Node {
    /// Whether the workload's questions for names lead to the agent.
    #[must_use]
    pub fn captures_dns(&self) -> bool {
        matches!(self.metadata.get("DNS_CAPTURE").and_then(Value::as_str), Some("true" | "1"))
    }

    /// Of a pod. `domain` is the DNS domain of its namespace.
    #[must_use]
    pub fn new(role: Role, domain: &str, pod: &Surroundings, config: &ProxyConfig) -> Self {
        let metadata = metadata(pod, config);
        let (name, namespace) = (pod.variable("POD_NAME"), pod.variable("POD_NAMESPACE"));
        let workload = metadata.get("WORKLOAD_NAME").and_then(Value::as_str);
        let app = pod.labels.get("app").map(String::as_str).filter(|app| !app.is_empty());
        let group = app.or(workload).unwrap_or("istio-proxy");
        let namespace = if namespace.is_empty() { "default" } else { namespace };
        let located = LOCALITY.iter().filter_map(|(part, label)| {
            let value = pod.labels.get(*label).filter(|value| !value.is_empty())?;
            Some(((*part).to_owned(), Value::from(value.as_str())))
        });
        Self {
            id: format!("{}~{}~{name}.{namespace}~{domain}", role.name(), pod.address()),
            cluster: format!("{group}.{namespace}"),
            locality: located.collect(),
            metadata,
        }
    }
}

fn metadata(pod: &Surroundings, config: &ProxyConfig) -> Map<String, Value> {
    let mut all = Map::new();
    // What the mesh or the pod sets for all proxies lies under what the pod's manifest sets.
    let given = config.proxy_metadata().chain(pod.variables.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    for (key, value) in given {
        if let Some(key) = key.strip_prefix(META) {
            all.insert(key.to_owned(), value.into());
        } else if key.starts_with(META_JSON) {
            match serde_json::from_str(value) {
                Ok(Value::Object(fields)) => all.extend(fields),
                _ => tracing::warn!("{key} is no map in JSON: it has no effect"),
            }
        }
    }
    let labels = |labels: &BTreeMap<String, String>| -> Value {
        labels
            .iter()
            .filter(|(key, _)| *key != NOISE)
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect()
    };
    if !pod.labels.is_empty() {
        all.insert("LABELS".to_owned(), labels(&pod.labels));
    }
    if !pod.annotations.is_empty() {
        all.insert("ANNOTATIONS".to_owned(), labels(&pod.annotations));
    }
    let addresses: Vec<_> = pod.addresses.iter().map(ToString::to_string).collect();
    for (key, value) in [
        ("NAME", pod.variable("POD_NAME")),
        ("NAMESPACE", pod.variable("POD_NAMESPACE")),
        ("SERVICE_ACCOUNT", pod.variable("SERVICE_ACCOUNT")),
        ("INSTANCE_IPS", &addresses.join(",")),
        ("ISTIO_VERSION", ISTIO_API_LEVEL),
    ] {
        if !value.is_empty() {
            all.insert(key.to_owned(), value.into());
        }
    }
    all.insert("ENVOY_STATUS_PORT".to_owned(), pod.port("ENVOY_STATUS_PORT", 15021).into());
    all.insert("ENVOY_PROMETHEUS_PORT".to_owned(), pod.port("ENVOY_PROMETHEUS_PORT", 15090).into());
    all.insert("PILOT_SAN".to_owned(), json!([server_name(pod, config)]));
    all.insert("PROXY_CONFIG".to_owned(), Value::Object(config.fields().clone()));
    all
}

/// The name that the control plane must prove (contract §6.3).
#[must_use]
pub fn server_name(pod: &Surroundings, config: &ProxyConfig) -> String {
    let named = pod.variable("ISTIOD_SAN");
    if !named.is_empty() {
        return named.to_owned();
    }
    host_name(config.text("discoveryAddress"))
}

/// The host of an address; this machine stands for the control plane's service.
#[must_use]
pub fn host_name(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    match host {
        "localhost" | "127.0.0.1" | "::1" => "istiod.istio-system.svc".to_owned(),
        host => host.to_owned(),
    }
}
