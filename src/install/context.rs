//! What is asked for, put together: everything that objects are made from.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    InstallError,
    images::{self, Images},
    tree::overlay,
    values::{Values, texts},
};
use crate::{
    api::{
        istio_operator::{IstioOperator, IstioOperatorSpec, Text},
        read,
    },
    webhook::inject,
};

/// The namespace of the control plane where none is said.
const NAMESPACE: &str = "istio-system";
/// The name of an IstioOperator that has none, as Istio's tools call it.
const NAMELESS: &str = "unknown";

/// Everything that objects are made from.
pub(super) struct Context {
    pub(super) spec: IstioOperatorSpec,
    pub(super) values: Values,
    pub(super) images: Images,
    /// The revision of the control plane; empty is the default one.
    pub(super) revision: String,
    /// The namespace of the control plane.
    pub(super) namespace: String,
    /// The IstioOperator: its name and namespace.
    pub(super) owner: (String, String),
    /// What injection is set up with, as it is told and as it is read.
    pub(super) injector: Injector,
    pub(super) injection: inject::Settings,
}

/// The ConfigMaps that injection reads.
pub(super) struct Injector {
    pub(super) mesh: Value,
    pub(super) config: Value,
    pub(super) values: Value,
}

impl Context {
    /// From a whole IstioOperator, the profile included; adds warnings.
    pub(super) fn new(mut tree: Value, warnings: &mut Vec<String>) -> Result<Self, InstallError> {
        let raw = tree.pointer("/spec/values").cloned().unwrap_or_else(|| json!({}));
        let values = read_values(&raw, warnings)?;
        if let Some(components) = tree.pointer_mut("/spec/components") {
            settle(components, &values);
        }
        let (object, unknown) =
            read::<IstioOperator>(&tree).map_err(|(path, reason)| InstallError::Value { path, reason })?;
        warnings.extend(unknown.iter().map(|path| format!("{path} is not known or not supported, and has no effect")));
        let IstioOperator { metadata, spec } = object;
        warn_of_components(&spec, warnings);
        let images = Images::of(
            spec.hub.as_ref().or(values.global.hub.as_ref()),
            spec.tag.as_ref().or(values.global.tag.as_ref()),
            warnings,
        );
        let said = |texts: [&Text; 2]| texts.into_iter().find(|text| !text.is_empty()).map(|text| text.0.clone());
        let namespace = said([&values.global.istio_namespace, &spec.namespace]).unwrap_or_else(|| NAMESPACE.to_owned());
        let revision = revision(said([&spec.revision, &values.revision]).unwrap_or_default())?;
        let owner = (
            metadata.name.unwrap_or_else(|| NAMELESS.to_owned()),
            metadata.namespace.unwrap_or_else(|| namespace.clone()),
        );
        let injector = Injector {
            mesh: mesh(&spec, &values, &namespace, &revision),
            config: config(&values, warnings)?,
            values: injected_values(raw, &images, &namespace, &revision, warnings),
        };
        let text = |value: &Value| value.to_string();
        let read = inject::Settings::read(&text(&injector.config), &text(&injector.values), &text(&injector.mesh))?;
        let injection = inject::Settings { revision: revision.clone(), ..read };
        warn_of_templates(&injection, warnings);
        Ok(Self { spec, values, images, revision, namespace, owner, injector, injection })
    }

    /// A name with the revision, if it is not the default one.
    pub(super) fn named(&self, name: &str) -> String {
        if self.revision.is_empty() { name.to_owned() } else { format!("{name}-{}", self.revision) }
    }

    /// The revision as labels have it.
    pub(super) fn revision_label(&self) -> &str {
        if self.revision.is_empty() { "default" } else { &self.revision }
    }
}

