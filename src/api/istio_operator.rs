//! IstioOperator: what an installation is to be, as files and clusters hold it (`install.istio.io/v1alpha1`).
//!
//! Its content is read leniently: files are written for many versions of Istio, and a key that is not known here is told
//! and passed over. So its definition leaves the schema open, as Istio's does.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::{
        apps::v1::DeploymentStrategy,
        autoscaling::v2::HorizontalPodAutoscalerSpec,
        core::v1::{
            Affinity, EnvVar, PodSecurityContext, Probe, ResourceRequirements, ServiceSpec, Toleration, Volume,
            VolumeMount,
        },
        policy::v1::PodDisruptionBudgetSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use super::{common::FreeForm, is_unset};

/// Its API group.
pub const GROUP: &str = "install.istio.io";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// Its kind.
pub const KIND: &str = "IstioOperator";
/// Its name in URLs.
pub const PLURAL: &str = "istiooperators";

/// The object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioOperator {
    /// Its name and namespace, by which what it installs is found again.
    pub metadata: ObjectMeta,
    /// What it asks for.
    pub spec: IstioOperatorSpec,
}

/// What an installation is to be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioOperatorSpec {
    /// The profile that the rest is laid over.
    pub profile: Text,
    /// Where images are; `Some("")` is nowhere in particular: images are named without it.
    pub hub: Option<Text>,
    /// Their tag.
    pub tag: Option<Text>,
    /// The revision of the control plane; empty is the default one.
    pub revision: Text,
    /// The namespace of the control plane.
    pub namespace: Text,
    /// The mesh configuration.
    pub mesh_config: FreeForm,
    /// The parts of the installation.
    pub components: Components,
    /// Settings under the names that Istio's charts have.
    pub values: FreeForm,
}

/// The parts of an installation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Components {
    /// Definitions and what all others need.
    pub base: Component,
    /// The control plane.
    pub pilot: Component,
    /// Gateways for what comes in.
    pub ingress_gateways: Vec<Component>,
    /// Gateways for what goes out.
    pub egress_gateways: Vec<Component>,
    /// Redirection by the network of the nodes.
    pub cni: Component,
    /// The proxy of nodes.
    pub ztunnel: Component,
    /// A control plane in another cluster.
    pub istiod_remote: Component,
}

/// A part of an installation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Component {
    /// Whether it is installed.
    pub enabled: Option<bool>,
    /// Its name, of gateways.
    pub name: Text,
    /// Its namespace, of gateways; empty is that of the control plane.
    pub namespace: Text,
    /// Labels of its Pods, of gateways.
    pub label: BTreeMap<String, Text>,
    /// Where its image is, if elsewhere.
    pub hub: Option<Text>,
    /// The tag of its image, if another.
    pub tag: Option<Text>,
    /// Settings of its objects.
    pub k8s: KubernetesSettings,
}

/// Settings of the objects of a component, in the form that Kubernetes has for them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesSettings {
    /// Who may run beside whom.
    pub affinity: Option<Affinity>,
    /// Environment variables.
    pub env: Vec<EnvVar>,
    /// How the number of replicas follows the load.
    pub hpa_spec: Option<HorizontalPodAutoscalerSpec>,
    /// When images are pulled.
    pub image_pull_policy: Option<String>,
    /// Labels of nodes.
    pub node_selector: BTreeMap<String, Text>,
    /// How many must stay.
    pub pod_disruption_budget: Option<PodDisruptionBudgetSpec>,
    /// Annotations of Pods.
    pub pod_annotations: BTreeMap<String, Text>,
    /// Who is evicted first.
    pub priority_class_name: Option<String>,
    /// When a Pod counts as ready.
    pub readiness_probe: Option<Probe>,
    /// How many Pods there are.
    pub replica_count: Option<i32>,
    /// What a Pod requests and is limited to.
    pub resources: Option<ResourceRequirements>,
    /// The Service.
    pub service: Option<ServiceSpec>,
    /// Its annotations.
    pub service_annotations: BTreeMap<String, Text>,
    /// How Pods are replaced.
    pub strategy: Option<DeploymentStrategy>,
    /// Where Pods may run.
    pub tolerations: Option<Vec<Toleration>>,
    /// Rights of the Pod.
    pub security_context: Option<PodSecurityContext>,
    /// More volumes.
    pub volumes: Vec<Volume>,
    /// Where the container has them.
    pub volume_mounts: Vec<VolumeMount>,
    /// Patches of what comes out.
    pub overlays: Vec<Overlay>,
}

/// Patches of an object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Overlay {
    /// The group and version of the object; empty is any.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What is changed.
    pub patches: Vec<PathPatch>,
}

/// A change at a place of an object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathPatch {
    /// Where, such as `spec.template.spec.containers.[name:discovery].args.[0]`.
    pub path: String,
    /// What is there then; nothing removes what is there.
    pub value: Option<Value>,
}

/// A text, for which files also have numbers and words such as `true`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub String);

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// How an installation is, as the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioOperatorStatus {
    /// The worst of its parts.
    pub status: Health,
    /// What is wrong, or warned of.
    #[serde(skip_serializing_if = "is_unset")]
    pub message: String,
    /// Each part that is asked for: `Base`, `Pilot`, `IngressGateways`, `EgressGateways`.
    pub component_status: BTreeMap<String, ComponentStatus>,
    /// The `metadata.generation` that this is about.
    pub observed_generation: i64,
}

/// How a part of an installation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentStatus {
    /// How it is.
    pub status: Health,
    /// The version that installed it.
    #[serde(skip_serializing_if = "is_unset")]
    pub version: String,
    /// What is wrong.
    #[serde(skip_serializing_if = "is_unset")]
    pub error: String,
}

/// How something is, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Health {
    /// It is not asked for.
    #[default]
    None,
    /// It is there, and its Pods are ready.
    Healthy,
    /// It is written, and its Pods are not all ready.
    Reconciling,
    /// It cannot be written.
    Error,
}

/// The definition of the kind.
#[must_use]
pub fn definition() -> Value {
    let column = |name: &str, kind: &str, path: &str, description: &str| json!({"name": name, "type": kind, "jsonPath": path, "description": description});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "annotations": {"helm.sh/resource-policy": "keep"},
            "labels": {"release": "istio"},
            "name": format!("{PLURAL}.{GROUP}"),
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": format!("{KIND}List"),
                "plural": PLURAL,
                "shortNames": ["iop", "io"],
                "singular": KIND.to_ascii_lowercase(),
            },
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Revision", "string", ".spec.revision", "Revision of the control plane"),
                    column("Status", "string", ".status.status", "How the installation is"),
                    column("Age", "date", ".metadata.creationTimestamp", "Since when the object is there"),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "description": "What the installation is to be. Keys that are not known are passed over.",
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": true,
                        },
                        "status": {
                            "description": "How the installation is, by component.",
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": true,
                        },
                    },
                }},
            }],
        },
    })
}
