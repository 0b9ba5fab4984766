//! Metrics, under exactly the names that istiod's dashboards ask for (contract §8).
//!
//! The encoder writes OpenMetrics, where a counter's samples end in `_total`. istiod's do so only where its metric is
//! named so; what is served is therefore rewritten to Prometheus' text format with each sample named as its metric.

mod expiry;

use std::{fmt::Write, sync::Arc, time::Instant};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::{Metric, Registry},
};

use self::expiry::Expiring;
pub use self::expiry::Expiry;
use super::process::Process;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Buckets of durations in seconds.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 30.0];

/// Buckets of proxy convergence, as istiod's dashboards know them.
const CONVERGENCE: [f64; 8] = [0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];

/// Buckets of sizes in bytes.
const BYTES: [f64; 7] = [1.0, 10_000.0, 1e6, 4e6, 1e7, 4e7, 1e8];

/// Label `type`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Type {
    /// A short name such as `cds`, a type URL or a kind; the metric says which.
    pub r#type: Arc<str>,
}

impl Type {
    /// The label with this value.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { r#type: name.into() }
    }
}

/// Label `version`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Version {
    /// The version.
    pub version: Arc<str>,
}

/// Labels of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Rejection {
    /// The proxy.
    pub node: Arc<str>,
    /// What it said.
    pub err: Arc<str>,
}

/// Labels of an event about an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindEvent {
    /// The kind.
    pub r#type: Arc<str>,
    /// `add`, `update` or `delete`.
    pub event: Arc<str>,
}

/// Labels of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindName {
    /// The kind.
    pub r#type: Arc<str>,
    /// `namespace/name`.
    pub name: Arc<str>,
}

/// Labels of a problem.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProblemLabels {
    /// The kind of the object; empty for what is no object.
    pub kind: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The field.
    pub field: Arc<str>,
    /// What is wrong with it.
    pub reason: Arc<str>,
}

/// Label `error`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabel {
    /// What went wrong, in a word.
    pub error: Arc<str>,
}

/// Label `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// The kind; empty for what is no object.
    pub kind: Arc<str>,
}

/// Label `name`, of a webhook configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WebhookLabel {
    /// The name of the configuration.
    pub name: Arc<str>,
}

/// Labels of a webhook configuration that could not be mended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WebhookFailure {
    /// The name of the configuration.
    pub name: Arc<str>,
    /// Why, in a word.
    pub reason: Arc<str>,
}

/// Label `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// Why, in a word.
    pub reason: Arc<str>,
}

/// Label `status`, of HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// The code.
    pub status: Arc<str>,
}

/// Labels of an object that was validated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ValidationLabels {
    /// The API group.
    pub group: Arc<str>,
    /// The version.
    pub version: Arc<str>,
    /// The resource, such as `virtualservices`.
    pub resource: Arc<str>,
}

/// Labels of an object that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ValidationFailure {
    /// The API group.
    pub group: Arc<str>,
    /// The version.
    pub version: Arc<str>,
    /// The resource, such as `virtualservices`.
    pub resource: Arc<str>,
    /// Why, in a word.
    pub reason: Arc<str>,
}

/// A histogram family with the given buckets.
#[derive(Clone, Debug)]
pub struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Declares the metrics once: field, name, help and how it starts.
macro_rules! metrics {
    ($($field:ident: $type:ty = $start:expr, $name:literal, $help:literal;)*) => {
        /// All metrics. Clones of a field count together.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            /// When the authority's certificates end.
            pub expiry: Arc<Expiry>,
            $(#[doc = concat!("`", $name, "`: ", $help, ".")] pub $field: $type,)*
        }

        impl Metrics {
            fn with(mut registry: Registry, expiry: Arc<Expiry>) -> Self {
                $(let $field = register::<$type>(&mut registry, $name, $help, $start);)*
                Self { registry, expiry, $($field,)* }
            }
        }
    };
}

