//! What an agent needs to know, from flags, variables and files (contract §5.3, §6.1).

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    dns,
    envoy::Launch,
    identity::RsaKeys,
    names::Place,
    node::{Node, Role, Surroundings, host_name, server_name},
    status::Own,
};
use crate::model::proxy_config::{ProxyConfig, ProxyConfigError};

/// The port of a control plane without TLS.
const PLAINTEXT_PORT: &str = ":15010";

/// A drain that waits for the last connection takes at least so long.
const MINIMUM_DRAIN: Duration = Duration::from_secs(5);

/// What flags say.
#[derive(Clone, Debug)]
pub struct Flags {
    /// The kind of proxy.
    pub role: Role,
    /// The DNS domain of the pod's namespace.
    pub domain: String,
    /// The level of Envoy's log.
    pub log_level: String,
    /// The levels of parts of it.
    pub component_log_level: String,
    /// Whether logs are JSON.
    pub log_as_json: bool,
    /// How many threads handle connections; it wins over settings.
    pub concurrency: Option<u64>,
    /// RSA keys instead of ECDSA ones.
    pub rsa: Option<RsaKeys>,
    /// How long a certificate should be good.
    pub certificate_lifetime: Duration,
    /// Which part of its life may be left at its renewal.
    pub certificate_grace: f64,
    /// The pod's own servers of names.
    pub dns_servers: Vec<SocketAddr>,
    /// The first domain that its resolver tries names in; empty where there is none.
    pub dns_search: String,
}

/// A server of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `host:port`.
    pub address: String,
    /// Whom it must prove to be; without TLS it proves nothing.
    pub server_name: Option<String>,
    /// The authorities that are trusted.
    pub roots: PathBuf,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The kind of proxy.
    pub role: Role,
    /// The pod.
    pub pod: Surroundings,
    /// Its settings.
    pub config: ProxyConfig,
    /// Who the proxy is.
    pub node: Node,
    /// Where configuration comes from.
    pub control_plane: Peer,
    /// Where certificates come from.
    pub authority: Peer,
    /// The service account's token.
    pub token: PathBuf,
    /// The workload's identity.
    pub identity: String,
    /// RSA keys instead of ECDSA ones.
    pub rsa: Option<RsaKeys>,
    /// How long a certificate should be good.
    pub certificate_lifetime: Duration,
    /// Which part of its life may be left at its renewal.
    pub certificate_grace: f64,
    /// Whether Envoy's log is JSON.
    pub log_as_json: bool,
    /// The port of the agent's pages.
    pub status_port: u16,
    /// The port of Envoy's admin interface.
    pub admin_port: u16,
    /// The socket of configuration.
    pub xds_socket: PathBuf,
    /// The socket of secrets.
    pub secrets_socket: PathBuf,
    /// The server of names, where the workload's questions lead to the agent.
    pub dns: Option<Dns>,
    /// How Envoy is started.
    pub launch: Launch,
    /// How it ends.
    pub end: End,
}

/// A server of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Where it listens.
    pub places: Vec<SocketAddr>,
    /// The servers that questions are handed on to.
    pub servers: Vec<SocketAddr>,
    /// Where the workload is.
    pub place: Place,
}

/// How long connections may take to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So long.
    After(Duration),
    /// Until there is none, but at least so long.
    Idle(Duration),
}

