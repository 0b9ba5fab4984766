//! Which of Envoy's statistics are kept, and which parts of their names become labels.
//!
//! The control plane ends names of clusters and listeners in statistics with `;` (translation §1): they may contain
//! dots, which part the rest.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{agent::node::Surroundings, api, model::proxy_config::ProxyConfig};

/// Kept whatever is asked for: readiness is told by them, and dashboards ask for them.
const PREFIXES: [&str; 8] =
    ["cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm", "component", "istio", "reporter="];
const SUFFIXES: [&str; 4] = ["rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied"];
/// The end of a proxy that waits for its last connection is told by it.
const ACTIVE: &str = "downstream_cx_active";
/// Routes with a `statPrefix`.
const ROUTES: &str = r"vhost\..*\.route\..*";

/// Labels: what they are called, and what they are cut out of a name by. The first group is cut out, the second one is
/// the value.
const TAGS: [(&str, &str); 10] = [
    ("cluster_name", r"^cluster(\.(.+?);)"),
    ("http_conn_manager_prefix", r"^http\.((.+?);\.)"),
    ("listener_address", r"^listener\.((.+?_\d+)\.)"),
    ("tcp_prefix", r"^tcp\.((.+?)\.)\w+$"),
    ("thread_name", r"^server(\.(.+))\.watchdog"),
    ("response_code", r"_rq(_(\d{3}))$"),
    ("response_code_class", r"_rq(_(\dxx))$"),
    ("component", r"(component\.(.+?)\.)"),
    ("authz_enforce_result", r"rbac(\.(allowed|denied))"),
    ("authz_dry_run_result", r"(\.shadow_(allowed|denied))"),
];

/// Stands for each of the pod's addresses.
const POD_ADDRESS: &str = "{pod_ip}";

const PREFIX_ANNOTATION: &str = "sidecar.istio.io/statsInclusionPrefixes";
const SUFFIX_ANNOTATION: &str = "sidecar.istio.io/statsInclusionSuffixes";
const REGEXP_ANNOTATION: &str = "sidecar.istio.io/statsInclusionRegexps";
const TAGS_ANNOTATION: &str = "sidecar.istio.io/extraStatTags";
const BUCKETS_ANNOTATION: &str = "sidecar.istio.io/statsHistogramBuckets";
const FLUSH_ANNOTATION: &str = "sidecar.istio.io/statsFlushInterval";
const EVICTION_ANNOTATION: &str = "sidecar.istio.io/statsEvictionInterval";
const COMPRESSION_ANNOTATION: &str = "sidecar.istio.io/statsCompression";

/// How often Envoy flushes its statistics unless it is told.
const USUAL_FLUSH: Duration = Duration::from_secs(5);

/// The field `stats_config`.
pub(super) fn config(pod: &Surroundings, config: &ProxyConfig) -> Value {
    let asked = |annotation: &str, field: &str| -> Vec<String> {
        let matcher = config.fields().get("proxyStatsMatcher").and_then(|matcher| matcher.get(field));
        let asked = match pod.annotation(annotation) {
            // The pod's own word replaces the mesh's.
            Some(list) if !list.is_empty() => items(list),
            _ => texts(matcher),
        };
        asked.iter().flat_map(|pattern| substituted(pattern, pod)).collect()
    };
    let mut suffixes = SUFFIXES.to_vec();
    if pod.is_true("EXIT_ON_ZERO_ACTIVE_CONNECTIONS") || pod.is_true("ISTIO_META_EXIT_ON_ZERO_ACTIVE_CONNECTIONS") {
        suffixes.push(ACTIVE);
    }
    let all =
        |asked: Vec<String>, always: &[&str]| asked.into_iter().chain(always.iter().map(ToString::to_string)).collect();
    let prefixes: Vec<String> = all(asked(PREFIX_ANNOTATION, "inclusionPrefixes"), &PREFIXES);
    let suffixes: Vec<String> = all(asked(SUFFIX_ANNOTATION, "inclusionSuffixes"), &suffixes);
    let regexps: Vec<String> = all(asked(REGEXP_ANNOTATION, "inclusionRegexps"), &[ROUTES]);
    let patterns = prefixes.iter().map(|prefix| json!({"prefix": prefix}));
    let patterns = patterns.chain(suffixes.iter().map(|suffix| json!({"suffix": suffix})));
    let patterns = patterns.chain(regexps.iter().map(|regex| json!({"safe_regex": {"regex": regex}})));
    let mut stats = json!({
        "use_all_default_tags": false,
        "stats_tags": tags(pod, config),
        "stats_matcher": {"inclusion_list": {"patterns": patterns.collect::<Vec<_>>()}},
    });
    if let Some(buckets) = pod.annotation(BUCKETS_ANNOTATION).and_then(buckets) {
        stats["histogram_bucket_settings"] = buckets;
    }
    stats
}