metrics! {
    xds: Family<Version, Gauge> = Family::default(),
        "pilot_xds", "Connected proxies";
    pushes: Family<Type, Counter> = Family::default(),
        "pilot_xds_pushes", "Responses sent";
    push_triggers: Family<Type, Counter> = Family::default(),
        "pilot_push_triggers", "Changes that made a difference, by reason";
    push_time: Family<Type, Histogram, Buckets> = Family::new_with_constructor(Buckets(&SECONDS)),
        "pilot_xds_push_time", "Seconds to make a response";
    config_size: Family<Type, Histogram, Buckets> = Family::new_with_constructor(Buckets(&BYTES)),
        "pilot_xds_config_size_bytes", "Size of responses in bytes";
    convergence_time: Histogram = Histogram::new(CONVERGENCE),
        "pilot_proxy_convergence_time", "Seconds from a change until a proxy was sent it";
    rejects: Family<Type, Counter> = Family::default(),
        "pilot_total_xds_rejects", "Responses that proxies refused";
    denied_secrets: Counter = Counter::default(),
        "pilot_sds_certificate_errors_total", "Secrets that were withheld from proxies that may not have them";
    internal_errors: Counter = Counter::default(),
        "pilot_total_xds_internal_errors", "Errors of the xDS server";
    cds_reject: Family<Rejection, Gauge> = Family::default(),
        "pilot_xds_cds_reject", "Clusters that a proxy refuses now";
    eds_reject: Family<Rejection, Gauge> = Family::default(),
        "pilot_xds_eds_reject", "Endpoints that a proxy refuses now";
    lds_reject: Family<Rejection, Gauge> = Family::default(),
        "pilot_xds_lds_reject", "Listeners that a proxy refuses now";
    rds_reject: Family<Rejection, Gauge> = Family::default(),
        "pilot_xds_rds_reject", "Routes that a proxy refuses now";
    expired_nonce: Family<Type, Counter> = Family::default(),
        "pilot_xds_expired_nonce", "Requests with an old nonce";
    inbound_updates: Family<Type, Counter> = Family::default(),
        "pilot_inbound_updates", "Changes of objects that made a difference";
    registry_events: Family<KindEvent, Counter> = Family::default(),
        "pilot_k8s_reg_events", "Events of services, endpoints, pods and nodes";
    config_events: Family<KindEvent, Counter> = Family::default(),
        "pilot_k8s_cfg_events", "Events of configuration objects";
    services: Gauge = Gauge::default(),
        "pilot_services", "Services";
    virtual_services: Gauge = Gauge::default(),
        "pilot_virt_services", "Virtual services";
    engine_nodes: Gauge = Gauge::default(),
        "mizzen_engine_nodes", "Values that the engine holds: inputs, sets, results of queries";
    resources: Family<Type, Counter> = Family::default(),
        "mizzen_xds_resources", "Resources sent";
    rejected_configs: Family<KindName, Counter> = Family::default(),
        "pilot_total_rejected_configs", "Times an object was found unusable";
    config_problems: Family<KindLabel, Gauge> = Family::default(),
        "mizzen_config_problems", "Problems of configuration that exist now";
    config_problem: Family<ProblemLabels, Gauge> = Family::default(),
        "mizzen_config_problem", "1 for each problem of configuration that exists now";
    barrier_timeouts: Counter = Counter::default(),
        "mizzen_barrier_timeouts", "Times that something was sent without waiting any longer for an acknowledgement";
    refused_streams: Counter = Counter::default(),
        "mizzen_xds_refused_streams", "Streams that were turned away: nobody known, not allowed, or nothing to serve yet";
    held_removals: Family<Type, Gauge> = Family::default(),
        "mizzen_held_removals", "Removals that wait until nothing refers to the resource";
    csr_count: Counter = Counter::default(),
        "citadel_server_csr_count", "Requests for certificates";
    authentication_failures: Counter = Counter::default(),
        "citadel_server_authentication_failure_count", "Requests for certificates by nobody who is known";
    csr_parsing_errors: Counter = Counter::default(),
        "citadel_server_csr_parsing_err_count", "Requests for certificates that cannot be read";
    id_extraction_errors: Counter = Counter::default(),
        "citadel_server_id_extraction_err_count", "Requests for certificates by callers without an identity";
    csr_sign_errors: Family<ErrorLabel, Counter> = Family::default(),
        "citadel_server_csr_sign_err_count", "Requests for certificates that were not signed";
    certificates_issued: Counter = Counter::default(),
        "citadel_server_success_cert_issuance_count", "Certificates issued";
    injection_requests: Counter = Counter::default(),
        "sidecar_injection_requests_total", "Requests to inject a Pod";
    injections: Counter = Counter::default(),
        "sidecar_injection_success_total", "Pods that were injected";
    injection_failures: Counter = Counter::default(),
        "sidecar_injection_failure_total", "Requests to inject a Pod that failed or were none";
    injections_skipped: Counter = Counter::default(),
        "sidecar_injection_skip_total", "Pods that were left as they are";
    injection_time: Histogram = Histogram::new(SECONDS),
        "sidecar_injection_time_seconds", "Seconds to answer a request to inject a Pod";
    validations: Family<ValidationLabels, Counter> = Family::default(),
        "galley_validation_passed", "Objects that were found valid before they were stored";
    validation_failures: Family<ValidationFailure, Counter> = Family::default(),
        "galley_validation_failed", "Objects that were refused, or not looked at";
    validation_http_errors: Family<StatusLabel, Counter> = Family::default(),
        "galley_validation_http_error", "Requests to validate an object that were none";
    validation_config_loads: Counter = Counter::default(),
        "galley_validation_config_load", "Times that the certificates of validating webhooks were read";
    validation_config_load_errors: Family<ReasonLabel, Counter> = Family::default(),
        "galley_validation_config_load_error", "Times that the certificates of validating webhooks could not be read";
    validation_config_updates: Counter = Counter::default(),
        "galley_validation_config_updates", "Times that a validating webhook configuration was mended";
    validation_config_update_errors: Family<ReasonLabel, Counter> = Family::default(),
        "galley_validation_config_update_error", "Times that a validating webhook configuration could not be mended";
    webhook_patches: Family<WebhookLabel, Counter> = Family::default(),
        "webhook_patch_attempts_total", "Times that a webhook configuration was to be mended";
    webhook_patch_failures: Family<WebhookFailure, Counter> = Family::default(),
        "webhook_patch_failures_total", "Times that a webhook configuration could not be mended";
    webhook_patch_retries: Family<WebhookLabel, Counter> = Family::default(),
        "webhook_patch_retries_total", "Times that mending a webhook configuration was put off";
    quarantined: Family<Type, Gauge> = Family::default(),
        "mizzen_quarantined_resources", "Resources that are withheld from a proxy that refused them";
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// New metrics of a process that starts now.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        registry.register_collector(Box::new(Uptime(Instant::now())));
        let build = vec![("component", "pilot".to_owned()), ("tag", version.to_owned())];
        let info = vec![("version", version.to_owned())];
        register_one(&mut registry, "istio_build", "The build of the control plane", &build);
        register_one(&mut registry, "pilot_info", "The version of the control plane", &info);
        let expiry = Arc::new(Expiry::default());
        registry.register_collector(Box::new(Expiring(expiry.clone())));
        Self::with(registry, expiry)
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut open_metrics = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut open_metrics, &self.registry);
        to_prometheus(&open_metrics)
    }
}

