//! What an injector knows: the policy and the values of the ConfigMap `istio-sidecar-injector`, and the mesh's settings of
//! proxies (contract §5.1).

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::core::v1::{LocalObjectReference, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde::Deserialize;

use super::templates::{self, Custom};

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whether Pods are injected that say nothing.
    pub enabled: bool,
    /// Which of them are not.
    pub never_inject_selector: Vec<LabelSelector>,
    /// Which are, though Pods that say nothing are not.
    pub always_inject_selector: Vec<LabelSelector>,
    /// Annotations that every injected Pod gets.
    pub injected_annotations: BTreeMap<String, String>,
    /// Templates of one's own, by name.
    pub templates: BTreeMap<String, Custom>,
    /// Names of those that are not used: ours are called so.
    pub ignored_templates: Vec<&'static str>,
    /// Those of Pods that name none; none is `sidecar`.
    pub default_templates: Vec<String>,
    /// Other names of templates, and of several at once.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Values of the installation.
    pub values: Values,
    /// All of them, for templates.
    pub all_values: serde_json::Value,
    /// The mesh configuration, for templates.
    pub mesh_config: serde_json::Value,
    /// `meshConfig.defaultConfig`, as it is written.
    pub default_config: String,
    /// `meshConfig.trustDomain`.
    pub trust_domain: String,
    /// `meshConfig.enablePrometheusMerge`.
    pub merges_metrics: bool,
    /// The revision of the control plane; empty is the default one.
    pub revision: String,
    /// Whether the cluster starts containers that run beside the workload before it.
    pub native_sidecars: bool,
    /// What the control plane's variable `COMPLIANCE_POLICY` says; empty where it is not set.
    pub compliance_policy: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            never_inject_selector: Vec::new(),
            always_inject_selector: Vec::new(),
            injected_annotations: BTreeMap::new(),
            templates: BTreeMap::new(),
            ignored_templates: Vec::new(),
            default_templates: Vec::new(),
            aliases: BTreeMap::new(),
            values: Values::default(),
            all_values: serde_json::Value::Null,
            mesh_config: serde_json::Value::Null,
            default_config: String::new(),
            trust_domain: "cluster.local".to_owned(),
            merges_metrics: true,
            revision: String::new(),
            native_sidecars: true,
            compliance_policy: String::new(),
        }
    }
}

/// Why settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A text is no YAML of its kind.
    #[error("{part} cannot be read")]
    Syntax {
        /// Which.
        part: Part,
        /// Why.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// The policy is none.
    #[error("policy of the injector's configuration is {0:?}: it must be \"enabled\" or \"disabled\"")]
    Policy(String),
}

/// A text that settings are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The key `config` of the injector's ConfigMap.
    Config,
    /// Its key `values`.
    Values,
    /// The key `mesh` of the mesh's ConfigMap.
    Mesh,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "the injector's configuration",
            Self::Values => "the values of the installation",
            Self::Mesh => "the mesh configuration",
        })
    }
}

impl SettingsError {
    /// The text that is wrong.
    #[must_use]
    pub const fn part(&self) -> Part {
        match self {
            Self::Syntax { part, .. } => *part,
            Self::Policy(_) => Part::Config,
        }
    }
}

/// The key `config` of the ConfigMap.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    policy: String,
    never_inject_selector: Vec<LabelSelector>,
    always_inject_selector: Vec<LabelSelector>,
    injected_annotations: BTreeMap<String, String>,
    templates: BTreeMap<String, String>,
    default_templates: Vec<String>,
    aliases: BTreeMap<String, Vec<String>>,
}

/// What of the mesh configuration concerns Pods.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Mesh {
    trust_domain: Option<String>,
    enable_prometheus_merge: Option<bool>,
    default_config: serde_json::Map<String, serde_json::Value>,
}