impl Settings {
    /// Puts it together. `overlay` is what is laid over the bootstrap.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(
        flags: Flags,
        pod: Surroundings,
        mut config: ProxyConfig,
        overlay: Option<String>,
    ) -> Result<Self, ProxyConfigError> {
        // Zero is one for each processor; a limit of the container counts where nothing is said.
        let limit = pod.variable("ISTIO_CPU_LIMIT").parse().ok();
        let is_said = config.fields().contains_key("concurrency");
        if let Some(threads) = flags.concurrency.or(limit.filter(|_| !is_said)) {
            config.set("concurrency", threads);
        }
        let node = Node::new(flags.role, &flags.domain, &pod, &config);
        let roots = PathBuf::from(match pod.variable("PILOT_CERT_PROVIDER") {
            "kubernetes" => "./var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            _ => "./var/run/secrets/istio/root-cert.pem",
        });
        let (discovery, own) = (config.text("discoveryAddress").to_owned(), pod.variable("CA_ADDR"));
        let authority = if own.is_empty() { discovery.clone() } else { own.to_owned() };
        let is_plaintext = config.text("controlPlaneAuthPolicy") == "NONE" || discovery.ends_with(PLAINTEXT_PORT);
        let named = |variable: &str| Some(pod.variable(variable)).filter(|path| !path.is_empty()).map(PathBuf::from);
        let or = |variable: &str, usual: &str| {
            let value = pod.variable(variable);
            if value.is_empty() { usual.to_owned() } else { value.to_owned() }
        };
        let directory = PathBuf::from(config.text("configPath"));
        let identity = format!(
            "spiffe://{}/ns/{}/sa/{}",
            or("TRUST_DOMAIN", "cluster.local").replace('@', "."),
            or("POD_NAMESPACE", "default"),
            or("SERVICE_ACCOUNT", "default"),
        );
        Ok(Self {
            role: flags.role,
            control_plane: Peer {
                address: discovery,
                server_name: (!is_plaintext).then(|| server_name(&pod, &config)),
                roots: named("XDS_ROOT_CA").unwrap_or_else(|| roots.clone()),
            },
            authority: Peer {
                // One that is the control plane itself speaks as that does.
                server_name: (!(authority.ends_with(PLAINTEXT_PORT) || is_plaintext && own.is_empty()))
                    .then(|| or("CA_SNI", &host_name(&authority))),
                roots: named("CA_ROOT_CA").unwrap_or(roots),
                address: authority,
            },
            token: PathBuf::from("./var/run/secrets/tokens/istio-token"),
            identity,
            rsa: flags.rsa,
            certificate_lifetime: flags.certificate_lifetime,
            certificate_grace: flags.certificate_grace,
            log_as_json: flags.log_as_json,
            status_port: config.port("statusPort")?,
            admin_port: config.port("proxyAdminPort")?,
            xds_socket: directory.join("XDS"),
            secrets_socket: PathBuf::from("./var/run/secrets/workload-spiffe-uds")
                .join(or("WORKLOAD_IDENTITY_SOCKET_FILE", "socket")),
            dns: node.captures_dns().then(|| Dns {
                places: dns::places(&pod),
                servers: flags.dns_servers,
                place: Place::new(pod.variable("POD_NAMESPACE"), &flags.domain, &flags.dns_search),
            }),
            launch: Launch {
                binary: PathBuf::from(config.text("binaryPath")),
                bootstrap: directory.join("envoy-rev.json"),
                overlay,
                drain: config.duration("drainDuration")?,
                is_ipv6: pod.is_ipv6_only(),
                log_level: flags.log_level,
                component_log_level: flags.component_log_level,
                concurrency: config.concurrency(),
            },
            end: end(&pod, &config)?,
            node,
            pod,
            config,
        })
    }

    /// Whom metrics are about.
    #[must_use]
    pub fn workload(&self) -> Own {
        let name = self.node.metadata.get("WORKLOAD_NAME").and_then(serde_json::Value::as_str).unwrap_or_default();
        Own::new(&self.pod, name, self.cluster(), &self.identity)
    }

    /// The cluster that the pod is in.
    #[must_use]
    pub fn cluster(&self) -> &str {
        let named = self.node.metadata.get("CLUSTER_ID").and_then(serde_json::Value::as_str);
        named.filter(|name| !name.is_empty()).unwrap_or("Kubernetes")
    }
}