/// A gauge that is 1 for its labels.
fn register_one(registry: &mut Registry, name: &str, help: &str, labels: &Vec<(&'static str, String)>) {
    let family = Family::<Vec<(&'static str, String)>, Gauge>::default();
    family.get_or_create(labels).set(1);
    registry.register(name, help, family);
}

#[derive(Debug)]
struct Uptime(Instant);

impl Collector for Uptime {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let metric = ConstGauge::new(self.0.elapsed().as_secs_f64());
        let help = "Seconds since the process started";
        metric.encode(encoder.encode_descriptor("istiod_uptime_seconds", help, None, metric.metric_type())?)
    }
}

/// Rewrites OpenMetrics: every sample of a counter is named as the counter.
fn to_prometheus(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut counter = "";
    for line in open_metrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            counter = declared.strip_suffix(" counter").unwrap_or_default();
        }
        let sample = line.strip_prefix(counter).filter(|_| !counter.is_empty());
        let _ = match sample.and_then(|rest| rest.strip_prefix("_total")) {
            Some(rest) => writeln!(out, "{counter}{rest}"),
            None => writeln!(out, "{line}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        let metrics = Metrics::new("1.2.3");
        metrics.pushes.get_or_create(&Type::new("cds")).inc();
        metrics.internal_errors.inc_by(3);
        metrics.xds.get_or_create(&Version { version: "1.27".into() }).set(2);
        metrics.convergence_time.observe(0.2);
        let text = metrics.text();
        for line in [
            "# TYPE pilot_xds_pushes counter",
            "pilot_xds_pushes{type=\"cds\"} 1",
            "pilot_total_xds_internal_errors 3",
            "pilot_xds{version=\"1.27\"} 2",
            "istio_build{component=\"pilot\",tag=\"1.2.3\"} 1",
            "pilot_info{version=\"1.2.3\"} 1",
            "pilot_proxy_convergence_time_bucket{le=\"0.5\"} 1",
            "pilot_proxy_convergence_time_count 1",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
        }
        for prefix in [
            "mizzen_memory_allocated_bytes ",
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            "istiod_uptime_seconds ",
        ] {
            assert!(text.lines().any(|l| l.starts_with(prefix)), "no {prefix:?} in\n{text}");
        }
        assert!(!text.contains("_total_total") && !text.contains("EOF"), "{text}");
    }
}
