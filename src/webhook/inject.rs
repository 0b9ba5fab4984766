//! Injection: what a Pod gains by which it takes part in the mesh (contract §5).
//!
//! ```text
//!  Pod ─ decide ─► former injection taken out ─► probes ─► template: proxy, init, volumes ─► what the Pod
//!        (no: as it is)                          metrics    (sidecar or gateway)              said itself wins
//!                                                                             ─► order, labels, status ─► Pod
//! ```

mod actions;
mod annotations;
mod checks;
mod decide;
mod gateway;
mod init;
pub mod live;
mod order;
mod otel;
mod probes;
mod prometheus;
mod proxy;
mod review;
pub mod serve;
mod settings;
mod sidecar;
mod status;
mod templates;
#[cfg(test)]
mod tests;
mod workload;

use k8s_openapi::{
    DeepMerge as _,
    api::core::v1::{Container, Pod},
};
use serde_json::Value;

pub use self::{
    decide::{Decision, decide},
    settings::{Part, Settings, SettingsError, Values},
    templates::Custom,
};
use self::{status::Before, templates::Plan, workload::Workload};
use crate::model::proxy_config::{ProxyConfig, ProxyConfigError};

/// The container of the proxy.
const PROXY: &str = "istio-proxy";
/// The init container that redirects traffic.
const INIT: &str = "istio-init";
/// An image that stands for that of the template.
const AUTO: &str = "auto";

/// Why a Pod cannot be injected.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// An annotation is wrong.
    #[error("annotation {name} of the Pod is {value:?}: it must be {expected}")]
    Annotation {
        /// Its name.
        name: String,
        /// What it says.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// The settings of the proxy are wrong.
    #[error("the settings of the proxy")]
    Config(#[from] ProxyConfigError),
    /// A template cannot be used.
    #[error("the template {name:?} {reason}")]
    Template {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A template with actions makes no Pod of this one.
    #[error("the template {name:?}")]
    Actions {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was put together is no Pod.
    #[error("the template {template} makes no Pod")]
    Fragment {
        /// Which.
        template: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What an earlier injection left cannot be read.
    #[error("annotation {name} of the Pod was not written by an injection")]
    Former {
        /// Which annotation.
        name: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// What is to be injected into.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// Its namespace.
    pub namespace: &'a str,
    /// More variables of the proxy, from the path of the webhook.
    pub variables: &'a [(String, String)],
}

/// What brings the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Template {
    Sidecar,
    Gateway,
}

/// Everything that templates are made with.
struct Context<'a> {
    settings: &'a Settings,
    target: &'a Target<'a>,
    config: ProxyConfig,
    workload: Workload,
    native: bool,
}

/// The Pod as it is to be; `None` leaves it as it is.
///
/// # Errors
/// An annotation or a setting is wrong: such a Pod must not start without its proxy.
pub fn inject(settings: &Settings, target: &Target<'_>) -> Result<Option<Pod>, InjectError> {
    if decide(settings, target.pod, target.namespace) != Decision::Inject {
        return Ok(None);
    }
    let before = Before::of(target.pod)?;
    let pod = before.without_injection(target.pod);
    let plan = Plan::of(settings, &pod)?;
    checks::check(&pod)?;
    let is_sidecar = plan.base == Some(Template::Sidecar);
    let config = ProxyConfig::new(&[
        ("the ProxyConfig of the mesh", &settings.default_config),
        ("the annotation proxy.istio.io/config", annotations::text(&pod, "proxy.istio.io/config")),
    ])?;
    let native =
        is_sidecar && annotations::flag(&pod, "sidecar.istio.io/nativeSidecar")?.unwrap_or(settings.native_sidecars);
    let workload = Workload::of(&pod, target.namespace);
    let original = target.pod;
    let target = Target { pod: &pod, ..*target };
    let context = Context { settings, target: &target, config, workload, native };
    let mut made = pod.clone();
    let own = before.overrides(&pod, native);
    own.take_out(&mut made);
    let former = |name| before.variable(original, name);
    let merged = if plan.base.is_some() { prometheus::merge(&context, &mut made)? } else { None };
    let prometheus = merged.or_else(|| former(prometheus::VARIABLE));
    let probes = if is_sidecar { probes::rewrite(&context, &mut made)? } else { None };
    let probes = probes.or_else(|| former(probes::VARIABLE));
    let variables = [prometheus, probes].into_iter().flatten().collect::<Vec<_>>();
    match plan.base {
        Some(Template::Sidecar) => made.merge_from(parsed(sidecar::fragment(&context, &variables)?, "sidecar")?),
        Some(Template::Gateway) => made.merge_from(parsed(gateway::fragment(&context, &variables)?, "gateway")?),
        None => {}
    }
    plan.lay_over(&context, &mut made)?;
    own.put_over(&mut made);
    order::apply(&context, &mut made);
    status::note(&context, plan.base, &pod, &own, &mut made);
    Ok(Some(made))
}

/// What is to be told of a Pod that is injected: annotations that change nothing.
#[must_use]
pub fn warnings(pod: &Pod) -> Vec<String> {
    checks::ignored(pod)
}

fn parsed(fragment: Value, template: &'static str) -> Result<Pod, InjectError> {
    serde_json::from_value(fragment).map_err(|source| InjectError::Fragment { template, source })
}

/// The container of a name among those of a Pod, init containers first.
fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|c| c.name == name)
}
