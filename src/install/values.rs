//! `values`, under the names of Istio's charts: those that decide on objects. What Pods depend on is read by injection too
//! (contract §5, §8).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{Affinity, ResourceRequirements, ServicePort, Toleration},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{common::FreeForm, istio_operator::Text};

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Values {
    pub(super) base: Base,
    /// The revision that Pods get which ask for none.
    pub(super) default_revision: Text,
    pub(super) gateways: Gateways,
    pub(super) global: Global,
    pub(super) mesh_config: FreeForm,
    pub(super) pilot: Workload,
    /// Other names of the revision.
    pub(super) revision_tags: Vec<Text>,
    pub(super) revision: Text,
    pub(super) sidecar_injector_webhook: Injector,
}

/// `base`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Base {
    /// Whether definitions are among the objects.
    #[serde(rename = "enableCRDTemplates")]
    pub(super) enable_crd_templates: bool,
    /// Definitions that are not.
    #[serde(rename = "excludedCRDs")]
    pub(super) excluded_crds: Vec<String>,
}

impl Default for Base {
    fn default() -> Self {
        Self { enable_crd_templates: true, excluded_crds: Vec::new() }
    }
}

/// `global`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Global {
    /// Whether objects are validated before they are stored; they are where nothing is said.
    pub(super) config_validation: Option<bool>,
    pub(super) default_pod_disruption_budget: Switch,
    pub(super) default_resources: Option<ResourceRequirements>,
    pub(super) default_tolerations: Option<Vec<Toleration>>,
    pub(super) default_node_selector: BTreeMap<String, Text>,
    pub(super) hub: Option<Text>,
    pub(super) tag: Option<Text>,
    pub(super) image_pull_policy: Text,
    pub(super) image_pull_secrets: Vec<String>,
    pub(super) istio_namespace: Text,
    pub(super) log_as_json: bool,
    pub(super) logging: Logging,
    pub(super) multi_cluster: MultiCluster,
    pub(super) omit_sidecar_injector_config_map: bool,
    pub(super) operator_manage_webhooks: bool,
    pub(super) pilot_cert_provider: Text,
    pub(super) priority_class_name: Text,
    pub(super) proxy: Proxy,
    #[serde(rename = "proxy_init")]
    pub(super) proxy_init: Image,
}

/// `global.proxy`, what is not for injection alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Proxy {
    /// Whether Pods that say nothing are injected: `enabled` or `disabled`.
    pub(super) auto_inject: Text,
    pub(super) cluster_domain: Text,
    pub(super) image: Text,
}

/// `global.proxy_init`, what is not for injection alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Image {
    pub(super) image: Text,
}

/// Whether something is there that usually is.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Switch {
    pub(super) enabled: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `global.logging`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Logging {
    pub(super) level: Text,
}

/// `global.multiCluster`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MultiCluster {
    pub(super) cluster_name: Text,
}

/// `gateways`: for all of a direction.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Gateways {
    #[serde(rename = "istio-ingressgateway")]
    pub(super) ingress: Workload,
    #[serde(rename = "istio-egressgateway")]
    pub(super) egress: Workload,
}

/// What may be said of the workload of a component.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Workload {
    pub(super) affinity: Option<Affinity>,
    pub(super) autoscale_enabled: bool,
    pub(super) autoscale_max: Option<i32>,
    pub(super) autoscale_min: Option<i32>,
    pub(super) cpu: Cpu,
    /// Variables by name.
    pub(super) env: BTreeMap<String, Text>,
    pub(super) extra_container_args: Vec<Text>,
    #[serde(rename = "externalIPs")]
    pub(super) external_ips: Option<Vec<String>>,
    pub(super) external_traffic_policy: Text,
    pub(super) hub: Option<Text>,
    pub(super) image: Text,
    pub(super) keepalive_max_server_connection_age: Text,
    /// Labels of Pods.
    pub(super) labels: BTreeMap<String, Text>,
    #[serde(rename = "loadBalancerIP")]
    pub(super) load_balancer_ip: Text,
    pub(super) load_balancer_source_ranges: Option<Vec<String>>,
    pub(super) node_selector: BTreeMap<String, Text>,
    pub(super) pod_annotations: BTreeMap<String, Text>,
    pub(super) pod_labels: BTreeMap<String, Text>,
    pub(super) ports: Option<Vec<ServicePort>>,
    pub(super) replica_count: Option<i32>,
    pub(super) resources: Option<ResourceRequirements>,
    pub(super) rolling_max_surge: Option<IntOrString>,
    pub(super) rolling_max_unavailable: Option<IntOrString>,
    pub(super) service_annotations: BTreeMap<String, Text>,
    pub(super) tag: Option<Text>,
    pub(super) tolerations: Option<Vec<Toleration>>,
    #[serde(rename = "type")]
    pub(super) service_type: Text,
}

