//! Traffic policies: of DestinationRules, and the mesh's defaults (translation §4.3). What Envoy would refuse is
//! reported and left out.

mod load_balancer;
mod tls;

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{Problems, rules::domain};
use crate::{
    api::{self, traffic_policy as spec},
    model::{
        Code,
        destination_rule::{
            ClientTls, ConnectionPool, Decimal, H2Upgrade, Http2Keepalive, OutlierDetection, PolicyBlocks,
            ProxyProtocol, RetryBudget, TcpKeepalive, TrafficPolicy, Tunnel,
        },
    },
};

pub(super) use self::{load_balancer::locality, tls::is_for_gateways_only};

/// Reads one policy: where it stands in the object, and where problems go.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) path: &'a str,
    pub(super) problems: &'a mut Problems,
}

impl Reader<'_> {
    /// The same, for a field inside.
    pub(super) fn at<T>(&mut self, field: &str, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let path = format!("{}.{field}", self.path);
        read(&mut Reader { path: &path, problems: self.problems })
    }

    /// Fields that are set, although nothing follows from them.
    pub(super) fn without_effect<'f>(&mut self, fields: impl IntoIterator<Item = (&'f str, bool)>, why: &str) {
        for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
            self.wrong(Code::FieldWithoutEffect, field, format!("has no effect {why}"));
        }
    }

    pub(super) fn wrong(&mut self, code: Code, field: &str, reason: impl Into<String>) {
        self.problems.add(code, format!("{}.{field}", self.path), reason);
    }

    /// Something is wrong with all that is read.
    fn here(&mut self, code: Code, reason: &str) {
        self.problems.add(code, self.path, reason);
    }

    /// A duration of any length, zero included.
    pub(super) fn duration(&mut self, field: &str, text: Option<&api::Duration>) -> Option<Duration> {
        match Duration::try_from(text?) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.wrong(Code::DurationMalformed, field, error.to_string());
                None
            }
        }
    }

    /// A duration where zero is none.
    fn none_or_positive(&mut self, field: &str, text: Option<&api::Duration>) -> Option<Duration> {
        let zero = text.and_then(|t| Duration::try_from(t).ok()).filter(Duration::is_zero);
        zero.or_else(|| self.positive(field, text))
    }

    /// A duration of at least a millisecond, which is what Envoy counts in.
    pub(super) fn positive(&mut self, field: &str, text: Option<&api::Duration>) -> Option<Duration> {
        let duration = self.duration(field, text)?;
        if duration < Duration::from_millis(1) {
            self.wrong(Code::DurationTooShort, field, format!("{duration:?} is less than 1ms"));
            return None;
        }
        if duration.subsec_nanos() % 1_000_000 != 0 {
            self.wrong(Code::DurationTooFine, field, format!("{duration:?} is no whole number of milliseconds"));
        }
        Some(duration)
    }

    /// A count where zero is unset.
    fn count(&mut self, field: &str, value: i32) -> u32 {
        u32::try_from(value).unwrap_or_else(|_| {
            self.wrong(Code::NumberOutOfRange, field, format!("{value} is negative"));
            0
        })
    }

    /// A percentage where zero is unset.
    fn percent(&mut self, field: &str, value: i32) -> u32 {
        let count = self.count(field, value);
        if count > 100 {
            self.wrong(Code::PercentOutOfRange, field, format!("{value} is more than 100"));
        }
        count.min(100)
    }

    /// A decimal within bounds.
    pub(super) fn decimal(&mut self, field: &str, value: Option<f64>, max: f64) -> Option<Decimal> {
        let value = value?;
        if value >= 0.0 && value <= max {
            return Some(Decimal::from_f64(value));
        }
        self.wrong(Code::NumberOutOfRange, field, format!("{value} is not between 0 and {max}"));
        None
    }
}

pub(super) fn policy(reader: &mut Reader<'_>, policy: &spec::TrafficPolicy) -> TrafficPolicy {
    if *policy == spec::TrafficPolicy::default() {
        reader.here(Code::PolicyEmpty, "says nothing: set a field of it, or remove it");
    }
    if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
        reader.wrong(Code::TunnelWithProxyProtocol, "tunnel", "cannot be set beside proxyProtocol");
    }
    let detects = policy.outlier_detection.is_some();
    TrafficPolicy {
        blocks: PolicyBlocks {
            connection_pool: policy.connection_pool.as_ref().map(|p| pool_at(reader, p)),
            outlier_detection: policy.outlier_detection.as_ref().map(|o| outlier_at(reader, o)),
            load_balancer: policy.load_balancer.as_ref().map(|lb| load_balancer::read_at(reader, lb, detects)),
            tls: policy.tls.as_ref().map(|t| tls_at(reader, t)),
        },
        ports: policy.port_level_settings.iter().enumerate().filter_map(|(i, p)| port_level(reader, i, p)).collect(),
        tunnel: policy.tunnel.as_ref().and_then(|t| reader.at("tunnel", |r| tunnel(r, t))).map(Arc::new),
        proxy_protocol: policy.proxy_protocol.as_ref().map(|p| match p.version {
            spec::ProxyProtocolVersion::V1 => ProxyProtocol::V1,
            spec::ProxyProtocolVersion::V2 => ProxyProtocol::V2,
        }),
        retry_budget: policy.retry_budget.as_ref().map(|b| reader.at("retryBudget", |r| retry_budget(r, b))),
    }
}

