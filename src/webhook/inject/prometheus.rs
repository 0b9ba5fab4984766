//! Metrics of the workload are read through the agent, which adds the proxy's (contract §5.3).

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Context, InjectError, annotations, init::status_port};
use crate::model::proxy_config::RESERVED_PORTS;

const SCRAPE: &str = "prometheus.io/scrape";
const PORT: &str = "prometheus.io/port";
const PATH: &str = "prometheus.io/path";
/// Several places at once: ports, each with or without `:<path>`, separated by commas.
const TARGETS: &str = "prometheus.istio.io/scrape-targets";
/// Where the agent has the metrics of all.
const MERGED: &str = "/stats/prometheus";
/// Where a workload has its own, when it does not say.
const USUAL_PATH: &str = "/metrics";
const USUAL_PORT: &str = "80";
/// Whether metrics are read through the agent.
const MERGE: &str = "prometheus.istio.io/merge-metrics";
/// Tells the agent where those of the workload are.
pub(super) const VARIABLE: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";

/// Leads whoever reads metrics to the agent; returns the variable that tells the agent where those of the workload are.
pub(super) fn merge(context: &Context<'_>, pod: &mut Pod) -> Result<Option<(String, String)>, InjectError> {
    let merges = annotations::flag(context.target.pod, MERGE)?.unwrap_or(context.settings.merges_metrics);
    let Some(status) = status_port(context)?.filter(|port| merges && *port > 0) else { return Ok(None) };
    let said = |name: &'static str| said(context.target.pod, name);
    // Who does not want to be read is not read. Who is read through the agent already was led there before.
    let is_unwilling = matches!(said(SCRAPE).1, "0" | "f" | "F" | "false" | "FALSE" | "False");
    if is_unwilling || said(PORT).1 == status.to_string() {
        return Ok(None);
    }
    let is_said = [SCRAPE, PORT, PATH, TARGETS].into_iter().any(|name| !said(name).1.is_empty());
    let of_workload = is_said.then(|| places(context.target.pod, status)).transpose()?;
    let all = pod.metadata.annotations.get_or_insert_default();
    // Of several spellings Prometheus takes any one.
    all.retain(|name, _| ![SCRAPE, PORT, PATH, TARGETS].iter().any(|known| is_same(name, known)));
    let status = status.to_string();
    for (name, value) in [(SCRAPE, "true"), (PORT, status.as_str()), (PATH, MERGED)] {
        all.insert(name.to_owned(), value.to_owned());
    }
    Ok(of_workload.map(|places| (VARIABLE.to_owned(), places.to_string())))
}

/// Where the workload says that its metrics are, as the agent is told.
fn places(pod: &Pod, status: u16) -> Result<Value, InjectError> {
    let targets = targets(pod, status)?;
    if let Some(first) = targets.first() {
        return Ok(json!({"scrape": "true", "path": first["path"], "port": first["port"], "targets": targets}));
    }
    let (name, port) = said(pod, PORT);
    let port = match port {
        "" => USUAL_PORT.to_owned(),
        port => number(port, status).ok_or_else(|| wrong(name, port, "the number of a port"))?,
    };
    Ok(json!({"scrape": "true", "path": path(said(pod, PATH).1), "port": port}))
}

fn targets(pod: &Pod, status: u16) -> Result<Vec<Value>, InjectError> {
    let (name, list) = said(pod, TARGETS);
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let target = |entry: &str| {
        let (port, at) = entry.split_once(':').unwrap_or((entry, ""));
        Some(json!({"port": number(port.trim(), status)?, "path": path(at.trim())}))
    };
    let wrong = || wrong(name, list, "a list of ports, each with a path as in 8080:/metrics,");
    entries.map(|entry| target(entry).ok_or_else(wrong)).collect()
}

fn path(said: &str) -> String {
    match said {
        "" => USUAL_PATH.to_owned(),
        whole if whole.starts_with('/') => whole.to_owned(),
        part => format!("/{part}"),
    }
}

/// A port of the workload. The proxy's own would be read in circles.
fn number(text: &str, status: u16) -> Option<String> {
    let port = text.parse().ok().filter(|port| *port > 0 && *port != status && !RESERVED_PORTS.contains(port))?;
    Some(port.to_string())
}

fn wrong(name: &str, value: &str, expected: &str) -> InjectError {
    let reserved: Vec<String> = RESERVED_PORTS.iter().map(u16::to_string).collect();
    annotations::wrong(
        name,
        value,
        &format!("{expected} of the workload and none of the proxy ({})", reserved.join(", ")),
    )
}

/// An annotation as it is spelt, and what it says; nothing where there is none.
fn said<'a>(pod: &'a Pod, name: &'a str) -> (&'a str, &'a str) {
    let mut all = pod.metadata.annotations.iter().flatten();
    all.find(|(key, _)| is_same(key, name)).map_or((name, ""), |(key, value)| (key.as_str(), value.as_str()))
}

/// To Prometheus, `prometheus.io/port` and `prometheus_io.port` are the same.
fn is_same(name: &str, other: &str) -> bool {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).eq(other.chars().map(plain))
}