impl Settings {
    /// From the keys `config` and `values` of the injector's ConfigMap and the key `mesh` of the mesh's; an empty text is
    /// none. The rest are defaults.
    ///
    /// # Errors
    /// One of them is not what it should be.
    pub fn read(config: &str, values: &str, mesh: &str) -> Result<Self, SettingsError> {
        let config: Config = read(Part::Config, config)?;
        let (all_values, mesh_config) = (read(Part::Values, values)?, read(Part::Mesh, mesh)?);
        let mesh: Mesh = read(Part::Mesh, mesh)?;
        let usual = Self::default();
        Ok(Self {
            enabled: match config.policy.as_str() {
                "" | "enabled" => true,
                "disabled" => false,
                other => return Err(SettingsError::Policy(other.to_owned())),
            },
            never_inject_selector: config.never_inject_selector,
            always_inject_selector: config.always_inject_selector,
            injected_annotations: config.injected_annotations,
            templates: templates::read(&config.templates),
            ignored_templates: templates::ignored(&config.templates),
            default_templates: config.default_templates,
            aliases: config.aliases,
            values: read(Part::Values, values)?,
            all_values,
            mesh_config,
            default_config: serde_json::Value::Object(mesh.default_config).to_string(),
            trust_domain: mesh.trust_domain.unwrap_or(usual.trust_domain),
            merges_metrics: mesh.enable_prometheus_merge.unwrap_or(usual.merges_metrics),
            ..usual
        })
    }
}

fn read<T: serde::de::DeserializeOwned + Default>(part: Part, text: &str) -> Result<T, SettingsError> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_yaml_ng::from_str(text).map_err(|source| SettingsError::Syntax { part, source })
}

/// Values of the installation, those of them that Pods depend on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Values {
    /// `global`.
    pub global: Global,
    /// `sidecarInjectorWebhook`.
    pub sidecar_injector_webhook: Webhook,
}

/// `values.global`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Global {
    /// Where images are.
    pub hub: String,
    /// Their tag.
    pub tag: String,
    /// Whether they are pulled each time; empty is what Kubernetes does.
    pub image_pull_policy: String,
    /// Secrets that they are pulled with.
    pub image_pull_secrets: Vec<String>,
    /// The namespace of the control plane.
    pub istio_namespace: String,
    /// `host:port` of the certificate authority; empty is the control plane.
    pub ca_address: String,
    /// Who issues the control plane's certificate.
    pub pilot_cert_provider: String,
    /// The mesh.
    #[serde(rename = "meshID")]
    pub mesh_id: String,
    /// The network of the cluster.
    pub network: String,
    /// Whether logs are JSON.
    pub log_as_json: bool,
    /// The levels of the agent's log.
    pub logging: Logging,
    /// `multiCluster`.
    pub multi_cluster: MultiCluster,
    /// The proxy.
    pub proxy: Proxy,
    /// The init container.
    #[serde(rename = "proxy_init")]
    pub proxy_init: ProxyInit,
    /// Tokens of the certificate authority.
    pub sds: Sds,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            hub: "mizzen".to_owned(),
            tag: env!("CARGO_PKG_VERSION").to_owned(),
            image_pull_policy: String::new(),
            image_pull_secrets: Vec::new(),
            istio_namespace: "istio-system".to_owned(),
            ca_address: String::new(),
            pilot_cert_provider: "istiod".to_owned(),
            mesh_id: String::new(),
            network: String::new(),
            log_as_json: false,
            logging: Logging::default(),
            multi_cluster: MultiCluster::default(),
            proxy: Proxy::default(),
            proxy_init: ProxyInit::default(),
            sds: Sds::default(),
        }
    }
}

/// `global.logging`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// `scope:level`, separated by commas.
    pub level: String,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: "default:info".to_owned() }
    }
}

/// `global.multiCluster`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MultiCluster {
    /// The name of the cluster; empty is `Kubernetes`.
    pub cluster_name: String,
}

/// `global.sds`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Sds {
    /// The tokens that proxies show.
    pub token: Token,
}

/// `global.sds.token`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Token {
    /// For whom they are.
    pub aud: String,
}

impl Default for Token {
    fn default() -> Self {
        Self { aud: "istio-ca".to_owned() }
    }
}