fn port_level(reader: &mut Reader<'_>, index: usize, port: &spec::PortTrafficPolicy) -> Option<(u16, PolicyBlocks)> {
    reader.at(&format!("portLevelSettings[{index}]"), |r| {
        let number = port.port.as_ref().map_or(0, |p| p.number);
        let port_number = u16::try_from(number).ok().filter(|n| *n > 0);
        if port_number.is_none() {
            r.wrong(Code::PortOutOfRange, "port.number", format!("{number} is not a port; it is left out"));
        }
        let said = spec::PortTrafficPolicy { port: None, ..port.clone() };
        if said == spec::PortTrafficPolicy::default() {
            r.here(Code::PolicyEmpty, "says nothing of the port: set a field of it, or remove it");
        }
        let detects = port.outlier_detection.is_some();
        let blocks = PolicyBlocks {
            connection_pool: port.connection_pool.as_ref().map(|p| pool_at(r, p)),
            outlier_detection: port.outlier_detection.as_ref().map(|o| outlier_at(r, o)),
            load_balancer: port.load_balancer.as_ref().map(|lb| load_balancer::read_at(r, lb, detects)),
            tls: port.tls.as_ref().map(|t| tls_at(r, t)),
        };
        Some((port_number?, blocks))
    })
}

fn pool_at(reader: &mut Reader<'_>, pool: &spec::ConnectionPoolSettings) -> Arc<ConnectionPool> {
    Arc::new(reader.at("connectionPool", |r| connection_pool(r, pool)))
}

fn outlier_at(reader: &mut Reader<'_>, outlier: &spec::OutlierDetection) -> Arc<OutlierDetection> {
    Arc::new(reader.at("outlierDetection", |r| outlier_detection(r, outlier)))
}

fn tls_at(reader: &mut Reader<'_>, settings: &spec::ClientTlsSettings) -> Arc<ClientTls> {
    Arc::new(reader.at("tls", |r| tls::read(r, settings)))
}

/// Reads `connectionPool`.
pub(super) fn connection_pool(reader: &mut Reader<'_>, pool: &spec::ConnectionPoolSettings) -> ConnectionPool {
    let mut made = ConnectionPool::default();
    if pool.tcp.is_none() && pool.http.is_none() {
        reader.here(Code::PolicyEmpty, "says nothing: set tcp or http, or remove it");
    }
    if let Some(tcp) = &pool.tcp {
        reader.at("tcp", |r| tcp_settings(r, tcp, &mut made));
    }
    if let Some(http) = &pool.http {
        reader.at("http", |r| http_settings(r, http, &mut made));
    }
    made
}

fn tcp_settings(reader: &mut Reader<'_>, tcp: &spec::TcpSettings, made: &mut ConnectionPool) {
    made.max_connections = reader.count("maxConnections", tcp.max_connections);
    made.connect_timeout = reader.positive("connectTimeout", tcp.connect_timeout.as_ref());
    made.keepalive = tcp.tcp_keepalive.as_ref().map(|k| reader.at("tcpKeepalive", |r| keepalive(r, k)));
    made.max_connection_duration = reader.positive("maxConnectionDuration", tcp.max_connection_duration.as_ref());
    made.tcp_idle_timeout = reader.none_or_positive("idleTimeout", tcp.idle_timeout.as_ref());
}

/// Reads `tcpKeepalive`.
pub(super) fn keepalive(reader: &mut Reader<'_>, settings: &spec::TcpKeepalive) -> TcpKeepalive {
    TcpKeepalive {
        probes: (settings.probes > 0).then_some(settings.probes),
        time: reader.positive("time", settings.time.as_ref()),
        interval: reader.positive("interval", settings.interval.as_ref()),
    }
}

fn http_settings(reader: &mut Reader<'_>, http: &spec::HttpSettings, made: &mut ConnectionPool) {
    made.max_pending_requests = reader.count("http1MaxPendingRequests", http.http1_max_pending_requests);
    made.max_requests = reader.count("http2MaxRequests", http.http2_max_requests);
    made.max_requests_per_connection = reader.count("maxRequestsPerConnection", http.max_requests_per_connection);
    made.max_retries = reader.count("maxRetries", http.max_retries);
    made.max_concurrent_streams = reader.count("maxConcurrentStreams", http.max_concurrent_streams);
    made.http_idle_timeout = reader.duration("idleTimeout", http.idle_timeout.as_ref());
    if made.http_idle_timeout.is_some() {
        reader.positive("idleTimeout", http.idle_timeout.as_ref());
    }
    if http.use_client_protocol && http.h2_upgrade_policy == spec::H2UpgradePolicy::Upgrade {
        reader.wrong(Code::FieldsExclusive, "useClientProtocol", "cannot be true beside h2UpgradePolicy UPGRADE");
    }
    made.use_client_protocol = http.use_client_protocol;
    made.h2_upgrade = match http.h2_upgrade_policy {
        spec::H2UpgradePolicy::Default => H2Upgrade::Default,
        spec::H2UpgradePolicy::DoNotUpgrade => H2Upgrade::DoNotUpgrade,
        spec::H2UpgradePolicy::Upgrade => H2Upgrade::Upgrade,
    };
    made.http2_keepalive =
        http.http2_keep_alive.as_ref().and_then(|k| reader.at("http2KeepAlive", |r| http2_keepalive(r, k)));
}

