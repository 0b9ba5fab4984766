//! Which templates a Pod is made with: `sidecar` or `gateway`, which are ours, and those of one's own, which are laid over it
//! (contract §5.1, §5.2): Pods in YAML, or texts of Go's template language that make one.

use std::collections::BTreeMap;

use k8s_openapi::{DeepMerge as _, api::core::v1::Pod};

use super::{Context, InjectError, PROXY, Settings, Template, actions::Actions, annotations};

/// Names templates, separated by commas.
const ANNOTATION: &str = "inject.istio.io/templates";

/// A template of one's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Custom {
    /// What is laid over a Pod.
    Overlay(Box<Pod>),
    /// What makes that.
    Actions(Actions),
    /// Why it cannot be used.
    Unusable(String),
}

/// What a Pod is made with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan<'a> {
    /// What brings the proxy, if anything does.
    pub(super) base: Option<Template>,
    /// What is laid over it, in order, with its name.
    overlays: Vec<(&'a str, &'a Custom)>,
}

/// Those that are ours, whatever the ConfigMap says.
const OURS: [&str; 2] = ["sidecar", "gateway"];

/// Reads those of one's own.
pub(super) fn read(texts: &BTreeMap<String, String>) -> BTreeMap<String, Custom> {
    let custom = texts.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
    custom.map(|(name, text)| (name.clone(), read_one(text))).collect()
}

/// Those that are called as ours are.
pub(super) fn ignored(texts: &BTreeMap<String, String>) -> Vec<&'static str> {
    OURS.into_iter().filter(|name| texts.contains_key(*name)).collect()
}

fn read_one(text: &str) -> Custom {
    if text.contains("{{") {
        return Actions::read(text).map_or_else(|error| Custom::Unusable(error.to_string()), Custom::Actions);
    }
    match serde_yaml_ng::from_str(text) {
        Ok(pod) => Custom::Overlay(Box::new(pod)),
        Err(error) => Custom::Unusable(format!("is no Pod in YAML: {error}")),
    }
}

impl<'a> Plan<'a> {
    /// Those that the Pod names, else those of the settings, else `sidecar`.
    pub(super) fn of(settings: &'a Settings, pod: &Pod) -> Result<Self, InjectError> {
        let named = annotations::text(pod, ANNOTATION).split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut names: Vec<&str> = named.collect();
        if names.is_empty() {
            names = settings.default_templates.iter().map(String::as_str).collect();
        }
        if names.is_empty() {
            names.push("sidecar");
        }
        let mut plan = Self { base: None, overlays: Vec::new() };
        for name in names {
            match settings.aliases.get(name) {
                Some(others) => others.iter().try_for_each(|name| plan.add(settings, name))?,
                None => plan.add(settings, name)?,
            }
        }
        Ok(plan)
    }

    fn add(&mut self, settings: &'a Settings, name: &str) -> Result<(), InjectError> {
        let failed = |reason: &str| Err(InjectError::Template { name: name.to_owned(), reason: reason.to_owned() });
        let base = match name {
            "sidecar" => Template::Sidecar,
            "gateway" => Template::Gateway,
            _ => match settings.templates.get_key_value(name) {
                Some((_, Custom::Unusable(reason))) => return failed(reason),
                Some((name, custom)) => {
                    self.overlays.push((name, custom));
                    return Ok(());
                }
                None => {
                    return failed("is not there: there are sidecar, gateway, and those of the injector's ConfigMap");
                }
            },
        };
        if self.base.is_some_and(|other| other != base) {
            return failed("excludes the other one: a Pod is a sidecar's or a gateway");
        }
        self.base = Some(base);
        Ok(())
    }

    /// Lays them over the Pod. What they say of the proxy is for it, wherever it is.
    pub(super) fn lay_over(&self, context: &Context<'_>, pod: &mut Pod) -> Result<(), InjectError> {
        for (name, custom) in &self.overlays {
            let mut overlay = made(name, custom, context)?;
            if let Some(spec) = overlay.spec.as_mut().filter(|_| context.native) {
                let (proxy, others) = std::mem::take(&mut spec.containers).into_iter().partition(|c| c.name == PROXY);
                spec.containers = others;
                spec.init_containers.get_or_insert_default().extend::<Vec<_>>(proxy);
            }
            pod.merge_from(overlay);
        }
        Ok(())
    }
}

/// What a template lays over the Pod.
fn made(name: &str, custom: &Custom, context: &Context<'_>) -> Result<Pod, InjectError> {
    match custom {
        Custom::Overlay(pod) => Ok((**pod).clone()),
        Custom::Actions(actions) => actions
            .carry_out(context, context.target.pod)
            .map_err(|source| InjectError::Actions { name: name.to_owned(), source: Box::new(source) }),
        Custom::Unusable(reason) => Err(InjectError::Template { name: name.to_owned(), reason: reason.clone() }),
    }
}
