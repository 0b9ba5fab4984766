//! Istio's standard metrics, by the access logger of statistics that stock Envoy has (translation §10).
//!
//! A listener says what only it knows, in labels of Envoy's own statistics; what is the same for all that a proxy reports
//! (its own workload), and what can be read out of those labels, the agent adds on its page of metrics (contract §6.4). So
//! listeners name no workload, and are shared.

use std::sync::LazyLock;

use envoy_types::pb::{
    envoy::{
        config::accesslog::v3::{AccessLog, access_log::ConfigType},
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
static OF_TCP: [LazyLock<AccessLog>; 2] = [LazyLock::new(|| of_tcp(&SOURCE)), LazyLock::new(|| of_tcp(&DESTINATION))];

/// The logger of an HTTP connection manager, unless the mesh has no metrics.
pub(super) fn http_logger(reporter: Reporter, mesh: &MeshConfig) -> Option<AccessLog> {
    mesh.metrics.then(|| OF_HTTP[reporter as usize].clone())
}

/// The logger of a TCP proxy, unless the mesh has no metrics.
pub(super) fn tcp_logger(reporter: Reporter, mesh: &MeshConfig) -> Option<AccessLog> {
    mesh.metrics.then(|| OF_TCP[reporter as usize].clone())
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

/// Connections are counted when they end.
fn of_tcp(side: &[Label]) -> AccessLog {
    let labels: Vec<Label> = side.iter().chain([&FLAGS]).copied().collect();
    let bytes = |name: &str, format: &str| Counter {
        stat: stat(name, &labels),
        value_format: format.to_owned(),
        ..Counter::default()
    };
    let counters = vec![
        bytes("tcp_sent_bytes_total", "%BYTES_SENT%"),
        bytes("tcp_received_bytes_total", "%BYTES_RECEIVED%"),
        one("tcp_connections_closed_total", &labels),
    ];
    logger(counters, Vec::new())
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
        let destination = config(tcp_logger(Reporter::Destination, &mesh));
        let expected = ["reporter", "upstream_service", "source_principal", "response_flags"];
        assert!(destination.counters.iter().all(|counter| labels(&counter.stat) == expected));
        assert_eq!((destination.counters.len(), destination.histograms.len()), (3, 0));
    }

    #[test]
    fn a_mesh_without_metrics_has_no_loggers() {
        let mesh = MeshConfig { metrics: false, ..MeshConfig::default() };
        assert_eq!((http_logger(Reporter::Source, &mesh), tcp_logger(Reporter::Source, &mesh)), (None, None));
    }
}
