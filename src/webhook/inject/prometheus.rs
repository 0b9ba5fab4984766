//! Metrics of the workload are read through the agent, which adds the proxy's (contract §5.3).

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{Context, InjectError, annotations, init::status_port};

const SCRAPE: &str = "prometheus.io/scrape";
const PORT: &str = "prometheus.io/port";
const PATH: &str = "prometheus.io/path";
/// Where the agent has the metrics of all.
const MERGED: &str = "/stats/prometheus";
/// Whether metrics are read through the agent.
const MERGE: &str = "prometheus.istio.io/merge-metrics";
/// Tells the agent where those of the workload are.
pub(super) const VARIABLE: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";

/// Leads whoever reads metrics to the agent; returns the variable that tells the agent where those of the workload are.
pub(super) fn merge(context: &Context<'_>, pod: &mut Pod) -> Result<Option<(String, String)>, InjectError> {
    let merges = annotations::flag(context.target.pod, MERGE)?.unwrap_or(context.settings.merges_metrics);
    let Some(port) = status_port(context)?.filter(|port| merges && *port > 0) else { return Ok(None) };
    let said = |name: &str| annotations::text(context.target.pod, name);
    // Who does not want to be read is not read. Who is read through the agent already was led there before.
    if said(SCRAPE) == "false" || (said(PORT) == port.to_string() && said(PATH) == MERGED) {
        return Ok(None);
    }
    let of_workload = (said(SCRAPE) == "true").then(|| {
        let or = |text: &str, usual: &str| if text.is_empty() { usual.to_owned() } else { text.to_owned() };
        let told = json!({"scrape": "true", "path": or(said(PATH), "/metrics"), "port": or(said(PORT), "80")});
        (VARIABLE.to_owned(), told.to_string())
    });
    let all = pod.metadata.annotations.get_or_insert_default();
    let port = port.to_string();
    for (name, value) in [(SCRAPE, "true"), (PORT, port.as_str()), (PATH, MERGED)] {
        all.insert(name.to_owned(), value.to_owned());
    }
    Ok(of_workload)
}
