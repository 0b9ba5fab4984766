//! The same way through the house, without servers: for `mizzen translate` and the golden tests.

use std::{
    io::{self, Write},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use envoy_types::pb::envoy::config::core::v3::Node;
use serde_json::{Map, Value};

use crate::{
    cli::translate::{Format, TranslateArgs},
    engine::Offline,
    model::{MeshConfig, Proxy},
    reconcilers::intake::{MeshSource, Reconcilers},
    snapshot::{ResourceType, Snapshot},
    sources::Delivery,
    translate::json::{message_to_json, redact},
    xds::node,
};

/// What a proxy would be sent, and what is wrong with the objects.
pub struct Translation {
    /// All resources.
    pub snapshot: Snapshot,
    /// Problems of files and objects, as people read them.
    pub problems: Vec<String>,
}

/// Translates what a source delivered, for one proxy.
#[must_use]
pub fn translate(deliveries: Vec<Delivery>, proxy: Proxy) -> Translation {
    translate_over(MeshConfig::default(), deliveries, proxy)
}

/// The same in a mesh with other defaults.
#[must_use]
pub fn translate_over(defaults: MeshConfig, deliveries: Vec<Delivery>, proxy: Proxy) -> Translation {
    let source = MeshSource { namespace: "istio-system".into(), name: "istio".into() };
    let reconcilers = Reconcilers::new(defaults, source);
    let mut offline = Offline::default();
    reconcilers.initial().apply(offline.db());
    let mut problems = Vec::new();
    for delivery in deliveries {
        match delivery {
            Delivery::Apply(object) => reconcilers.apply(&object).apply(offline.db()),
            Delivery::Delete(object) => reconcilers.delete(&object).apply(offline.db()),
            Delivery::Reset { kind, live, kept } => reconcilers.reset(kind, &live, &kept).apply(offline.db()),
            Delivery::Problem(problem) => problems.push(problem.to_string()),
            Delivery::Unreadable { .. } | Delivery::ProblemGone(_) => {}
        }
    }
    let (snapshot, found) = offline.snapshot(Arc::new(proxy));
    problems.extend(found.iter().map(ToString::to_string));
    Translation { snapshot, problems }
}

/// Writes what a proxy would be sent, and the problems of the objects as comments (YAML) or on standard error.
///
/// # Errors
/// A file cannot be read, the proxy is unknown, or the output cannot be written.
pub(super) fn run(args: &TranslateArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let translation = translate(args.read()?, proxy(&args.proxy)?);
    let problems = &translation.problems;
    let value = translation.to_json()?;
    match args.output {
        Format::Yaml => {
            for problem in problems {
                writeln!(out, "# problem: {problem}")?;
            }
            serde_yaml_ng::to_writer(out, &value)?;
        }
        Format::Json => {
            for problem in problems {
                writeln!(io::stderr(), "problem: {problem}")?;
            }
            serde_json::to_writer_pretty(&mut *out, &value)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// A proxy by its node id, or a typical one of a kind: `router` or `sidecar`.
///
/// # Errors
/// The text is neither.
pub fn proxy(text: &str) -> anyhow::Result<Proxy> {
    let (id, labels) = match text {
        "router" => ("router~10.0.0.1~gateway.istio-system~istio-system.svc.cluster.local", true),
        "sidecar" => ("sidecar~10.0.0.1~workload.default~default.svc.cluster.local", false),
        id if id.contains('~') => (id, id.starts_with("router~")),
        other => bail!("--proxy {other:?}: expected router, sidecar, or a node id like router~10.0.0.1~gw.ns~domain"),
    };
    let node = Node { id: id.to_owned(), ..Node::default() };
    let mut proxy = node::parse(Some(&node)).with_context(|| format!("--proxy {id:?}"))?;
    if labels {
        // The labels of the default ingress gateway: a node id has none.
        proxy.labels.insert("istio".to_owned(), "ingressgateway".to_owned());
        proxy.labels.insert("app".to_owned(), "istio-ingressgateway".to_owned());
    }
    Ok(proxy)
}

impl Translation {
    /// All resources by type (`clusters`, `endpoints`, …), keys of secrets redacted.
    ///
    /// # Errors
    /// A resource is no message of its type.
    pub fn to_json(&self) -> anyhow::Result<Map<String, Value>> {
        let mut all = Map::new();
        for t in ResourceType::ALL {
            let mut resources = Vec::new();
            for (name, resource) in self.snapshot.views[t].resources() {
                let made = message_to_json(t.message_name(), &resource.body_bytes());
                let mut value = made.with_context(|| format!("{} {name} cannot be read back", t.short_name()))?;
                redact(&mut value);
                resources.push(value);
            }
            if !resources.is_empty() {
                all.insert(section(t).to_owned(), Value::Array(resources));
            }
        }
        Ok(all)
    }
}

const fn section(t: ResourceType) -> &'static str {
    match t {
        ResourceType::Cluster => "clusters",
        ResourceType::Endpoint => "endpoints",
        ResourceType::Listener => "listeners",
        ResourceType::Route => "routes",
        ResourceType::VirtualHost => "virtualHosts",
        ResourceType::Secret => "secrets",
        ResourceType::ExtensionConfig => "extensions",
        ResourceType::NameTable => "names",
    }
}
