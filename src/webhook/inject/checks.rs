//! Annotations that are read later, by the agent, or by nobody: what is wrong with them is told when the Pod is made.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value};

use super::{InjectError, annotations};
use crate::api;

const FLUSH: &str = "sidecar.istio.io/statsFlushInterval";
const EVICTION: &str = "sidecar.istio.io/statsEvictionInterval";
const COMPRESSION: &str = "sidecar.istio.io/statsCompression";
const BUCKETS: &str = "sidecar.istio.io/statsHistogramBuckets";
const APPLICATION_PORTS: &str = "readiness.status.sidecar.istio.io/applicationPorts";
/// How often Envoy flushes its statistics unless it is told.
const USUAL_FLUSH: Duration = Duration::from_secs(5);

/// Annotations of injection begin so.
const PREFIXES: [&str; 6] = [
    "sidecar.istio.io/",
    "traffic.sidecar.istio.io/",
    "readiness.status.sidecar.istio.io/",
    "status.sidecar.istio.io/",
    "prometheus.istio.io/",
    "proxy.istio.io/",
];

/// Those of them that do something, or that injection writes itself.
const KNOWN: [&str; 43] = [
    "prometheus.istio.io/merge-metrics",
    "prometheus.istio.io/scrape-targets",
    "proxy.istio.io/config",
    "proxy.istio.io/holdApplicationUntilProxyStarts",
    "proxy.istio.io/overrides",
    "readiness.status.sidecar.istio.io/failureThreshold",
    "readiness.status.sidecar.istio.io/initialDelaySeconds",
    "readiness.status.sidecar.istio.io/periodSeconds",
    "sidecar.istio.io/agentLogLevel",
    "sidecar.istio.io/bootstrapOverride",
    "sidecar.istio.io/capNetBindService",
    "sidecar.istio.io/componentLogLevel",
    "sidecar.istio.io/extraStatTags",
    "sidecar.istio.io/inject",
    "sidecar.istio.io/interceptionMode",
    "sidecar.istio.io/logLevel",
    "sidecar.istio.io/nativeSidecar",
    "sidecar.istio.io/proxyCPU",
    "sidecar.istio.io/proxyCPULimit",
    "sidecar.istio.io/proxyImage",
    "sidecar.istio.io/proxyImageType",
    "sidecar.istio.io/proxyMemory",
    "sidecar.istio.io/proxyMemoryLimit",
    "sidecar.istio.io/rewriteAppHTTPProbers",
    "sidecar.istio.io/statsCompression",
    "sidecar.istio.io/statsEvictionInterval",
    "sidecar.istio.io/statsFlushInterval",
    "sidecar.istio.io/statsHistogramBuckets",
    "sidecar.istio.io/statsInclusionPrefixes",
    "sidecar.istio.io/statsInclusionRegexps",
    "sidecar.istio.io/statsInclusionSuffixes",
    "sidecar.istio.io/status",
    "sidecar.istio.io/userVolume",
    "sidecar.istio.io/userVolumeMount",
    "status.sidecar.istio.io/port",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/excludeInterfaces",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeOutboundPorts",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/includeOutboundPorts",
    "traffic.sidecar.istio.io/kubevirtInterfaces",
];

/// Refuses values that the agent could only complain of in its log.
pub(super) fn check(pod: &Pod) -> Result<(), InjectError> {
    let flush = duration(pod, FLUSH)?.unwrap_or(USUAL_FLUSH);
    if let Some(eviction) = duration(pod, EVICTION)?
        && eviction.as_nanos() % flush.as_nanos() != 0
    {
        let expected = format!("a multiple of {flush:?}, which is what {FLUSH} says or what holds without it");
        return Err(annotations::wrong(EVICTION, annotations::text(pod, EVICTION), &expected));
    }
    annotations::flag(pod, COMPRESSION)?;
    annotations::ports(pod, APPLICATION_PORTS)?;
    let buckets = annotations::text(pod, BUCKETS);
    let is_list = |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_number));
    let read = serde_json::from_str::<Map<String, Value>>(if buckets.is_empty() { "{}" } else { buckets });
    match read {
        Ok(map) if map.values().all(is_list) => Ok(()),
        _ => {
            Err(annotations::wrong(BUCKETS, buckets, "a map of lists of numbers in JSON, such as {\"istio\": [1, 10]}"))
        }
    }
}

fn duration(pod: &Pod, name: &str) -> Result<Option<Duration>, InjectError> {
    let text = annotations::text(pod, name);
    if text.is_empty() {
        return Ok(None);
    }
    let read = Duration::try_from(&api::Duration(text.to_owned())).ok().filter(|duration| !duration.is_zero());
    read.map(Some).ok_or_else(|| annotations::wrong(name, text, "a duration above zero, such as 10s"))
}

/// What is to be told of annotations that change nothing.
pub(super) fn ignored(pod: &Pod) -> Vec<String> {
    let names = pod.metadata.annotations.iter().flat_map(|all| all.keys());
    let of_injection = names.filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let told = of_injection.filter_map(|name| match name.as_str() {
        APPLICATION_PORTS => Some(format!("annotation {name} has no effect: the proxy is ready when Envoy is")),
        known if KNOWN.contains(&known) => None,
        _ => Some(format!("annotation {name} is not known to injection: it has no effect")),
    });
    told.collect()
}
