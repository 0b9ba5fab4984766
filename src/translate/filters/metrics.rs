//! Istio's standard metrics, by the access logger of statistics that stock Envoy has (translation §10).
//!
//! A listener says what only it knows, in labels of Envoy's own statistics; what is the same for all that a proxy reports
//! (its own workload), and what can be read out of those labels, the agent adds on its page of metrics (contract §6.4). So
//! listeners name no workload, and are shared.

use std::sync::LazyLock;

use envoy_types::pb::{
    envoy::{
        config::accesslog::v3::{
            AccessLog, AccessLogFilter, LogTypeFilter, OrFilter, ResponseFlagFilter, access_log::ConfigType,
            access_log_filter::FilterSpecifier,
        },
        data::accesslog::v3::AccessLogType,
        extensions::access_loggers::stats::v3::{
            Config,
            config::{Counter, Histogram, Stat, Tag, histogram::Unit},
        },
        r#type::v3::Scope,
    },
    google::protobuf::UInt64Value,
};

use crate::{model::MeshConfig, snapshot::pack_any};

/// What the names of all of them begin with.
const PREFIX: &str = "istio";

/// Who tells: the client's proxy, which is Istio's `source` (gateways are clients), or the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    /// The proxy of who sends requests.
    Source,
    /// The proxy of who answers them.
    Destination,
}

/// A label, and the command operators that fill it.
type Label = (&'static str, &'static str);

/// Of the client: the cluster's name tells the service, the endpoint's metadata the workload.
const SOURCE: [Label; 4] = [
    ("reporter", "source"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_workload", "%UPSTREAM_METADATA(istio:workload)%"),
    ("destination_principal", "%UPSTREAM_PEER_URI_SAN%"),
];

/// Of the server.
const DESTINATION: [Label; 3] = [
    ("reporter", "destination"),
    ("upstream_service", "%CLUSTER_METADATA(istio:service)%"),
    ("source_principal", "%DOWNSTREAM_PEER_URI_SAN%"),
];

/// Of both.
const FLAGS: Label = ("response_flags", "%RESPONSE_FLAGS%");

/// Of requests.
const REQUEST: [Label; 2] = [("response_code", "%RESPONSE_CODE%"), ("grpc_response_status", "%GRPC_STATUS_NUMBER%")];

/// Each is the same in every listener: made and packed once.
static OF_HTTP: [LazyLock<AccessLog>; 2] =
    [LazyLock::new(|| of_http(&SOURCE)), LazyLock::new(|| of_http(&DESTINATION))];
static OF_TCP: [LazyLock<[AccessLog; 2]>; 2] =
    [LazyLock::new(|| of_tcp(&SOURCE)), LazyLock::new(|| of_tcp(&DESTINATION))];

/// Response flags of connections that never reached an upstream: refused or in vain, no endpoint, no cluster, too many.
const NEVER_OPENED: [&str; 4] = ["UF", "UH", "NC", "UO"];

/// The logger of an HTTP connection manager, unless the mesh has no metrics.
pub(super) fn http_logger(reporter: Reporter, mesh: &MeshConfig) -> Option<AccessLog> {
    mesh.metrics.then(|| OF_HTTP[reporter as usize].clone())
}

/// The loggers of a TCP proxy, unless the mesh has no metrics. One of them wants to be told when a connection has reached
/// its upstream, so that others beside it are to be for [`the end`](at_the_end).
pub(super) fn tcp_loggers(reporter: Reporter, mesh: &MeshConfig) -> Option<[AccessLog; 2]> {
    mesh.metrics.then(|| OF_TCP[reporter as usize].clone())
}

/// The same log, of connections that end.
pub(super) fn at_the_end(log: AccessLog) -> AccessLog {
    when(of_type(AccessLogType::TcpConnectionEnd), log)
}

fn of_http(side: &[Label]) -> AccessLog {
    let labels: Vec<Label> = side.iter().chain(&REQUEST).chain([&FLAGS]).copied().collect();
    let duration = Histogram {
        stat: stat("request_duration_milliseconds", &labels),
        unit: Unit::Milliseconds.into(),
        value_format: "%DURATION%".to_owned(),
    };
    logger(vec![one("requests_total", &labels)], vec![duration])
}

/// Connections are counted when they are there, and when they end, and bytes when they end: what a connection has sent is
/// known in all, and not since it was told last.
fn of_tcp(side: &[Label]) -> [AccessLog; 2] {
    let labels: Vec<Label> = side.iter().chain([&FLAGS]).copied().collect();
    let bytes = |name: &str, format: &str| Counter {
        stat: stat(name, &labels),
        value_format: format.to_owned(),
        ..Counter::default()
    };
    let ended = vec![
        bytes("tcp_sent_bytes_total", "%BYTES_SENT%"),
        bytes("tcp_received_bytes_total", "%BYTES_RECEIVED%"),
        one("tcp_connections_closed_total", &labels),
    ];
    let opened = vec![one("tcp_connections_opened_total", &labels)];
    [at_the_end(logger(ended, Vec::new())), when(is_opened(), logger(opened, Vec::new()))]
}

/// Each connection once: with its upstream, or at its end when it never had one, as Istio counts them.
fn is_opened() -> FilterSpecifier {
    let flags = NEVER_OPENED.map(str::to_owned).to_vec();
    let never = FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags });
    let either = [of_type(AccessLogType::TcpUpstreamConnected), never];
    let filters = either.map(|filter| AccessLogFilter { filter_specifier: Some(filter) }).to_vec();
    FilterSpecifier::OrFilter(OrFilter { filters })
}