/// `global.proxy`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Proxy {
    /// The image: a name in the hub, or a whole reference.
    pub image: String,
    /// The domain of the cluster.
    pub cluster_domain: String,
    /// The level of Envoy's log.
    pub log_level: String,
    /// The levels of its components.
    pub component_log_level: String,
    /// What the proxy requests and is limited to.
    pub resources: ResourceRequirements,
    /// Whether the workload waits for the proxy.
    pub hold_application_until_proxy_starts: bool,
    /// Destinations that are redirected.
    #[serde(rename = "includeIPRanges")]
    pub include_ip_ranges: String,
    /// Destinations that are not.
    #[serde(rename = "excludeIPRanges")]
    pub exclude_ip_ranges: String,
    /// Ports of the workload that are redirected.
    pub include_inbound_ports: String,
    /// Ports of the workload that are not.
    pub exclude_inbound_ports: String,
    /// Ports of destinations that are redirected besides.
    pub include_outbound_ports: String,
    /// Ports of destinations that are not.
    pub exclude_outbound_ports: String,
    /// Whether the proxy is privileged.
    pub privileged: bool,
    /// How long until it is asked first whether it is ready, seconds.
    pub readiness_initial_delay_seconds: i32,
    /// How often it is asked, seconds.
    pub readiness_period_seconds: i32,
    /// How often it may say no.
    pub readiness_failure_threshold: i32,
    /// The same before it was ready once.
    pub startup_probe: StartupProbe,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            image: "mizzen-proxy".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            log_level: "warning".to_owned(),
            component_log_level: "misc:error".to_owned(),
            resources: usual_resources(),
            hold_application_until_proxy_starts: false,
            include_ip_ranges: "*".to_owned(),
            exclude_ip_ranges: String::new(),
            include_inbound_ports: "*".to_owned(),
            exclude_inbound_ports: String::new(),
            include_outbound_ports: String::new(),
            exclude_outbound_ports: String::new(),
            privileged: false,
            readiness_initial_delay_seconds: 0,
            readiness_period_seconds: 15,
            readiness_failure_threshold: 4,
            startup_probe: StartupProbe::default(),
        }
    }
}

fn usual_resources() -> ResourceRequirements {
    let quantities = |all: [(&str, &str); 2]| {
        use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
        Some(all.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into())
    };
    ResourceRequirements {
        requests: quantities([("cpu", "100m"), ("memory", "128Mi")]),
        limits: quantities([("cpu", "2000m"), ("memory", "1024Mi")]),
        ..ResourceRequirements::default()
    }
}

/// `global.proxy.startupProbe`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartupProbe {
    /// Whether there is one.
    pub enabled: bool,
    /// How often it may fail, once a second.
    pub failure_threshold: i32,
}

impl Default for StartupProbe {
    fn default() -> Self {
        Self { enabled: true, failure_threshold: 600 }
    }
}

/// `global.proxy_init`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProxyInit {
    /// The image, as that of the proxy.
    pub image: String,
    /// What it requests; empty is what the proxy does.
    pub resources: Option<ResourceRequirements>,
}

impl Default for ProxyInit {
    fn default() -> Self {
        Self { image: "mizzen-proxy".to_owned(), resources: None }
    }
}

/// `sidecarInjectorWebhook`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Webhook {
    /// Whether probes of the workload lead through the agent.
    #[serde(rename = "rewriteAppHTTPProbe")]
    pub rewrite_app_http_probe: bool,
}

impl Default for Webhook {
    fn default() -> Self {
        Self { rewrite_app_http_probe: true }
    }
}

impl Global {
    /// A whole reference of an image of the hub, in a variant; none is that of the tag.
    pub(super) fn image(&self, image: &str, variant: &str) -> String {
        if image.contains('/') || image.contains(':') {
            return image.to_owned();
        }
        let tag = tag(&self.tag, variant);
        if self.hub.is_empty() { format!("{image}:{tag}") } else { format!("{}/{image}:{tag}", self.hub) }
    }

    /// The Secrets that images are pulled with, if there are any.
    pub(super) fn pull_secrets(&self) -> Option<Vec<LocalObjectReference>> {
        let all: Vec<_> =
            self.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
        (!all.is_empty()).then_some(all)
    }
}

/// Variants of images that tags are known to end with.
const VARIANTS: [&str; 2] = ["-distroless", "-debug"];

/// The tag of a variant; that of `default` has no ending.
fn tag(tag: &str, variant: &str) -> String {
    let plain = VARIANTS.iter().find_map(|ending| tag.strip_suffix(ending)).unwrap_or(tag);
    match variant {
        "" => tag.to_owned(),
        "default" => plain.to_owned(),
        variant => format!("{plain}-{variant}"),
    }
}