fn end(pod: &Surroundings, config: &ProxyConfig) -> Result<End, ProxyConfigError> {
    if pod.is_true("EXIT_ON_ZERO_ACTIVE_CONNECTIONS") || pod.is_true("ISTIO_META_EXIT_ON_ZERO_ACTIVE_CONNECTIONS") {
        let said = pod.variable("MINIMUM_DRAIN_DURATION").strip_suffix('s').and_then(|text| text.parse().ok());
        return Ok(End::Idle(said.map_or(MINIMUM_DRAIN, Duration::from_secs)));
    }
    let said = pod.variable("TERMINATION_DRAIN_DURATION_SECONDS").parse().ok().map(Duration::from_secs);
    match said {
        Some(said) => Ok(End::After(said)),
        None => config.duration("terminationDrainDuration").map(End::After),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)], config: &str) -> Settings {
        let flags = Flags {
            role: Role::Sidecar,
            domain: "shop.svc.cluster.local".to_owned(),
            log_level: "warning".to_owned(),
            component_log_level: "misc:error".to_owned(),
            log_as_json: false,
            concurrency: None,
            rsa: None,
            certificate_lifetime: Duration::from_secs(86_400),
            certificate_grace: 0.5,
            dns_servers: vec!["10.96.0.10:53".parse().expect("an address")],
            dns_search: "shop.svc.cluster.local".to_owned(),
        };
        let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let pod = Surroundings { variables, ..Surroundings::default() };
        Settings::new(flags, pod, ProxyConfig::new(&[("x", config)]).expect("a map"), None).expect("settings")
    }

    #[test]
    fn a_pod_without_a_word_speaks_tls_with_the_mesh() {
        let made = settings(&[("POD_NAMESPACE", "shop"), ("SERVICE_ACCOUNT", "web"), ("ISTIO_CPU_LIMIT", "3")], "");
        assert_eq!((&*made.identity, &made.dns), ("spiffe://cluster.local/ns/shop/sa/web", &None));
        assert_eq!(made.control_plane, made.authority);
        assert_eq!(made.control_plane.server_name.as_deref(), Some("istiod.istio-system.svc"));
        assert_eq!(made.launch.bootstrap, PathBuf::from("./etc/istio/proxy/envoy-rev.json"));
        assert_eq!((made.launch.concurrency, made.end), (Some(3), End::After(Duration::from_secs(5))));
        assert_eq!((made.status_port, made.admin_port, made.cluster()), (15020, 15000, "Kubernetes"));
    }

    #[test]
    fn what_is_said_counts() {
        let variables = [
            ("CA_ADDR", "ca.example:443"),
            ("ISTIOD_SAN", "istiod.other"),
            ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true"),
            ("MINIMUM_DRAIN_DURATION", "7s"),
            ("ISTIO_META_CLUSTER_ID", "east"),
            ("TRUST_DOMAIN", "a@b"),
            ("ISTIO_META_DNS_CAPTURE", "true"),
            ("ISTIO_CPU_LIMIT", "3"),
        ];
        let made = settings(&variables, "{discoveryAddress: 'localhost:15012', concurrency: 0}");
        assert_eq!(made.control_plane.server_name.as_deref(), Some("istiod.other"));
        assert_eq!(made.authority.server_name.as_deref(), Some("ca.example"));
        assert_eq!((made.end, made.cluster()), (End::Idle(Duration::from_secs(7)), "east"));
        assert_eq!((made.launch.concurrency, &*made.identity), (None, "spiffe://a.b/ns/default/sa/default"));
        let dns = made.dns.expect("a server of names");
        assert_eq!((dns.servers.len(), dns.places.len(), &*dns.place.domain), (1, 1, "shop.svc.cluster.local"));
        let plaintext = settings(&[], "{discoveryAddress: 'istiod.istio-system.svc:15010'}");
        assert_eq!((plaintext.control_plane.server_name, plaintext.authority.server_name), (None, None));
    }
}
