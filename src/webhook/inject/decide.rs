//! Whether a Pod is injected (contract §5.2).

use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use super::{
    annotations::{label, text},
    settings::Settings,
};

/// Says of a Pod whether it is injected, as a label or an annotation.
const INJECT: &str = "sidecar.istio.io/inject";

/// Where nothing is ever injected.
const IGNORED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Whether, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is.
    Inject,
    /// It uses the node's network, whose traffic is not to be redirected.
    HostNetwork,
    /// Its namespace is one of the system.
    IgnoredNamespace,
    /// It says that it is not to be.
    Refused,
    /// A selector of the settings says so.
    NeverSelected,
    /// The policy says so.
    Policy,
}

/// Decides about a Pod of a namespace, in Istio's order.
#[must_use]
pub fn decide(settings: &Settings, pod: &Pod, namespace: &str) -> Decision {
    if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
        return Decision::HostNetwork;
    }
    if IGNORED.contains(&namespace) {
        return Decision::IgnoredNamespace;
    }
    let said = match label(pod, INJECT) {
        "" => text(pod, INJECT),
        label => label,
    };
    match said.to_ascii_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => return Decision::Inject,
        "" => {}
        _ => return Decision::Refused,
    }
    let is_selected = |selectors: &[LabelSelector]| selectors.iter().any(|selector| selects(selector, pod));
    if is_selected(&settings.never_inject_selector) {
        return Decision::NeverSelected;
    }
    if settings.enabled || is_selected(&settings.always_inject_selector) { Decision::Inject } else { Decision::Policy }
}

/// An empty selector selects nothing here: nobody means all Pods.
fn selects(selector: &LabelSelector, pod: &Pod) -> bool {
    let labels = selector.match_labels.iter().flatten();
    let requirements = selector.match_expressions.iter().flatten();
    let any = labels.clone().next().is_some() || requirements.clone().next().is_some();
    let has = |name: &str| pod.metadata.labels.as_ref().and_then(|all| all.get(name));
    any && labels.clone().all(|(name, value)| has(name) == Some(value))
        && requirements.clone().all(|requirement| is_met(requirement, has(&requirement.key)))
}

fn is_met(requirement: &LabelSelectorRequirement, value: Option<&String>) -> bool {
    let is_one = || value.is_some_and(|value| requirement.values.iter().flatten().any(|v| v == value));
    match requirement.operator.as_str() {
        "In" => is_one(),
        "NotIn" => !is_one(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