fn http2_keepalive(reader: &mut Reader<'_>, settings: &spec::Http2KeepAlive) -> Option<Http2Keepalive> {
    let timeout = reader.positive("timeout", settings.timeout.as_ref());
    if settings.timeout.is_none() {
        reader.wrong(Code::FieldMissing, "timeout", "is required: without it the pings are left out");
    }
    if settings.interval.is_none() {
        reader.wrong(Code::FieldMissing, "interval", "is required: without it no pings are sent");
    }
    let interval = reader.positive("interval", settings.interval.as_ref());
    timeout.map(|timeout| Http2Keepalive { interval, timeout: Some(timeout) })
}

/// Reads `outlierDetection`.
pub(super) fn outlier_detection(reader: &mut Reader<'_>, outlier: &spec::OutlierDetection) -> OutlierDetection {
    if outlier.consecutive_errors != 0 {
        reader.wrong(Code::FieldDeprecated, "consecutiveErrors", "is not honoured any more: use consecutive5xxErrors");
    }
    if !outlier.split_external_local_origin_errors && outlier.consecutive_local_origin_failures.is_some_and(|n| n > 0) {
        let reason = "needs splitExternalLocalOriginErrors: true";
        reader.wrong(Code::FieldMissing, "consecutiveLocalOriginFailures", reason);
    }
    let codes = &outlier.outlier_detection_http_error_codes;
    let (valid, invalid): (Vec<u32>, Vec<u32>) = codes.iter().partition(|c| (100..=599).contains(*c));
    if !invalid.is_empty() {
        reader.wrong(
            Code::OutlierStatusInvalid,
            "outlierDetectionHttpErrorCodes",
            format!("{invalid:?} are not HTTP statuses"),
        );
    }
    OutlierDetection {
        consecutive_5xx: outlier.consecutive_5xx_errors,
        consecutive_gateway: outlier.consecutive_gateway_errors,
        split_local_origin: outlier.split_external_local_origin_errors,
        consecutive_local_origin: outlier.consecutive_local_origin_failures,
        interval: reader.positive("interval", outlier.interval.as_ref()),
        base_ejection_time: reader.positive("baseEjectionTime", outlier.base_ejection_time.as_ref()),
        max_ejection_percent: reader.percent("maxEjectionPercent", outlier.max_ejection_percent),
        min_health_percent: reader.percent("minHealthPercent", outlier.min_health_percent),
        http_error_codes: valid,
    }
}

fn tunnel(reader: &mut Reader<'_>, settings: &spec::TunnelSettings) -> Option<Tunnel> {
    let post = match settings.protocol.as_str() {
        "" | "CONNECT" => Some(false),
        "POST" => Some(true),
        word => {
            let reason = format!("{word:?} is not CONNECT or POST, in capitals; there is no tunnel");
            reader.wrong(Code::TunnelInvalid, "protocol", reason);
            None
        }
    };
    let target_port = u16::try_from(settings.target_port).ok().filter(|p| *p > 0);
    if target_port.is_none() {
        let reason = format!("{} is not a port; there is no tunnel", settings.target_port);
        reader.wrong(Code::PortOutOfRange, "targetPort", reason);
    }
    let host = settings.target_host.as_str();
    let wrong = match host.parse::<IpAddr>() {
        Ok(_) => None,
        Err(_) if host.is_empty() => Some("is required".to_owned()),
        Err(_) => domain(host).err().map(|flaw| flaw.reason),
    };
    let is_right = wrong.is_none();
    if let Some(reason) = wrong {
        reader.wrong(Code::TunnelInvalid, "targetHost", format!("{reason}; there is no tunnel"));
    }
    let (post, target_port) = (post?, target_port?);
    is_right.then(|| Tunnel { post, target_host: host.into(), target_port })
}

fn retry_budget(reader: &mut Reader<'_>, budget: &spec::RetryBudget) -> RetryBudget {
    RetryBudget {
        percent: reader.decimal("percent", budget.percent, 100.0),
        min_concurrency: (budget.min_retry_concurrency > 0).then_some(budget.min_retry_concurrency),
        interval: reader.positive("budgetInterval", budget.budget_interval.as_ref()),
    }
}
