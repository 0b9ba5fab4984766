//! The bootstrap configuration of a test's Envoy: as Istio's agent writes it, where a control plane can tell.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Value, json};

use super::EnvoyOptions;
use crate::agent::Agent;
use crate::certs::KeyPairPem;

/// The cluster that leads to the control plane (contract §6.2).
const XDS_CLUSTER: &str = "xds-grpc";

/// Who an Envoy says it is (contract §2.1).
#[derive(Clone, Debug)]
pub struct Node {
    /// `router` or `sidecar`.
    pub kind: String,
    /// Its address.
    pub ip: String,
    /// The pod.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// The workload's labels.
    pub labels: BTreeMap<String, String>,
    /// More metadata, over what is made of the above.
    pub metadata: BTreeMap<String, Value>,
    /// Region, zone and sub-zone.
    pub locality: (String, String, String),
}

impl Node {
    /// A gateway as Istio installs it: label `istio: ingressgateway`.
    #[must_use]
    pub fn router(name: &str, namespace: &str) -> Self {
        Self::new("router", name, namespace).label("istio", "ingressgateway")
    }

    /// The proxy beside a workload.
    #[must_use]
    pub fn sidecar(name: &str, namespace: &str) -> Self {
        Self::new("sidecar", name, namespace)
    }

    fn new(kind: &str, name: &str, namespace: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ip: "127.0.0.1".to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            locality: Default::default(),
        }
    }

    /// The same, with a label (replacing one of that key).
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same, with an entry of metadata (replacing one of that key).
    #[must_use]
    pub fn metadata(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// The same, at an address.
    #[must_use]
    pub fn ip(mut self, ip: &str) -> Self {
        ip.clone_into(&mut self.ip);
        self
    }

    /// The same, in a place.
    #[must_use]
    pub fn locality(mut self, region: &str, zone: &str, sub_zone: &str) -> Self {
        self.locality = (region.to_owned(), zone.to_owned(), sub_zone.to_owned());
        self
    }

    /// The node id.
    #[must_use]
    pub fn id(&self) -> String {
        let Self { kind, ip, name, namespace, .. } = self;
        format!("{kind}~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local")
    }

    fn to_json(&self) -> Value {
        let mut metadata = json!({
            "NAME": self.name,
            "NAMESPACE": self.namespace,
            "INSTANCE_IPS": self.ip,
            "CLUSTER_ID": "Kubernetes",
            "SERVICE_ACCOUNT": format!("{}-sa", self.name),
            "ISTIO_VERSION": "1.32.0",
            "LABELS": self.labels,
            "PROXY_CONFIG": {"concurrency": 1},
        });
        for (key, value) in &self.metadata {
            metadata[key] = value.clone();
        }
        let (region, zone, sub_zone) = &self.locality;
        json!({
            "id": self.id(),
            "cluster": format!("{}.{}", self.name, self.namespace),
            "locality": {"region": region, "zone": zone, "sub_zone": sub_zone},
            "metadata": metadata,
        })
    }
}

/// Which variant of xDS an Envoy speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdsTransport {
    /// Incremental.
    #[default]
    Delta,
    /// State of the world.
    Sotw,
}

/// The control plane, as an Envoy sees it.
#[derive(Clone, Debug)]
pub struct XdsServer {
    /// Where it is.
    pub address: SocketAddr,
    /// Which variant is spoken.
    pub transport: XdsTransport,
    /// TLS, if it is spoken.
    pub tls: Option<XdsTls>,
}

/// TLS towards the control plane.
#[derive(Clone, Debug)]
pub struct XdsTls {
    /// The name asked for and demanded of the server's certificate.
    pub server_name: String,
    /// Whom to trust, PEM.
    pub ca: String,
    /// The proxy's own certificate.
    pub identity: Option<KeyPairPem>,
}

impl XdsServer {
    /// A control plane spoken to incrementally, without TLS.
    #[must_use]
    pub fn plaintext(address: SocketAddr) -> Self {
        Self { address, transport: XdsTransport::Delta, tls: None }
    }

    fn dynamic_resources(&self) -> Value {
        let api_type = match self.transport {
            XdsTransport::Delta => "DELTA_GRPC",
            XdsTransport::Sotw => "GRPC",
        };
        let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
        json!({
            "cds_config": ads,
            "lds_config": ads,
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
            },
        })
    }

    fn cluster(&self) -> Value {
        let mut cluster = json!({
            "name": XDS_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": XDS_CLUSTER,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(self.address)}}]}],
            },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            },
        });
        if let Some(tls) = &self.tls {
            cluster["transport_socket"] = tls.transport_socket();
        }
        cluster
    }
}

impl XdsTls {
    fn transport_socket(&self) -> Value {
        let certificates: Vec<_> = self.identity.iter().map(certificate).collect();
        json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": self.server_name,
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "tls_certificates": certificates,
                    "validation_context": {
                        "trusted_ca": {"inline_string": self.ca},
                        "match_typed_subject_alt_names": [
                            {"san_type": "DNS", "matcher": {"exact": self.server_name}},
                        ],
                    },
                },
            },
        })
    }
}

fn certificate(pair: &KeyPairPem) -> Value {
    json!({"certificate_chain": {"inline_string": pair.cert}, "private_key": {"inline_string": pair.key}})
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// The bootstrap; what a control plane configures has an agent for its certificates.
pub(super) fn bootstrap(options: &EnvoyOptions, agent: Option<&Agent>) -> Value {
    let mut bootstrap = json!({
        "node": options.node.to_json(),
        // The port that it gets is read from the file named by --admin-address-path.
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "layered_runtime": {"layers": [
            {"name": "static", "static_layer": {"re2.max_program_size.error_level": 32768}},
            {"name": "admin", "admin_layer": {}},
        ]},
        "static_resources": if options.static_resources.is_null() { json!({}) } else { options.static_resources.clone() },
    });
    if let Some(xds) = &options.xds {
        bootstrap["dynamic_resources"] = xds.dynamic_resources();
    } else if let Some(folder) = &options.files {
        let source = |file| json!({"path_config_source": {"path": folder.join(file)}, "resource_api_version": "V3"});
        bootstrap["dynamic_resources"] =
            json!({"cds_config": source("clusters.json"), "lds_config": source("listeners.json")});
    }
    let more: Vec<_> = options.xds.iter().map(XdsServer::cluster).chain(agent.map(Agent::cluster)).collect();
    match bootstrap["static_resources"]["clusters"].as_array_mut() {
        Some(clusters) => clusters.extend(more),
        None => bootstrap["static_resources"]["clusters"] = more.into(),
    }
    bootstrap
}