/// The field `stats_flush_interval`, if the pod asks for one.
pub(super) fn flush_interval(pod: &Surroundings) -> Option<String> {
    duration(pod, FLUSH_ANNOTATION).map(written)
}

/// The field `stats_eviction_interval`, if the pod asks for one: Envoy forgets statistics that nothing was counted in for
/// so long. It does not start when that is no multiple of the other interval.
pub(super) fn eviction_interval(pod: &Surroundings) -> Option<String> {
    let (eviction, flush) = (duration(pod, EVICTION_ANNOTATION)?, duration(pod, FLUSH_ANNOTATION));
    let flush = flush.unwrap_or(USUAL_FLUSH);
    if eviction.as_nanos() % flush.as_nanos() != 0 {
        tracing::warn!("annotation {EVICTION_ANNOTATION}: {eviction:?} is no multiple of {flush:?}, it has no effect");
        return None;
    }
    Some(written(eviction))
}

/// Whether metrics are compressed for who asks for that: what the pod says, else its settings; else they are.
pub(super) fn compresses(pod: &Surroundings, config: &ProxyConfig) -> bool {
    match pod.annotation(COMPRESSION_ANNOTATION) {
        Some("true") => true,
        Some("false") => false,
        _ => config.fields().get("statsCompression").and_then(Value::as_bool).unwrap_or(true),
    }
}

fn duration(pod: &Surroundings, annotation: &str) -> Option<Duration> {
    let text = pod.annotation(annotation)?;
    let read = Duration::try_from(&api::Duration(text.to_owned())).ok().filter(|duration| !duration.is_zero());
    if read.is_none() {
        tracing::warn!("annotation {annotation}: {text:?} is no duration such as 5s, it has no effect");
    }
    read
}

/// As Envoy reads it.
fn written(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

fn tags(pod: &Surroundings, config: &ProxyConfig) -> Vec<Value> {
    let fixed = TAGS.iter().map(|(name, regex)| json!({"tag_name": name, "regex": regex}));
    let mut extra = texts(config.fields().get("extraStatTags"));
    extra.extend(items(pod.annotation(TAGS_ANNOTATION).unwrap_or_default()));
    extra.sort();
    extra.dedup();
    let is_name = |tag: &&String| tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    let extra = extra
        .iter()
        .filter(is_name)
        .map(|tag| json!({"tag_name": tag, "regex": format!(r"({}=\.=(.*?);\.;)", tag.replace('.', r"\."))}));
    fixed.chain(extra).collect()
}

fn substituted(pattern: &str, pod: &Surroundings) -> Vec<String> {
    if !pattern.contains(POD_ADDRESS) {
        return vec![pattern.to_owned()];
    }
    pod.addresses.iter().map(|address| pattern.replace(POD_ADDRESS, &address.to_string())).collect()
}

/// `{"<prefix>": [<bucket>, …]}`.
fn buckets(text: &str) -> Option<Value> {
    let Ok(by_prefix) = serde_json::from_str::<Map<String, Value>>(text) else {
        tracing::warn!("annotation {BUCKETS_ANNOTATION} is no map of lists of numbers in JSON, it has no effect");
        return None;
    };
    let settings = by_prefix.iter().map(|(prefix, buckets)| json!({"match": {"prefix": prefix}, "buckets": buckets}));
    Some(settings.collect())
}

fn items(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}
