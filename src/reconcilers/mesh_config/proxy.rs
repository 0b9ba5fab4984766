//! `defaultConfig`: what proxies start with unless they are told otherwise (translation §9.4).

use serde_json::Value;

use super::{
    super::Problems,
    at::{At, host_of},
};
use crate::model::Code;

/// Variables that something else replaces.
const AUTO_ALLOCATE: &str = "ISTIO_META_DNS_AUTO_ALLOCATE";

/// Fields about whose values nothing is said here.
const OTHERS: [&str; 23] = [
    "availabilityZone",
    "caCertificatesPem",
    "customConfigFile",
    "discoveryRefreshDelay",
    "extraStatTags",
    "fileFlushInterval",
    "fileFlushMinSizeKb",
    "gatewayTopology",
    "holdApplicationUntilProxyStarts",
    "image",
    "interceptionMode",
    "meshId",
    "parentShutdownDuration",
    "proxyBootstrapTemplatePath",
    "proxyHeaders",
    "proxyStatsMatcher",
    "readinessProbe",
    "runtimeValues",
    "statsCompression",
    "statsEvictionInterval",
    "statNameLength",
    "tracingServiceName",
    "zipkinAddress",
];

/// Numbers of `connectionSettings`, and the least that each may be.
const LIMITS: [(&str, i64); 7] = [
    ("listenerPerConnectionBufferLimitBytes", 0),
    ("clusterPerConnectionBufferLimitBytes", 0),
    ("httpMaxConcurrentStreams", 1),
    ("http2InitialStreamWindowSize", 65535),
    ("http2InitialConnectionWindowSize", 65535),
    ("listenerConnectionLimit", 1),
    ("globalDownstreamConnectionLimit", 1),
];

const TIMEOUTS: [&str; 7] = [
    "httpIdleTimeout",
    "httpMaxConnectionDuration",
    "httpDrainTimeout",
    "httpRequestTimeout",
    "httpRequestHeadersTimeout",
    "httpStreamIdleTimeout",
    "httpMaxStreamDuration",
];

/// Reports what is wrong with it.
pub(super) fn check(config: &At<'_>, problems: &mut Problems) {
    for (key, field) in config.members(problems) {
        match key {
            "configPath" | "binaryPath" | "serviceCluster" => field.required(problems),
            "drainDuration" => check_drain(&field, problems),
            "terminationDrainDuration" => _ = field.duration(problems),
            "discoveryAddress" | "statsdUdpAddress" => field.address(problems),
            "envoyMetricsServiceAddress" => {
                field.wrong(Code::FieldDeprecated, "use envoyMetricsService.address", problems);
                field.address(problems);
            }
            "proxyAdminPort" | "statusPort" => field.port(problems),
            "controlPlaneAuthPolicy" => {
                if field.text(problems).is_some_and(|word| !["NONE", "MUTUAL_TLS"].contains(&word)) {
                    let reason = format!("{} is not one of NONE, MUTUAL_TLS", field.value);
                    field.wrong(Code::ValueUnknown, reason, problems);
                }
            }
            "concurrency" => field.at_least(0, problems),
            "proxyMetadata" => check_metadata(&field, problems),
            "privateKeyProvider" => check_key_provider(&field, problems),
            "connectionSettings" => check_connections(&field, problems),
            "envoyAccessLogService" | "envoyMetricsService" => {
                if let Some(address) = field.get("address") {
                    address.address(problems);
                }
            }
            "tracing" => check_tracing(&field, problems),
            _ if OTHERS.contains(&key) => {}
            _ => field.wrong(Code::UnknownField, "a ProxyConfig has no such field", problems),
        }
    }
}

/// The host by which proxies know the control plane; nothing where none is said, or not as it should be.
pub(super) fn discovery_host(config: &Value) -> Option<&str> {
    host_of(config.get("discoveryAddress")?.as_str()?).ok()
}

/// Envoy takes it in whole seconds.
fn check_drain(field: &At<'_>, problems: &mut Problems) {
    let Some(duration) = field.duration(problems) else { return };
    if duration < std::time::Duration::from_millis(1) {
        field.wrong(Code::DurationTooShort, format!("{duration:?} is less than 1ms"), problems);
    } else if duration.subsec_nanos() != 0 {
        field.wrong(Code::DrainTooFine, format!("{duration:?} is not a whole number of seconds"), problems);
    }
}

fn check_metadata(field: &At<'_>, problems: &mut Problems) {
    for (key, value) in field.members(problems) {
        value.text(problems);
        if key == AUTO_ALLOCATE {
            value.wrong(Code::FieldDeprecated, "addresses are allocated in the status of ServiceEntries", problems);
        }
    }
}

fn check_tracing(field: &At<'_>, problems: &mut Problems) {
    for tracer in ["zipkin", "datadog", "lightstep"].into_iter().filter_map(|name| field.get(name)) {
        match tracer.get("address") {
            Some(address) => address.address(problems),
            None => tracer.wrong(Code::FieldMissing, "has no address", problems),
        }
    }
    if let Some(tracer) = field.get("lightstep")
        && tracer.value["accessToken"].as_str().is_none_or(str::is_empty)
    {
        tracer.wrong(Code::FieldMissing, "has no accessToken", problems);
    }
    if let Some(sampling) = field.get("sampling")
        && !sampling.value.as_f64().is_some_and(|share| (0.0..=100.0).contains(&share))
    {
        let reason = format!("{} is not a percentage: use 0 to 100", sampling.value);
        sampling.wrong(Code::PercentOutOfRange, reason, problems);
    }
}

fn check_key_provider(field: &At<'_>, problems: &mut Problems) {
    let providers: Vec<At<'_>> = ["cryptomb", "qat"].into_iter().filter_map(|name| field.get(name)).collect();
    if providers.is_empty() {
        field.wrong(Code::FieldMissing, "has neither cryptomb nor qat", problems);
    }
    for provider in providers {
        match provider.get("pollDelay") {
            None => provider.wrong(Code::FieldMissing, "has no pollDelay", problems),
            Some(delay) => {
                if delay.duration(problems).is_some_and(|delay| delay.is_zero()) {
                    delay.wrong(Code::DurationTooShort, "is zero", problems);
                }
            }
        }
    }
}

fn check_connections(field: &At<'_>, problems: &mut Problems) {
    for (name, least) in LIMITS {
        if let Some(number) = field.get(name) {
            number.at_least(least, problems);
        }
    }
    for timeout in TIMEOUTS.into_iter().filter_map(|name| field.get(name)) {
        timeout.duration(problems);
    }
}