/// `….cpu`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Cpu {
    pub(super) target_average_utilization: Option<i32>,
}

/// `sidecarInjectorWebhook`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Injector {
    pub(super) always_inject_selector: Vec<LabelSelector>,
    /// What Pods are made with that name no template.
    pub(super) default_templates: Vec<String>,
    pub(super) enable_namespaces_by_default: bool,
    pub(super) injected_annotations: BTreeMap<String, Text>,
    pub(super) never_inject_selector: Vec<LabelSelector>,
    pub(super) reinvocation_policy: Text,
    /// Templates of one's own, by name.
    pub(super) templates: BTreeMap<String, Text>,
}

/// How many Pods there are at most, and how busy their processors, where nothing is said.
const AT_MOST: i32 = 5;
const BUSY: i32 = 80;

impl Workload {
    /// The same as settings of a component (`k8s`), which win over these.
    pub(super) fn settings(&self) -> Value {
        let mut all = Map::new();
        let mut put = |key: &str, value: Value| match value {
            Value::Null => {}
            value => drop(all.insert(key.to_owned(), value)),
        };
        put("nodeSelector", texts(&self.node_selector));
        put("podAnnotations", texts(&self.pod_annotations));
        put("serviceAnnotations", texts(&self.service_annotations));
        put("env", self.env.iter().map(|(name, value)| json!({"name": name, "value": value.0})).collect());
        put("affinity", json!(self.affinity));
        put("resources", json!(self.resources));
        put("tolerations", json!(self.tolerations));
        put("replicaCount", json!(self.replica_count));
        put("hpaSpec", if self.autoscale_enabled { self.scaling() } else { Value::Null });
        put("strategy", self.strategy());
        put("service", self.service());
        Value::Object(all)
    }

    fn scaling(&self) -> Value {
        let busy = self.cpu.target_average_utilization.unwrap_or(BUSY);
        let target = json!({"type": "Utilization", "averageUtilization": busy});
        json!({
            "minReplicas": self.autoscale_min.unwrap_or(1),
            "maxReplicas": self.autoscale_max.unwrap_or(AT_MOST),
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        })
    }

    fn strategy(&self) -> Value {
        if self.rolling_max_surge.is_none() && self.rolling_max_unavailable.is_none() {
            return Value::Null;
        }
        let rolling = RollingUpdateDeployment {
            max_surge: self.rolling_max_surge.clone(),
            max_unavailable: self.rolling_max_unavailable.clone(),
        };
        json!(DeploymentStrategy { rolling_update: Some(rolling), type_: Some("RollingUpdate".to_owned()) })
    }

    fn service(&self) -> Value {
        let text = |text: &Text| if text.is_empty() { Value::Null } else { json!(text.0) };
        let fields = [
            ("type", text(&self.service_type)),
            ("externalTrafficPolicy", text(&self.external_traffic_policy)),
            ("loadBalancerIP", text(&self.load_balancer_ip)),
            ("externalIPs", json!(self.external_ips)),
            ("loadBalancerSourceRanges", json!(self.load_balancer_source_ranges)),
            ("ports", json!(self.ports)),
        ];
        let said: Map<String, Value> =
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.to_owned(), v)).collect();
        if said.is_empty() { Value::Null } else { Value::Object(said) }
    }
}

/// A map as a value.
pub(super) fn texts(map: &BTreeMap<String, Text>) -> Value {
    map.iter().map(|(key, text)| (key.clone(), json!(text.0))).collect()
}