fn of_type(kind: AccessLogType) -> FilterSpecifier {
    FilterSpecifier::LogTypeFilter(LogTypeFilter { types: vec![kind.into()], exclude: false })
}

fn when(filter: FilterSpecifier, log: AccessLog) -> AccessLog {
    AccessLog { filter: Some(AccessLogFilter { filter_specifier: Some(filter) }), ..log }
}

fn one(name: &str, labels: &[Label]) -> Counter {
    let value_fixed = Some(UInt64Value { value: 1 });
    Counter { stat: stat(name, labels), value_fixed, ..Counter::default() }
}

fn stat(name: &str, labels: &[Label]) -> Option<Stat> {
    let tag =
        |(name, format): &Label| Tag { name: (*name).to_owned(), value_format: (*format).to_owned(), ..Tag::default() };
    Some(Stat { name: name.to_owned(), tags: labels.iter().map(tag).collect() })
}

fn logger(counters: Vec<Counter>, histograms: Vec<Histogram>) -> AccessLog {
    let stats_scope = Some(Scope { prefix: PREFIX.to_owned(), ..Scope::default() });
    let config = Config { stats_scope, counters, histograms, ..Config::default() };
    AccessLog {
        name: "envoy.access_loggers.stats".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(&config))),
        ..AccessLog::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn config(logger: Option<AccessLog>) -> Config {
        let Some(ConfigType::TypedConfig(any)) = logger.expect("a logger").config_type else { panic!("no config") };
        Config::decode(&any.value[..]).expect("statistics")
    }

    fn labels(stat: &Option<Stat>) -> Vec<&str> {
        stat.as_ref().expect("a name").tags.iter().map(|tag| &*tag.name).collect()
    }

    #[test]
    fn each_side_tells_of_the_other() {
        let mesh = MeshConfig::default();
        let source = config(http_logger(Reporter::Source, &mesh));
        assert_eq!(labels(&source.counters[0].stat), labels(&source.histograms[0].stat));
        assert_eq!(source.counters[0].stat.as_ref().expect("a name").tags[0].value_format, "source");
        let expected = ["reporter", "upstream_service", "source_principal", "response_flags"];
        let [ended, opened] = tcp_loggers(Reporter::Destination, &mesh).expect("loggers");
        for (logger, counters) in [(ended, 3), (opened, 1)] {
            assert!(logger.filter.is_some(), "told of at one time only");
            let destination = config(Some(logger));
            assert!(destination.counters.iter().all(|counter| labels(&counter.stat) == expected));
            assert_eq!((destination.counters.len(), destination.histograms.len()), (counters, 0));
        }
    }

    #[test]
    fn a_mesh_without_metrics_has_no_loggers() {
        let mesh = MeshConfig { metrics: false, ..MeshConfig::default() };
        assert_eq!((http_logger(Reporter::Source, &mesh), tcp_loggers(Reporter::Source, &mesh)), (None, None));
    }
}