/// Reads values, and warns of those that nobody reads.
fn read_values(raw: &Value, warnings: &mut Vec<String>) -> Result<Values, InstallError> {
    let wrong = |(path, reason): (String, String)| InstallError::Value {
        path: format!("spec.values.{path}").trim_end_matches('.').to_owned(),
        reason,
    };
    let (values, unknown) = read::<Values>(raw).map_err(wrong)?;
    let (_, unknown_to_injection) = read::<inject::Values>(raw).map_err(wrong)?;
    let covers = |all: &[String], path: &str| {
        all.iter().any(|known| {
            path.strip_prefix(known.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    let neither = unknown
        .iter()
        .filter(|path| covers(&unknown_to_injection, path))
        .chain(unknown_to_injection.iter().filter(|path| covers(&unknown, path) && !unknown.contains(path)));
    warnings.extend(neither.map(|path| format!("spec.values.{path} is not known or not supported, and has no effect")));
    Ok(values)
}

/// Puts what values say of components beneath what the components say.
fn settle(components: &mut Value, values: &Values) {
    let global = &values.global;
    let usual = || {
        let mut usual = json!({"nodeSelector": texts(&global.default_node_selector)});
        overlay(&mut usual, json!({"resources": global.default_resources, "tolerations": global.default_tolerations}));
        for (key, text) in
            [("imagePullPolicy", &global.image_pull_policy), ("priorityClassName", &global.priority_class_name)]
        {
            if !text.is_empty() {
                usual[key] = text.0.as_str().into();
            }
        }
        usual
    };
    let settle = |component: &mut Value, said: Value| {
        let Some(component) = component.as_object_mut() else { return };
        let mut below = usual();
        overlay(&mut below, said);
        overlay(&mut below, component.get("k8s").cloned().unwrap_or_default());
        component.insert("k8s".to_owned(), below);
    };
    if let Some(pilot) = components.get_mut("pilot") {
        settle(pilot, values.pilot.settings());
    }
    for (key, said) in [("ingressGateways", &values.gateways.ingress), ("egressGateways", &values.gateways.egress)] {
        for gateway in components.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            settle(gateway, said.settings());
        }
    }
}

fn warn_of_components(spec: &IstioOperatorSpec, warnings: &mut Vec<String>) {
    let components = &spec.components;
    for (name, component) in
        [("cni", &components.cni), ("ztunnel", &components.ztunnel), ("istiodRemote", &components.istiod_remote)]
    {
        if component.enabled == Some(true) {
            warnings.push(format!("spec.components.{name} is not supported: nothing is installed for it"));
        }
    }
    if &*spec.profile == "remote" {
        warnings.push(
            "profile remote: only definitions are installed; a control plane in another cluster is not supported"
                .to_owned(),
        );
    }
    if !components.pilot.namespace.is_empty() {
        warnings.push(
            "spec.components.pilot.namespace has no effect: spec.namespace says where the control plane is".to_owned(),
        );
    }
}

fn revision(said: String) -> Result<String, InstallError> {
    let is_label = said.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !said.starts_with('-')
        && !said.ends_with('-')
        && said.len() <= 56;
    match said.as_str() {
        "default" => Ok(String::new()),
        _ if is_label => Ok(said),
        _ => Err(InstallError::Value {
            path: "spec.revision".to_owned(),
            reason: format!("{said:?} must be at most 56 lower-case letters, digits and \"-\", such as 1-23-0"),
        }),
    }
}

/// The mesh configuration: what clients of the control plane must find there, and what is said.
fn mesh(spec: &IstioOperatorSpec, values: &Values, namespace: &str, revision: &str) -> Value {
    let suffix = if revision.is_empty() { String::new() } else { format!("-{revision}") };
    let mut mesh = json!({
        "defaultConfig": {"discoveryAddress": format!("istiod{suffix}.{namespace}.svc:15012")},
        "enablePrometheusMerge": true,
        "rootNamespace": namespace,
        "trustDomain": "cluster.local",
    });
    overlay(&mut mesh, Value::Object(values.mesh_config.clone()));
    overlay(&mut mesh, Value::Object(spec.mesh_config.clone()));
    mesh
}

/// The injector's configuration.
fn config(values: &Values, warnings: &mut Vec<String>) -> Result<Value, InstallError> {
    let said = &values.sidecar_injector_webhook;
    let policy = match &*values.global.proxy.auto_inject {
        "" | "enabled" => "enabled",
        "disabled" => "disabled",
        other => {
            return Err(InstallError::Value {
                path: "spec.values.global.proxy.autoInject".to_owned(),
                reason: format!("{other:?} must be \"enabled\" or \"disabled\""),
            });
        }
    };
    let is_ours = |name: &str| ["sidecar", "gateway"].contains(&name);
    warnings.extend(said.templates.keys().filter(|name| is_ours(name)).map(|name| {
        format!(
            "spec.values.sidecarInjectorWebhook.templates.{name} is not used: mizzen has its own template of that name"
        )
    }));
    let own = said.templates.iter().filter(|(name, _)| !is_ours(name));
    let own: BTreeMap<_, _> = own.map(|(name, text)| (name, &text.0)).collect();
    let usual = vec!["sidecar".to_owned()];
    let default = if said.default_templates.is_empty() { &usual } else { &said.default_templates };
    Ok(json!({
        "policy": policy,
        "defaultTemplates": default,
        "templates": own,
        "alwaysInjectSelector": said.always_inject_selector,
        "neverInjectSelector": said.never_inject_selector,
        "injectedAnnotations": texts(&said.injected_annotations),
    }))
}

/// Pods that would be refused for a template are better told of now.
fn warn_of_templates(injection: &inject::Settings, warnings: &mut Vec<String>) {
    const FIELD: &str = "spec.values.sidecarInjectorWebhook";
    for (name, template) in &injection.templates {
        if let inject::Custom::Unusable(reason) = template {
            warnings.push(format!("{FIELD}.templates.{name} {reason}; Pods that are made with it are refused"));
        }
    }
    let is_there = |name: &str| ["sidecar", "gateway"].contains(&name) || injection.templates.contains_key(name);
    for name in injection.default_templates.iter().filter(|name| !is_there(name)) {
        warnings.push(format!("{FIELD}.defaultTemplates: there is no template {name:?}; Pods are refused"));
    }
}

/// The values, with what was decided here.
fn injected_values(raw: Value, images: &Images, namespace: &str, revision: &str, warnings: &mut Vec<String>) -> Value {
    for (pointer, part) in [("/global/proxy/image", "proxy"), ("/global/proxy_init/image", "proxy_init")] {
        let said = raw.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if images::is_name_of_istio(said) && said.contains('/') {
            warnings.push(format!("spec.values.global.{part}.image {said} is Istio's own, which is not used"));
        }
    }
    let image = |value: &Value, part: &str| {
        let said = value["global"][part]["image"].as_str().unwrap_or_default();
        if said.is_empty() || images::is_name_of_istio(said) { images::PROXY.to_owned() } else { said.to_owned() }
    };
    let decided = json!({
        "global": {
            "hub": images.hub,
            "tag": images.tag,
            "istioNamespace": namespace,
            "proxy": {"image": image(&raw, "proxy")},
            "proxy_init": {"image": image(&raw, "proxy_init")},
        },
        "revision": revision,
    });
    // What is said of the proxies' resources adds to what they have.
    let usual = inject::Values::default().global.proxy.resources;
    let mut all = json!({"global": {"proxy": {"resources": usual}}});
    overlay(&mut all, raw);
    overlay(&mut all, decided);
    // What decides on other objects changes nothing about Pods.
    let parts = ["global", "revision", "sidecarInjectorWebhook"];
    let kept: Map<String, Value> =
        parts.iter().filter_map(|part| Some(((*part).to_owned(), all.get(part)?.clone()))).collect();
    Value::Object(kept)
}
