//! `mizzen inject`: what the webhook would do to objects, without a cluster.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::webhook::inject::{Settings, Target, inject, warnings};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen inject -f deployment.yaml | kubectl apply -f -
  kubectl get deployment web -o yaml | mizzen inject -f - --valuesFile values.yaml";

/// Put the proxy into the Pods of workloads, and print them.
#[derive(Args, Clone, Debug)]
pub(super) struct InjectArgs {
    /// A file of objects; `-` is the standard input.
    #[arg(short, long, value_name = "FILE", required = true)]
    filename: Vec<PathBuf>,
    /// A file with the mesh configuration, as it is in the key `mesh` of its ConfigMap.
    #[arg(long = "meshConfigFile", value_name = "FILE")]
    mesh_config_file: Option<PathBuf>,
    /// A file with the injector's configuration, as it is in the key `config` of its ConfigMap.
    #[arg(long = "injectConfigFile", value_name = "FILE")]
    inject_config_file: Option<PathBuf>,
    /// A file with the values of the installation.
    #[arg(long = "valuesFile", value_name = "FILE")]
    values_file: Option<PathBuf>,
    /// The revision of the control plane.
    #[arg(long, default_value = "")]
    revision: String,
    /// The namespace of objects that tell none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

/// The folder of kinds within which there is a template of Pods.
const TEMPLATES: [(&str, &str); 7] = [
    ("Deployment", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("Job", "/spec/template"),
    ("ReplicationController", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
];

impl InjectArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A file cannot be read, or an object cannot be injected.
    pub(super) fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let settings = Settings { revision: self.revision.clone(), ..self.settings()? };
        for name in &settings.ignored_templates {
            writeln!(std::io::stderr(), "Warning: the template {name:?} is not used: mizzen has its own of that name")?;
        }
        for file in &self.filename {
            let text = match file.to_str() {
                Some("-") => std::io::read_to_string(std::io::stdin()).context("read the standard input")?,
                _ => fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?,
            };
            for document in serde_yaml_ng::Deserializer::from_str(&text) {
                let object = Value::deserialize(document).with_context(|| format!("read {}", file.display()))?;
                if !object.is_null() {
                    let made = self.with_proxy(&settings, object)?;
                    write!(out, "---\n{}", serde_yaml_ng::to_string(&made)?)?;
                }
            }
        }
        Ok(())
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let read = |file: &Option<PathBuf>| match file {
            Some(file) => fs::read_to_string(file).with_context(|| format!("read {}", file.display())),
            None => Ok(String::new()),
        };
        let (config, values, mesh) =
            (read(&self.inject_config_file)?, read(&self.values_file)?, read(&self.mesh_config_file)?);
        Ok(Settings::read(&config, &values, &mesh)?)
    }

    /// An object with the proxy; as it is when it has no Pods, or they are not injected.
    fn with_proxy(&self, settings: &Settings, mut object: Value) -> anyhow::Result<Value> {
        let text =
            |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (text(&object, "/kind"), text(&object, "/metadata/name"));
        if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut).filter(|_| kind == "List") {
            for item in items {
                *item = self.with_proxy(settings, item.take())?;
            }
            return Ok(object);
        }
        let Some(path) =
            TEMPLATES.iter().find(|(k, _)| *k == kind).map(|(_, path)| *path).or((kind == "Pod").then_some(""))
        else {
            return Ok(object);
        };
        let namespace = match text(&object, "/metadata/namespace") {
            none if none.is_empty() => self.namespace.clone(),
            own => own,
        };
        let what = format!("{kind} {namespace}/{name}");
        let owner = OwnerReference {
            api_version: text(&object, "/apiVersion"),
            kind: kind.clone(),
            name,
            controller: Some(true),
            ..OwnerReference::default()
        };
        let Some(template) = object.pointer_mut(path).filter(|template| template.is_object()) else {
            bail!("{what} has no template of Pods")
        };
        // Those of jobs need say nothing of their Pods but the spec.
        if template.get("metadata").is_none_or(Value::is_null) {
            template["metadata"] = json!({});
        }
        let mut pod: Pod =
            serde_json::from_value(template.clone()).with_context(|| format!("read the Pod of {what}"))?;
        let before = serde_json::to_value(&pod)?;
        if kind != "Pod" {
            pod.metadata = ObjectMeta { owner_references: Some(vec![owner]), ..pod.metadata };
        }
        let target = Target { pod: &pod, namespace: &namespace, variables: &[] };
        let Some(mut made) = inject(settings, &target).with_context(|| format!("inject {what}"))? else {
            return Ok(object);
        };
        for warning in warnings(&pod) {
            writeln!(std::io::stderr(), "Warning: {what}: {warning}")?;
        }
        if kind != "Pod" {
            made.metadata.owner_references = None;
        }
        let operations = Value::Array(crate::webhook::patch::diff(&before, &serde_json::to_value(&made)?));
        let patch: json_patch::Patch = serde_json::from_value(operations)?;
        json_patch::patch(template, &patch).with_context(|| format!("patch {what}"))?;
        Ok(object)
    }
}
